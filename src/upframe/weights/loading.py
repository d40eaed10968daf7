"""From a name or a weight file to a torch module; needs the extra ``torch``.

Weight files come from strangers. ``.pth`` files are pickles and are only read by
torch's restricted unpickler; whatever is wrong with a file is a :class:`WeightsError`
that says what to do.
"""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from upframe.errors import MissingExtraError, UsageError, WeightsError
from upframe.weights.card import ModelCard
from upframe.weights.index import PRESETS, find_card, list_models, weight_files

try:
    import torch
    from torch import Tensor, nn
except ImportError as error:
    raise MissingExtraError("Loading networks", "torch") from error

from upframe.systems import ditn

SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors")
"""Names of weight files end so."""

# Where trainers of the field put the weights; averaged ones are preferred.
_WRAPPERS = (
    "params_ema",
    "params-ema",
    "generator_ema",
    "params",
    "state_dict",
    "model_state_dict",
    "model",
    "net",
)
_PREFIXES = ("module.", "netG.", "generator_ema.", "generator.")
_LARGEST_HEADER = 100 * 2**20


@dataclass(frozen=True)
class _System:
    """How weights of one system are recognised and built."""

    name: str
    detect: Callable[[Mapping[str, Tensor]], dict[str, Any] | None]
    build: Callable[..., nn.Module]
    multiple: int
    min_size: int


_SYSTEMS = (_System("ditn", ditn.config_from_state, ditn.DITN, 8, 16),)


def load(
    name_or_path: str | os.PathLike[str],
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> nn.Module:
    """A network with its weights, in eval mode.

    Args:
        name_or_path: name of a model or preset, or a ``.pth``, ``.pt`` or
            ``.safetensors`` file of a system that upframe knows, also the authors' own.
            System and sizes are read off the names and shapes in the file.
        device: where the network goes.
        dtype: its precision; float32 by default.

    Returns:
        A module that maps (B, T, 3, h, w) to (B, T, 3, s*h, s*w), RGB in [0, 1], any
        h, w >= 16 and T >= 1; image models also take (B, 3, h, w). Not clipped.

    Raises:
        UsageError: there is no such model, or the device does not exist.
        WeightsError: the file is missing, damaged, or of no known system.
    """
    name = os.fspath(name_or_path)
    if _is_path(name):
        path = Path(name)
    else:
        card = find_card(name)
        if "safetensors" not in card.files:
            raise WeightsError(
                f"{card.name} is no network and has no weights to load.",
                "Use it with upframe.upscale, or load another model.",
            )
        path = weight_files(card)["safetensors"]
    module, _, _ = _build(path)
    try:
        return module.to(device=device, dtype=dtype or torch.float32).eval()
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"The network cannot be moved to {device}: {error}", "Use device='cpu'."
        ) from error


def describe_file(path: Path) -> ModelCard:
    """A card for weights that did not come with one.

    Args:
        path: a weight file, see :func:`load`.

    Raises:
        WeightsError: as :func:`load`.
    """
    module, system, config = _build(path)
    parameters = sum(p.numel() for p in module.parameters())
    dim = config["dim"]
    return ModelCard(
        name=path.stem,
        system=system.name,
        scale=config["scale"],
        summary=f"{system.name} x{config['scale']} from {path.name}",
        licence="unknown",
        parameters=parameters,
        config=config,
        multiple=system.multiple,
        min_size=system.min_size,
        overlap=32,
        # Measured with torch: the feed-forward layers hold a few maps of 4 * dim
        # channels at once; the output is held three times.
        bytes_per_pixel=80 * dim + 36 * config["scale"] ** 2,
        gflops_per_megapixel=round(2e-3 * parameters, 1),
    )


def read_state(path: Path) -> dict[str, Tensor]:
    """Names and tensors of a weight file, unwrapped and without prefixes.

    Raises:
        WeightsError: if the file is missing, damaged or holds no weights.
    """
    try:
        with path.open("rb") as file:
            head = file.read(512)
        size = path.stat().st_size
    except OSError as error:
        raise WeightsError(
            f"The weight file {path} cannot be read: {error.strerror}.",
            "Check its name.",
        ) from error
    _refuse_other_files(path, head)
    if path.suffix == ".safetensors":
        content: object = _read_safetensors(path, head, size)
    else:
        content = _read_pickle(path)
    return _tidy(path, _unwrap(path, content))


def _is_path(name: str) -> bool:
    if name in PRESETS or name in {card.name for card in list_models()}:
        return False
    return name.endswith(SUFFIXES) or os.sep in name


def _refuse_other_files(path: Path, head: bytes) -> None:
    again = "Download it again; it must be the file itself."
    if not head:
        raise WeightsError(f"The weight file {path} is empty.", again)
    start = head.lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise WeightsError(
            f"{path} is a web page that was saved under the name of a weight file.",
            again,
        )
    if start.startswith(b"version https://git-lfs"):
        raise WeightsError(
            f"{path} is a Git LFS pointer, not the weights.", "Run git lfs pull."
        )


def _read_safetensors(path: Path, head: bytes, size: int) -> object:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    again = "Download it again; check its size."
    if size < 8:
        raise WeightsError(f"{path} is cut off: it has {size} bytes.", again)
    (header,) = struct.unpack("<Q", head[:8])
    if header > min(size - 8, _LARGEST_HEADER):
        raise WeightsError(
            f"{path} is damaged or no safetensors file: its header claims {header} "
            f"bytes of {size}.",
            again,
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{path} is damaged: {error}.", again) from error


def _read_pickle(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} holds more than weights, or no weights at all, and is not opened: "
            "unpickling it could run foreign code.",
            "Save the state dict alone, best as .safetensors.",
        ) from error
    except Exception as error:  # damaged archives raise whatever the parser meets
        raise WeightsError(
            f"{path} is damaged or no file of torch: {type(error).__name__}.",
            "Download it again; check its size.",
        ) from error


def _unwrap(path: Path, content: object) -> dict[str, Tensor]:
    for _ in range(3):
        if not isinstance(content, Mapping):
            break
        inner = next(
            (w for w in _WRAPPERS if isinstance(content.get(w), Mapping)), None
        )
        if inner is None:
            break
        content = content[inner]
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(
            f"{path} holds no state dict.", "Save module.state_dict() in it."
        )
    state = {k: v for k, v in content.items() if isinstance(v, Tensor)}
    if not state or not all(isinstance(key, str) for key in state):
        raise WeightsError(
            f"{path} holds no named tensors.", "Save module.state_dict() in it."
        )
    return state


def _tidy(path: Path, state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _PREFIXES:
        inside = {
            key[len(prefix) :]: value
            for key, value in state.items()
            if key.startswith(prefix)
        }
        # Trainers of GANs keep other networks and counters beside the generator.
        if inside:
            state = inside
    for key, value in state.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise WeightsError(
                f"The weights {key} in {path} are not finite.",
                "The training went wrong or the file is damaged; use another.",
            )
    return state


def _build(path: Path) -> tuple[nn.Module, _System, dict[str, Any]]:
    """Module with weights, its system and the arguments it was built with."""
    state = read_state(path)
    for system in _SYSTEMS:
        config = system.detect(state)
        if config is not None:
            break
    else:
        known = ", ".join(system.name for system in _SYSTEMS)
        names = ", ".join(list(state)[:3])
        raise WeightsError(
            f"{path} belongs to no system that upframe knows; it begins with {names}.",
            f"Known systems: {known}.",
        )
    try:
        with torch.device("meta"):
            module = system.build(**config)
    except (RuntimeError, ValueError, TypeError) as error:
        raise WeightsError(
            f"{path} looks like {system.name}, but no network has its sizes.",
            "The file may be damaged, or of a variant that upframe does not know.",
        ) from error
    _compare(path, system.name, module.state_dict(), state)
    module.load_state_dict(
        {key: value.to(torch.float32) for key, value in state.items()}, assign=True
    )
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    return module, system, config


def _compare(
    path: Path, system: str, want: Mapping[str, Tensor], have: Mapping[str, Tensor]
) -> None:
    """Refuse weights that are not exactly those of the network."""
    faults = [f"{key} is missing" for key in want if key not in have]
    faults += [f"{key} is unknown" for key in have if key not in want]
    faults += [
        f"{key} is {tuple(have[key].shape)} instead of {tuple(value.shape)}"
        for key, value in want.items()
        if key in have and have[key].shape != value.shape
    ]
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise WeightsError(
            f"{path} looks like {system}, but {'; '.join(faults[:3])}{more}.",
            "The file may be damaged, or of a variant that upframe does not know.",
        )
