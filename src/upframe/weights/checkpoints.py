"""Reading weight files that come from anywhere, without running what is in them.

A ``.pth`` file is a pickle, which may call any function when it is opened the plain
way. Here it is opened by torch's restricted unpickler alone (``weights_only``), on a
torch whose unpickler has no known hole, and after the archive around it has been
looked at: nothing compressed, nothing cut off, nothing that claims to be larger than
the file. The content decides what a file is, its suffix does not.
"""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from upframe.errors import WeightsError

_SAFE_TORCH = (2, 10)
"""Older versions have known ways around ``weights_only`` (CVE-2026-24747)."""
_LARGEST_HEADER = 32 * 2**20
"""Bytes; the header of the largest published models is below 2 MB."""
_WRAPPERS = (
    "params_ema",
    "params-ema",
    "params",
    "state_dict",
    "model_state_dict",
    "model",
    "net",
)
"""Where training frameworks put the state dict; averaged weights come first."""
_PREFIXES = ("generator_ema.", "generator.", "netG.", "module.")
"""What they put before every key; averaged weights come first."""
_AGAIN = "Download it again, from its authors if you can."


@dataclass(frozen=True)
class Checkpoint:
    """The weights of a file and what it declares about them."""

    state: Mapping[str, Tensor]
    """Weights by name, without wrappers and prefixes; on the CPU."""
    declared: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the constructor that the file names, unchecked; may be empty."""
    system: str | None = None
    """The system that the file names, unchecked."""


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the weights of a ``.pth``, ``.pt``, ``.ckpt`` or ``.safetensors`` file.

    Args:
        path: the file; what it is follows from its first bytes.

    Raises:
        WeightsError: the file is missing, damaged, unsafe, or holds no weights.
    """
    head, size = _look_at(path)
    if _is_safetensors(path, head, size):
        return _read_safetensors(path, head, size)
    content = _read_pickle(path, head, size)
    declared = _declared_by_recipe(content)
    state = _strip(_unwrap(path, content))
    return Checkpoint(_checked(path, state), declared)


def _is_safetensors(path: Path, head: bytes, size: int) -> bool:
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8:
        return True  # even where the length of the header begins as a pickle does
    pickled = head.startswith((b"PK\x03\x04", b"\x80"))
    return not pickled and (head[8:9] == b"{" or path.suffix == ".safetensors")


def read_content(path: Path) -> Any:
    """Read what a PyTorch checkpoint holds, whatever its structure, and as safely.

    Raises:
        WeightsError: the file is missing, damaged, unsafe, or no such checkpoint.
    """
    return _read_pickle(path, *_look_at(path))


def _read_pickle(path: Path, head: bytes, size: int) -> Any:
    if head.startswith(b"PK\x03\x04"):
        _check_archive(path, size)
    elif not head.startswith(b"\x80"):
        raise _no_weights(path, head)
    return _torch_load(path)


def _look_at(path: Path) -> tuple[bytes, int]:
    if path.is_dir():
        raise WeightsError(
            f"{path} is a folder, not a weight file.", "Name the file in it."
        )
    try:
        with path.open("rb") as file:
            head = file.read(512)
        return head, path.stat().st_size
    except FileNotFoundError:
        raise WeightsError(
            f"The weight file {path} does not exist.", "Check its name."
        ) from None
    except OSError as error:
        raise WeightsError(
            f"The weight file {path} cannot be read: {error.strerror}.",
            "Check its permissions and its disk.",
        ) from error


def _no_weights(path: Path, head: bytes) -> WeightsError:
    if not head:
        return WeightsError(f"The weight file {path} is empty.", _AGAIN)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return WeightsError(
            f"{path} is a web page that was saved under the name of a weight file.",
            "Open the link in a browser and download the file itself.",
        )
    if head.startswith(b"version https://git-lfs"):
        return WeightsError(
            f"{path} is a pointer of Git LFS, not the weights themselves.",
            "Fetch them with: git lfs pull.",
        )
    return WeightsError(
        f"{path} is neither a PyTorch checkpoint nor a safetensors file.",
        "Name a .pth, .pt or .safetensors file.",
    )


def _damaged(path: Path, what: str) -> WeightsError:
    return WeightsError(f"The weight file {path} is damaged: {what}.", _AGAIN)


def _check_archive(path: Path, size: int) -> None:
    """Look at the zip file around the pickle before torch does.

    torch checks neither checksums nor sizes: flipped bits would become weights, and a
    compressed record would be blown up in memory.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
            if any(record.compress_type != zipfile.ZIP_STORED for record in records):
                raise WeightsError(
                    f"{path} is a compressed archive, not a PyTorch checkpoint.",
                    "Unpack it and name the weight file in it.",
                )
            if sum(record.file_size for record in records) > size:
                raise _damaged(path, "it claims to hold more than its own size")
            if not any(r.filename.endswith("/data.pkl") for r in records):
                raise WeightsError(
                    f"{path} is an archive, but not a PyTorch checkpoint.",
                    "Unpack it and name the weight file in it.",
                )
            bad = archive.testzip()
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, RuntimeError) as error:
        raise _damaged(path, "it is cut off or its archive is broken") from error
    except NotImplementedError as error:
        raise _damaged(path, "its archive is of a kind torch never writes") from error
    if bad is not None:
        raise _damaged(path, f"its record {bad} does not match its checksum")


def _torch_load(path: Path) -> Any:
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < _SAFE_TORCH:
        raise WeightsError(
            f"{path} cannot be opened safely with torch {torch.__version__}.",
            "Install torch 2.10 or newer, or use a .safetensors file.",
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "weights_only" in str(error) or "Unsupported" in str(error):
            raise WeightsError(
                f"{path} holds more than weights (Python code or objects), and is "
                "not opened.",
                "Save its state_dict alone with the program that made it, best as "
                ".safetensors.",
            ) from error
        raise _damaged(path, "it is no checkpoint of PyTorch") from error
    except Exception as error:  # damaged pickles fail in every imaginable way
        raise _damaged(path, f"torch cannot read it ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line.rstrip(".")[:160]


def _read_safetensors(path: Path, head: bytes, size: int) -> Checkpoint:
    if len(head) < 8:
        raise _no_weights(path, head)
    (length,) = struct.unpack("<Q", head[:8])
    if length > min(_LARGEST_HEADER, size - 8):
        if head[8:9] != b"{":
            raise _no_weights(path, head)
        raise _damaged(path, f"its header claims {length} bytes of {size}")
    try:
        state = load_file(path, device="cpu")
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
    except (SafetensorError, ValueError, KeyError) as error:
        raise _damaged(path, f"its header is broken ({_first_line(error)})") from error
    except (OSError, RuntimeError, MemoryError) as error:
        raise _damaged(path, f"it cannot be read ({_first_line(error)})") from error
    declared = _declared(about.get("config"))
    return Checkpoint(_checked(path, _strip(state)), declared, about.get("system"))


def _declared(config: str | None) -> Mapping[str, Any]:
    """Our safetensors files carry the constructor's arguments, as JSON."""
    try:
        args = json.loads(config or "{}")
    except (ValueError, RecursionError):
        return {}
    return args if isinstance(args, dict) else {}


def _declared_by_recipe(content: Any) -> Mapping[str, Any]:
    """Checkpoints of ``upframe train`` carry their recipe, which has the arguments."""
    try:
        args = json.loads(content["recipe"])["system"]["args"]
    except (TypeError, KeyError, ValueError, RecursionError):
        return {}
    return args if isinstance(args, dict) else {}


def _unwrap(path: Path, content: Any) -> dict[str, Any]:
    for _ in range(4):
        if not isinstance(content, dict):
            break
        inner = next(
            (content[k] for k in _WRAPPERS if isinstance(content.get(k), dict)), None
        )
        if inner is None:
            return content
        content = inner
    raise WeightsError(
        f"{path} holds no state dict but a {type(content).__name__}.",
        "Save the state_dict of the network alone.",
    )


def _strip(state: dict[str, Any]) -> dict[str, Any]:
    """Take prefixes away; of a generator and its discriminator keep the generator."""
    for _ in range(4):
        keys = [key for key in state if isinstance(key, str)]
        for prefix in _PREFIXES:
            chosen = [key for key in keys if key.startswith(prefix)]
            # others than generators are prefixes only where every key has them
            if chosen and (prefix.startswith("generator") or len(chosen) == len(state)):
                state = {key.removeprefix(prefix): state[key] for key in chosen}
                break
        else:
            break
    return state


def _checked(path: Path, state: dict[str, Any]) -> dict[str, Tensor]:
    if not state:
        raise WeightsError(f"{path} holds no weights.", "Name another file.")
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise WeightsError(
                f"{path} holds no state dict: its entry {str(key)[:80]!r} is a "
                f"{type(value).__name__}.",
                "Save the state_dict of the network alone.",
            )
        if value.layout != torch.strided or value.is_meta or value.is_quantized:
            raise WeightsError(
                f"{path} holds {key!r} without plain values (sparse or quantised).",
                "Save the weights as dense floating-point tensors.",
            )
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise _damaged(path, f"{key!r} claims more values than the file holds")
        if value.is_floating_point() and not bool(torch.isfinite(value.float()).all()):
            raise WeightsError(
                f"{path} holds values that are no numbers (NaN or infinity) in "
                f"{key!r}.",
                "Its training failed or the file is damaged; use another.",
            )
    return {key: value.detach() for key, value in state.items()}
