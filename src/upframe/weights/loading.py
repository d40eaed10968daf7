"""From a name or a weight file to a network: ``upframe.load``.

The system and its arguments are found from the names and shapes in the file; see
``upframe.systems.registry``. Importing this module needs the extra ``[torch]``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from upframe.errors import MissingExtraError, UsageError, WeightsError
from upframe.systems.registry import all_specs, detect, find_spec
from upframe.systems.spec import SystemSpec
from upframe.weights.card import ModelCard
from upframe.weights.index import PRESETS, find_card, list_models, weight_files

try:
    import torch
    from torch import Tensor, nn

    from upframe.weights.checkpoints import read_checkpoint
    from upframe.weights.folders import describe_folder, find_system, load_folder
except ImportError as error:
    raise MissingExtraError("Loading weights as a network", "torch") from error

_log = logging.getLogger(__name__)
_SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors")


@dataclass(frozen=True)
class _Weights:
    """A state dict that is known to fit its network."""

    spec: SystemSpec
    config: Mapping[str, Any]
    state: Mapping[str, Tensor]


def load(
    name_or_path: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> nn.Module:
    """Load a restoration network as a plain torch module.

    Args:
        name_or_path: name of a bundled model or preset, or a ``.pth``, ``.pt`` or
            ``.safetensors`` file. A file's system and size are found from its keys and
            shapes; its state dict may be bare or wrapped as training frameworks do.
            Or the folder of a diffusion system (`upframe.weights.folders`).
        device: where the network is put.
        dtype: its floating-point type; None for float32.

    Returns:
        The network in eval mode. It maps (B, T, 3, h, w) to (B, T, 3, s*h, s*w), RGB
        in [0, 1]; image models also take (B, 3, h, w).

    Raises:
        UsageError: there is no such model, or no such device.
        WeightsError: the file is missing, damaged, unsafe, or of no known system.
    """
    target = _device(device)
    if dtype is not None and not dtype.is_floating_point:
        raise UsageError(f"A network cannot be of type {dtype}.", "Use torch.float32.")
    if _is_folder(name_or_path):
        return load_folder(Path(name_or_path), dtype or torch.float32).to(target)
    weights = _named(str(name_or_path)) or _from_file(Path(name_or_path))
    # the random weights that are about to be replaced leave the seed alone
    with torch.random.fork_rng(devices=[]):
        network = weights.spec.build(weights.config)
    network.load_state_dict(dict(weights.state))
    return network.to(target, dtype or torch.float32).eval()


def describe_file(path: str | Path) -> ModelCard:
    """The card of a user's weight file or folder, as far as it can be known.

    Args:
        path: as in :func:`load`.

    Returns:
        A card named after the file, with system, scale, arguments, size rules, and
        estimates of memory and work; licence and scores are unknown.

    Raises:
        WeightsError: as :func:`load`.
    """
    path = Path(path)
    if _is_folder(path):
        return describe_folder(path)
    weights = _from_file(path)
    spec, config = weights.spec, dict(weights.config)
    shapes = _shapes(weights.state)
    with torch.device("meta"):
        parameters = sum(p.numel() for p in spec.build(config).parameters())
    scale = spec.scale_of(config)
    return ModelCard(
        name=path.stem,
        system=spec.name,
        scale=scale,
        summary=f"{spec.title} x{scale} from {path.name}",
        licence="unknown",
        parameters=parameters,
        config=config,
        **asdict(spec.requirements(config, shapes)),
    )


def read_state(path: Path) -> dict[str, Tensor]:
    """Names and tensors of a weight file, without wrappers and prefixes.

    Raises:
        WeightsError: the file is missing, damaged, unsafe, or holds no weights.
    """
    return dict(read_checkpoint(path).state)


def _named(name: str) -> _Weights | None:
    """The weights of a bundled model; None if the name means a file."""
    known = name in PRESETS or any(card.name == name for card in list_models())
    if not known:
        path = Path(name)
        if path.suffix.lower() in _SUFFIXES or path.exists() or len(path.parts) > 1:
            return None
    card = find_card(name)
    files = weight_files(card)
    if "safetensors" not in files:
        raise WeightsError(
            f"The model {card.name} is no network and has no weights to load.",
            "Use it with upframe.upscale, or load another.",
        )
    spec = find_spec(card.system)
    state = read_checkpoint(files["safetensors"]).state
    return _fitting(files["safetensors"], spec, card.config, state)


def _from_file(path: Path) -> _Weights:
    _refuse_raw_components(path)
    checkpoint = read_checkpoint(path)
    shapes = _shapes(checkpoint.state)
    named = checkpoint.system
    spec = detect(shapes) if named is None else find_spec(named)
    if spec is None:
        some = ", ".join(repr(key[:60]) for key in list(shapes)[:3])
        raise WeightsError(
            f"{path} holds the weights of no system that upframe knows; it begins "
            f"with {some}.",
            f"upframe can load: {', '.join(spec.title for spec in all_specs())}.",
        )
    try:
        config = spec.read_config(shapes, checkpoint.declared)
    except WeightsError as error:
        raise WeightsError(
            f"{path} looks like {spec.title}, but fits no such network. "
            f"{error.message}",
            error.advice or "Check which network the file was made for.",
        ) from error
    return _fitting(path, spec, config, checkpoint.state)


def _is_folder(path: str | Path) -> bool:
    return Path(path).is_dir() and find_system(Path(path)) is not None


def _refuse_raw_components(path: Path) -> None:
    """Say what to do with the folder of a model that a system can be made of.

    Raises:
        WeightsError: it is one.
    """
    if (path / "transformer").exists():
        raise WeightsError(
            f"{path} is a folder with the components of a model that restores nothing "
            "by itself.",
            "Make a system of it in Python, with OASIS.from_wan or LiftVSR.from_pixart "
            "of upframe.systems, train it, and name the folder that its "
            "save_pretrained wrote.",
        )


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in state.items()}


def _fitting(
    path: Path,
    spec: SystemSpec,
    config: Mapping[str, Any],
    state: Mapping[str, Tensor],
) -> _Weights:
    """Check names, shapes and values against the network they are meant for."""
    # on the meta device a network costs nothing, whatever size a file claims
    with torch.device("meta"):
        expected = spec.build(config).state_dict()
    what = f"{path} does not fit {spec.title}"
    advice = "Check which network the file was made for, and that it is complete."
    if missing := [key for key in expected if key not in state]:
        raise WeightsError(f"{what}: it lacks {_some(missing)}.", advice)
    if extra := [key for key in state if key not in expected]:
        _log.warning(
            "%s has entries that %s does not use: %s.", path, spec.title, _some(extra)
        )
        state = {key: value for key, value in state.items() if key in expected}
    for key, value in state.items():
        wanted = expected[key]
        if value.shape != wanted.shape:
            raise WeightsError(
                f"{what}: {key!r} is {tuple(value.shape)} instead of "
                f"{tuple(wanted.shape)}.",
                advice,
            )
        if wanted.is_floating_point() and not value.is_floating_point():
            raise WeightsError(
                f"{what}: {key!r} holds {value.dtype} instead of floating-point "
                "numbers.",
                "Save the weights unquantised.",
            )
    return _Weights(spec, config, state)


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - 2} more" if len(keys) > 2 else ""
    return ", ".join(repr(key[:60]) for key in keys[:2]) + more


def _device(device: str | torch.device) -> torch.device:
    try:
        target = torch.device(device)
        torch.empty(0, device=target)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(
            f"A network cannot be moved to {device}: "
            f"{str(error).strip().splitlines()[0].rstrip('.')}.",
            "Use cpu, or install a build of torch for your GPU.",
        ) from error
    return target
