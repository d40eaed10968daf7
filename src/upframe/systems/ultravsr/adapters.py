"""What UltraVSR trains of a diffusion model: LoRA, temporal modules, the first layer.

Part of `upframe.systems.ultravsr`. As in the authors' code: three LoRA adapters in the
UNet (down blocks with the first layer, up blocks with the last, the rest), one in the
autoencoder's encoder, all temporal modules, and the UNet's ``conv_in`` in full. For
Stable Diffusion 2.1-base at rank 4 these are 10,493,884 parameters.

A checkpoint holds these and nothing else, in the authors' layout::

    rank_unet, rank_vae                    int
    unet_lora_encoder_modules, unet_lora_decoder_modules, unet_lora_others_modules,
    vae_lora_modules                       names of the layers with LoRA
    state_dict_unet                        parameters with lora, conv_in or RTS in them
    state_dict_vae                         parameters with lora or RTS in them
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from upframe.errors import MissingExtraError, WeightsError

RANK = 4
"""Of the authors' LoRA; follows from their number of parameters."""

_UNET_GROUPS = ("encoder", "decoder", "others")
_UNET_PATTERNS = (
    "to_k",
    "to_q",
    "to_v",
    "to_out.0",
    "conv",
    "proj_out",
    "proj_in",
    "ff.net.2",
    "ff.net.0.proj",
)
_VAE_PATTERNS = ("conv", "to_k", "to_q", "to_v", "to_out.0")
_VAE_ADAPTER = "default_encoder"
_KEYS = (
    "rank_unet",
    "rank_vae",
    *(f"unet_lora_{group}_modules" for group in _UNET_GROUPS),
    "vae_lora_modules",
    "state_dict_unet",
    "state_dict_vae",
)


def prepare_training(unet: Any, vae: Any, rank: int = RANK) -> None:
    """Add LoRA and leave only what UltraVSR trains trainable, in place.

    Args:
        unet: with temporal modules, without LoRA.
        vae: likewise.
        rank: of the LoRA.

    Raises:
        MissingExtraError: peft is not installed.
    """
    _inject(unet, vae, rank, rank, _unet_targets(unet), _vae_targets(vae))
    for network, is_ours in ((unet, _trains_in_unet), (vae, _trains_in_vae)):
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(is_ours(name))


def trainable(unet: nn.Module, vae: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Names, with ``unet.`` or ``vae.`` in front, and parameters that are trained."""
    for prefix, network in (("unet", unet), ("vae", vae)):
        for name, parameter in network.named_parameters():
            if parameter.requires_grad:
                yield f"{prefix}.{name}", parameter


def checkpoint(unet: Any, vae: Any) -> dict[str, Any]:
    """What was trained, in the authors' layout; `load_checkpoint` takes it back."""
    groups = {
        f"unet_lora_{group}_modules": _adapted(unet, f"default_{group}")
        for group in _UNET_GROUPS
    }
    return {
        "rank_unet": _rank(unet),
        "rank_vae": _rank(vae),
        **groups,
        "vae_lora_modules": _adapted(vae, _VAE_ADAPTER),
        "state_dict_unet": _chosen(unet, _trains_in_unet),
        "state_dict_vae": _chosen(vae, _trains_in_vae),
    }


def load_checkpoint(unet: Any, vae: Any, content: Mapping[str, Any]) -> None:
    """Put a checkpoint's LoRA and temporal modules into networks, in place.

    Args:
        unet: with temporal modules, without LoRA.
        vae: likewise.
        content: what the file holds.

    Raises:
        MissingExtraError: peft is not installed.
        WeightsError: it is no checkpoint of UltraVSR, or of other networks than these.
    """
    missing = [key for key in _KEYS if key not in content]
    if missing:
        raise WeightsError(
            f"This is no checkpoint of UltraVSR: it lacks {', '.join(missing)}.",
            "Name the authors' file, or one that upframe's training wrote.",
        )
    groups = {
        group: _names(content, f"unet_lora_{group}_modules", unet)
        for group in _UNET_GROUPS
    }
    vae_targets = _names(content, "vae_lora_modules", vae)
    ranks = content["rank_unet"], content["rank_vae"]
    if not all(isinstance(rank, int) and 0 < rank < 4096 for rank in ranks):
        raise WeightsError(
            f"The checkpoint's ranks {ranks} are invalid.", "Use another file."
        )
    _inject(unet, vae, *ranks, groups, vae_targets)
    _fill(unet, content["state_dict_unet"], _trains_in_unet, "UNet")
    _fill(vae, content["state_dict_vae"], _trains_in_vae, "autoencoder")


def merge_lora(network: nn.Module) -> None:
    """Add LoRA to the weights it belongs to and take its layers out, in place.

    The result is the same up to rounding, and faster.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [
        (name, layer)
        for name, layer in network.named_modules()
        if isinstance(layer, BaseTunerLayer)
    ]
    for name, layer in layers:
        layer.merge()
        parent, _, own = name.rpartition(".")
        setattr(network.get_submodule(parent), own, layer.get_base_layer())


def is_temporal(name: str) -> bool:
    """Whether a parameter of this name belongs to a temporal module."""
    return "RTS" in name


def _trains_in_unet(name: str) -> bool:
    return "lora" in name or "conv_in" in name or is_temporal(name)


def _trains_in_vae(name: str) -> bool:
    return "lora" in name or is_temporal(name)


def _unet_targets(unet: nn.Module) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {group: [] for group in _UNET_GROUPS}
    for name in _weights(unet, _UNET_PATTERNS):
        if "down_blocks" in name or "conv_in" in name:
            groups["encoder"].append(name)
        elif "up_blocks" in name or "conv_out" in name:
            groups["decoder"].append(name)
        else:
            groups["others"].append(name)
    return groups


def _vae_targets(vae: nn.Module) -> list[str]:
    return [
        name
        for name in _weights(vae, _VAE_PATTERNS)
        if "encoder" in name or name == "quant_conv"
    ]


def _weights(network: nn.Module, patterns: tuple[str, ...]) -> Iterator[str]:
    """Names of the layers whose weights match a pattern; not norms, not ours."""
    for name, _ in network.named_parameters():
        if any(word in name for word in ("bias", "norm", "RTS")):
            continue
        if any(pattern in name for pattern in patterns):
            yield name.removesuffix(".weight")


def _inject(
    unet: nn.Module,
    vae: nn.Module,
    rank_unet: int,
    rank_vae: int,
    unet_targets: Mapping[str, list[str]],
    vae_targets: list[str],
) -> None:
    adapters = {f"default_{group}": names for group, names in unet_targets.items()}
    _add_lora(unet, rank_unet, adapters)
    _add_lora(vae, rank_vae, {_VAE_ADAPTER: vae_targets})


def _add_lora(network: nn.Module, rank: int, adapters: Mapping[str, list[str]]) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model
        from peft.tuners.tuners_utils import BaseTunerLayer
    except ImportError as error:
        raise MissingExtraError("LoRA of UltraVSR", "diffusion") from error
    given = {name: targets for name, targets in adapters.items() if targets}
    for name, targets in given.items():
        config = LoraConfig(
            r=rank, init_lora_weights="gaussian", target_modules=targets
        )
        with warnings.catch_warnings():
            # several adapters in one network are what is wanted
            warnings.filterwarnings("ignore", message="Already found a `peft_config`")
            inject_adapter_in_model(config, network, name)
    for layer in network.modules():
        if isinstance(layer, BaseTunerLayer):
            layer.set_adapter(list(given))


def _adapted(network: nn.Module, adapter: str) -> list[str]:
    return [
        name.removesuffix(f".lora_A.{adapter}.weight")
        for name, _ in network.named_parameters()
        if name.endswith(f".lora_A.{adapter}.weight")
    ]


def _rank(network: nn.Module) -> int:
    for name, parameter in network.named_parameters():
        if ".lora_A." in name:
            return len(parameter)
    raise WeightsError(
        "This network has no LoRA to save.", "Call prepare_training first."
    )


def _chosen(network: nn.Module, is_ours: Any) -> dict[str, Tensor]:
    return {
        name: parameter.detach().cpu()
        for name, parameter in network.named_parameters()
        if is_ours(name)
    }


def _names(content: Mapping[str, Any], key: str, network: nn.Module) -> list[str]:
    names = content[key]
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise WeightsError(
            f"The checkpoint's {key} is no list of names.", "Use another file."
        )
    known = {name for name, _ in network.named_modules()}
    strange = sorted(set(names) - known)
    if strange:
        raise WeightsError(
            f"The checkpoint has LoRA for {strange[0]}, which this network lacks.",
            "Load the base model that it was trained on: Stable Diffusion 2.1-base.",
        )
    return list(dict.fromkeys(names))


def _fill(network: nn.Module, state: Any, is_ours: Any, what: str) -> None:
    expected = {
        name: parameter
        for name, parameter in network.named_parameters()
        if is_ours(name)
    }
    if not isinstance(state, Mapping):
        state = {}
    missing = sorted(expected.keys() - state.keys())
    extra = sorted(state.keys() - expected.keys())
    if missing or extra:
        problem = f"lacks {missing[0]}" if missing else f"has {extra[0]} too much"
        raise WeightsError(
            f"The checkpoint does not fit the {what}: it {problem}.",
            "Load the base model that it was trained on: Stable Diffusion 2.1-base.",
        )
    with torch.no_grad():
        for name, parameter in expected.items():
            value = state[name]
            if not isinstance(value, Tensor) or value.shape != parameter.shape:
                raise WeightsError(
                    f"The checkpoint's {name} in the {what} has not the shape "
                    f"{tuple(parameter.shape)}.",
                    "Load the base model that it was trained on.",
                )
            if not bool(torch.isfinite(value.float()).all()):
                raise WeightsError(
                    f"The checkpoint's {name} holds values that are no numbers.",
                    "Its training failed or the file is damaged; use another.",
                )
            parameter.copy_(value)
