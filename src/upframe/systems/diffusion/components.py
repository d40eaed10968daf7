"""Parts of diffusion systems from a folder or a hub, each file pinned by its content.

A folder is taken as it is, without any look at a network. A hub id needs the commit it
means: what a branch points to can change, and SD 2.1-base has left its hub altogether.
SHA-256 pins the files themselves, wherever they came from, so a mirror need not be
trusted. Only safetensors are read, which hold no code.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError

from upframe.errors import MissingExtraError, UsageError, WeightsError


class PinnedConfig(BaseModel):
    """The content of a system's own file: its configuration, and which files are
    its."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    files: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of the components' files by path."""


Config = TypeVar("Config", bound=PinnedConfig)

_PATTERNS = ("*.json", "*.safetensors")


def find_folder(
    source: str | Path,
    *,
    commit: str | None = None,
    offline: bool = False,
    mirror: str | None = None,
    parts: tuple[str, ...] = (),
) -> Path:
    """The folder with a system's files.

    Args:
        source: a folder, or the id of a repository on the Hugging Face hub.
        commit: of the repository, 40 hex digits; needed for an id.
        offline: take only what an earlier call has stored.
        mirror: address of a server that has the hub's protocol; None for the hub,
            or the variable ``HF_ENDPOINT``.
        parts: subfolders to fetch; none for all.

    Raises:
        UsageError: an id without a commit.
        WeightsError: there is no such folder, or it could not be fetched.
    """
    folder = Path(source)
    if folder.is_dir():
        return folder
    name = str(source)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise WeightsError(f"There is no folder {name}.", "Check the path.")
    if commit is None or not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise UsageError(
            f"There is no folder {name}; as a hub's repository it needs a commit.",
            "Give commit= with 40 hex digits, so that the files cannot change.",
        )
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError as error:
        raise MissingExtraError("Fetching from a hub", "diffusion") from error
    wanted = [f"{part}/{p}" for part in parts for p in _PATTERNS] or list(_PATTERNS)
    try:
        return Path(
            snapshot_download(
                name,
                revision=commit,
                local_files_only=offline,
                endpoint=mirror,
                allow_patterns=wanted,
            )
        )
    except LocalEntryNotFoundError as error:
        how = "is not stored here" if offline else "could not be reached"
        raise WeightsError(
            f"{name} at {commit[:8]} {how}.",
            "Fetch it once with a network, give a mirror, or give a folder.",
        ) from error
    except (HfHubHTTPError, OSError) as error:
        raise WeightsError(
            f"{name} at {commit[:8]} could not be fetched: {error}.",
            "Check the id and the commit, give a mirror, or give a folder.",
        ) from error


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def check_files(folder: Path, pins: Mapping[str, str]) -> None:
    """Compare files with their SHA-256.

    Args:
        folder: that holds them.
        pins: path below the folder to 64 hex digits.

    Raises:
        WeightsError: one is missing or is another file.
    """
    for name, wanted in pins.items():
        path = folder / name
        if not path.is_file():
            raise WeightsError(f"{path} is missing.", "Copy the whole folder again.")
        if file_sha256(path) != wanted.lower():
            raise WeightsError(
                f"{path} is not the file that was pinned: its SHA-256 differs.",
                "Copy or fetch it again, or pin the file that is meant.",
            )


def read_config(
    kind: type[Config], path: Path, parts: tuple[str, ...], *, maker: str, origin: str
) -> Config:
    """A system's configuration.

    Args:
        kind: its class.
        path: the file.
        parts: that must be pinned: files, and folders, which end in ``/``.
        maker: class of the system, which wrote the folder.
        origin: its method that begins from other weights.

    Raises:
        WeightsError: it is missing, is not valid, or pins not all parts.
    """
    try:
        config = kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read: {error.strerror}.",
            f"Name a folder that {maker}.save_pretrained wrote; begin with {origin}.",
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        raise WeightsError(
            f"{path} is not valid: {'.'.join(map(str, first['loc']))}: {first['msg']}.",
            "Copy the folder again, or update upframe.",
        ) from error
    for part in parts:
        if not any(name.startswith(part) for name in config.files):
            raise WeightsError(
                f"{path} names no files of {part.rstrip('/')}.",
                f"Write the folder with {maker}.save_pretrained.",
            )
    return config


def write_config(config: PinnedConfig, path: Path, parts: tuple[str, ...]) -> None:
    """Write a system's configuration, pinning the files that lie beside it.

    Args:
        config: its content.
        path: the file.
        parts: as for `read_config`; all files of a folder are pinned.
    """
    folder = path.parent
    written: list[Path] = []
    for part in parts:
        written += (folder / part).iterdir() if part.endswith("/") else [folder / part]
    files = {
        file.relative_to(folder).as_posix(): file_sha256(file)
        for file in sorted(written)
    }
    pinned = config.model_copy(update={"files": files})
    path.write_text(pinned.model_dump_json(indent=1) + "\n")


def read_component(kind: type[Any], folder: Path, name: str, dtype: torch.dtype) -> Any:
    """One part of a system, in eval mode.

    Args:
        kind: a model class of diffusers.
        folder: of the system.
        name: subfolder with ``config.json`` and safetensors.
        dtype: of the weights; those that diffusers keeps in float32 stay so.

    Raises:
        WeightsError: it is missing, damaged, or not of this kind.
    """
    part = _checked(kind, folder, name)
    try:
        made, info = kind.from_pretrained(
            part,
            torch_dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise WeightsError(
            f"{part} cannot be loaded: {str(error).strip().splitlines()[0]}.",
            "Copy it again; weights must be safetensors.",
        ) from error
    if wrong := [*info["missing_keys"], *info["unexpected_keys"]]:
        raise WeightsError(
            f"{part} does not fit its config.json; it begins with {wrong[0]!r}.",
            "Check that weights and configuration belong together.",
        )
    return made.eval()


def describe_component(
    kind: type[Any], folder: Path, name: str, dtype: torch.dtype
) -> Any:
    """One part of a system on the meta device, from its ``config.json`` alone.

    Raises:
        WeightsError: it is missing, or not of this kind.
    """
    part = _checked(kind, folder, name)
    with torch.device("meta"):
        made = kind.from_config(kind.load_config(part))
    exempt = tuple(getattr(kind, "_keep_in_fp32_modules", None) or ())
    for path, value in made.named_parameters():
        if not set(path.split(".")) & set(exempt):
            value.data = value.data.to(dtype)
    return made.eval()


def _checked(kind: type[Any], folder: Path, name: str) -> Path:
    """The subfolder of a part, once it is known to hold this kind."""
    part = folder / name
    if not (part / "config.json").is_file():
        raise WeightsError(
            f"{folder} lacks the component {name}.",
            f"There should be {name}/config.json and its weights.",
        )
    found = kind.load_config(part).get("_class_name", kind.__name__)
    if found != kind.__name__:
        raise WeightsError(
            f"{part} holds a {found} where a {kind.__name__} is needed.",
            "Check that the folder is of this system.",
        )
    return part
