"""Which system a state dict belongs to, and the arguments that made its network.

One entry of ``DETECTORS`` per system. Detection reads names and shapes alone, so it
needs no torch; only ``build`` imports the system. A new system adds an entry, after
those whose keys are more specific.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from upframe.errors import WeightsError
from upframe.weights.detector import Detector, Needs, Shapes
from upframe.weights.diffusion import DIFFUSION

if TYPE_CHECKING:
    from torch import nn

_LARGEST_SCALE = 16
_MIA_CONTEXT = 8
"""Frames on both sides of a chunk of MIA-VSR, whose recurrence runs both ways."""
_LITE_CONTEXT = 8
"""Frames before a chunk of MIA-VSR lite; see docs/notes/mia-vsr-cpu.md."""


def detect(shapes: Shapes) -> Detector | None:
    """The system that a state dict belongs to; None if it is none of ours."""
    return next((d for d in DETECTORS if d.matches(shapes)), None)


def by_name(system: str) -> Detector:
    """The detector of a system.

    Raises:
        WeightsError: there is no such system in this version.
    """
    for detector in DETECTORS:
        if detector.system == system:
            return detector
    raise WeightsError(
        f"There is no system {system!r} in this version.",
        f"Known: {', '.join(d.system for d in DETECTORS)}.",
    )


def full_config(
    detector: Detector, shapes: Shapes, declared: Mapping[str, Any]
) -> dict[str, Any]:
    """Arguments from the shapes, and from the file's own words where shapes are mute.

    Args:
        detector: the system.
        shapes: the state dict.
        declared: what the file says; only arguments that no shape tells are taken, or
            all where no shape tells any.

    Raises:
        WeightsError: the shapes fit no network of the system, a declared argument
            makes no sense, or nothing is declared where it has to be.
    """
    if detector.deduce is None:
        if not declared:
            raise WeightsError(
                f"The file does not say the sizes of its {detector.title}.",
                "Keep the metadata that upframe's weight files carry; full-size "
                "systems in folders have functions of their own to load them.",
            )
        return dict(declared)
    config = detector.deduce(shapes)
    for name, makes_sense in detector.hidden.items():
        if name not in declared:
            continue
        if not makes_sense(declared[name]):
            raise WeightsError(
                f"A {detector.title} network cannot have {name} = {declared[name]!r}.",
                "Check the config that was saved with the weights.",
            )
        config[name] = declared[name]
    return config


def count(shapes: Shapes, prefix: str) -> int:
    """How many numbered parts there are right below a prefix.

    Distinct numbers are counted, so that one absurd number makes no absurd network.
    """
    pattern = re.compile(re.escape(prefix) + r"([0-9]+)\.", re.ASCII)
    return len({match[1] for key in shapes if (match := pattern.match(key))})


def side(shapes: Shapes, key: str, axis: int) -> int:
    """One side of one tensor, at least 1.

    Raises:
        WeightsError: the tensor is missing, or has no such side.
    """
    shape = shapes.get(key)
    if shape is None:
        raise WeightsError(f"The tensor {key!r} is missing.", "Is the file complete?")
    if len(shape) <= axis or shape[axis] < 1:
        raise WeightsError(f"The tensor {key!r} has the impossible shape {shape}.")
    return shape[axis]


def shuffle_scale(shapes: Shapes, key: str) -> int:
    """Factor of a pixel shuffle from the shape of the convolution before it.

    Raises:
        WeightsError: the channels are no 3 times a square.
    """
    channels = side(shapes, key, 0)
    scale = math.isqrt(channels // 3)
    if 3 * scale**2 != channels or not 1 <= scale <= _LARGEST_SCALE:
        raise WeightsError(
            f"The tensor {key!r} makes {channels} channels, which are no RGB picture "
            "of any scale."
        )
    return scale


# DITN ----------------------------------------------------------------------------


def _is_ditn(shapes: Shapes) -> bool:
    typical = ("sft.weight", "conv_after_body.weight", "upsample.0.weight")
    return all(key in shapes for key in typical) and count(shapes, "UFONE.") > 0


def _deduce_ditn(shapes: Shapes) -> dict[str, Any]:
    dim = side(shapes, "sft.weight", 0)
    n_itl = count(shapes, "UFONE.0.ITLs.")
    n_sal = count(shapes, "UFONE.0.SALs.")
    layer = "UFONE.0.ITLs.0." if n_itl else "UFONE.0.SALs.0."
    hidden = side(shapes, f"{layer}ffn.project_out.weight", 1)
    expansion = hidden / dim
    if int(dim * expansion) != hidden:
        # the quotient was rounded down, and the constructor's int would cut it
        expansion = (hidden + 0.5) / dim
    return {
        "scale": shuffle_scale(shapes, "upsample.0.weight"),
        "dim": dim,
        "n_itl": n_itl,
        "n_sal": n_sal,
        "n_ufone": count(shapes, "UFONE."),
        "expansion": expansion,
        "norm": "layer" if f"{layer}norm1.body.weight" in shapes else "tanh",
        "residual": "residual_path" in shapes,
    }


def _build_ditn(config: Mapping[str, Any]) -> nn.Module:
    from upframe.systems.ditn.model import DITN

    return DITN(**config)


def _ditn_needs(config: Mapping[str, Any], shapes: Shapes) -> Needs:
    dim, scale, n_ufone = config["dim"], config["scale"], config["n_ufone"]
    hidden = int(dim * config["expansion"])
    patch = config.get("patch", 8)
    # Every layer works at the input's size: each weight is used once per pixel. The
    # two products of the attention, C x C x N per patch of N, are no weights.
    multiply_adds = sum(math.prod(s) for s in shapes.values() if len(s) in (2, 4))
    multiply_adds += 2 * dim**2 * config["n_itl"] * n_ufone
    # A SAL looks 12 pixels far. Tiles of DITN_Real that share 48 pixels differ from the
    # whole picture by 1 of 255 at most (calendar of Vid4), with 32 by 3, with 16 by 8.
    reach = 12 * config["n_sal"] * n_ufone
    return Needs(
        multiple=patch,
        min_size=max(16, patch),
        overlap=min(64, max(16, -(-reach // patch) * patch)),
        # Measured with torch on 640x480 for dim 16 to 60 and expansion 1 to 4: the
        # feed-forward layers hold four hidden maps, small networks their output.
        bytes_per_pixel=4 * max(5 * dim + 4 * hidden, 24 * scale**2),
        gflops_per_megapixel=round(2 * multiply_adds / 1e3, 1),
    )


# MIA-VSR -------------------------------------------------------------------------

_MIA_FIRST = "patch_align.backward_1.layers.0.residual_group.blocks.0."


def _is_mia_vsr(shapes: Shapes) -> bool:
    typical = ("conv_first.weight", "conv_hr.weight", f"{_MIA_FIRST}attn.qkv.weight")
    return all(key in shapes for key in typical)


def _deduce_mia_vsr(shapes: Shapes) -> dict[str, Any]:
    layers = "patch_align.backward_1.layers."
    groups = range(count(shapes, layers))
    blocks = [f"{layers}{i}.residual_group.blocks." for i in groups]
    table = "0.attn.relative_position_bias_table"
    dim = side(shapes, "conv_first.weight", 0)
    tokens = side(shapes, f"{_MIA_FIRST}attn.relative_position_index", 0)
    heads = [side(shapes, f"{block}{table}", 1) for block in blocks]
    if math.isqrt(tokens) ** 2 != tokens:
        raise WeightsError(f"Windows of {tokens} pixels are not square.")
    if any(dim % n for n in heads):
        raise WeightsError(f"{dim} channels cannot be divided among {heads} heads.")
    hidden = side(shapes, f"{_MIA_FIRST}mlp.fc1.weight", 0)
    ratio = hidden / dim
    if int(dim * ratio) != hidden:
        # the quotient was rounded down, and the constructor's int would cut it
        ratio = (hidden + 0.5) / dim
    return {
        "mid_channels": side(shapes, "conv_before_upsample.weight", 0),
        "embed_dim": dim,
        "depths": [count(shapes, block) for block in blocks],
        "heads": heads,
        "window": math.isqrt(tokens),
        "mlp_ratio": ratio,
    }


def _build_mia_vsr(config: Mapping[str, Any]) -> nn.Module:
    from upframe.systems.mia_vsr.model import MIAVSR

    return MIAVSR(**config)


def _mia_vsr_needs(config: Mapping[str, Any], shapes: Shapes) -> Needs:
    dim, mid = config["embed_dim"], config["mid_channels"]
    used = {  # these three are in the authors' files and are never used
        key: math.prod(shape)
        for key, shape in shapes.items()
        if len(shape) in (2, 4)
        and not re.match(r"patch_align\.\w+\.conv_(first|before_upsample)", key)
        and not key.endswith(("_bias_table", "_index"))
    }
    linear = sum(n for key, n in used.items() if not key.startswith("spynet."))
    # of the three frames, two pass through keys and values alone
    linear += sum(4 * dim**2 for key in used if key.endswith("attn.qkv.weight"))
    attention = 2 * 3 * config["window"] ** 2 * dim * 4 * sum(config["depths"])
    enlarged = 3 * used.get("upconv2.weight", 0)
    enlarged += 15 * sum(used.get(f"conv_{k}.weight", 0) for k in ("hr", "last"))
    # a level of the pyramid has a quarter of the pixels of the next; both directions
    flow = 2 * 4 / 3 * used.get("spynet.basic_module.5.basic_module.2.weight", 0) * 2.4
    return Needs(
        multiple=1,
        min_size=16,
        overlap=32,
        # The largest maps of the reconstruction, a block's tokens, and what the blocks
        # of one branch remember. Measured with two blocks, 60 and 120 channels: 16 to
        # 25 kB for one to three frames; each further one adds about 4 kB.
        bytes_per_pixel=4
        * (2 * 64 * 16 + 16 * mid + 24 * dim + 3 * dim * sum(config["depths"])),
        gflops_per_megapixel=round(2 * (linear + attention + enlarged + flow) / 1e3, 1),
        context=_MIA_CONTEXT,
        masked=config.get("use_mask", True),
    )


# MIA-VSR lite --------------------------------------------------------------------


def _is_mia_vsr_lite(shapes: Shapes) -> bool:
    typical = ("conv_fuse.weight", "base.weight", "groups.0.attn.position_bias")
    return all(key in shapes for key in typical)


def _deduce_mia_vsr_lite(shapes: Shapes) -> dict[str, Any]:
    dim = side(shapes, "conv_first.weight", 0)
    heads = side(shapes, "groups.0.attn.position_bias", 1)
    if dim % heads:
        raise WeightsError(f"{dim} channels cannot be divided among {heads} heads.")
    hidden = side(shapes, "groups.0.mlp.fc1.weight", 0)
    ratio = hidden / dim
    if int(dim * ratio) != hidden:
        # the quotient was rounded down, and the constructor's int would cut it
        ratio = (hidden + 0.5) / dim
    groups = range(count(shapes, "groups."))
    return {
        "dim": dim,
        "groups": [count(shapes, f"groups.{i}.convs.") for i in groups],
        "heads": heads,
        "mlp_ratio": ratio,
    }


def _build_mia_vsr_lite(config: Mapping[str, Any]) -> nn.Module:
    from upframe.systems.mia_vsr_lite.model import MIAVSRLite

    return MIAVSRLite(**config)


def _mia_vsr_lite_needs(config: Mapping[str, Any], shapes: Shapes) -> Needs:
    dim, groups = config["dim"], config["groups"]
    weights = sum(
        math.prod(shape)
        for key, shape in shapes.items()
        if len(shape) in (2, 4) and not key.endswith("position_bias")
    )
    # keys and values also of the past frame; two products with 128 tokens; both
    # searches for motion, 81 places on a quarter of the pixels and 25 on all
    attention = (2 * dim**2 + 2 * 128 * dim) * len(groups)
    motion = 2 * (81 / 4 + 25)
    return Needs(
        multiple=8,
        min_size=16,
        overlap=32,
        # Counted, not measured: the memory of each residual, before and after a step
        # and twice while it is made, the tiles of all windows, and pictures.
        bytes_per_pixel=4 * (4 * dim * (sum(groups) + len(groups) + 8) + 6 * 48),
        gflops_per_megapixel=round(2 * (weights + attention + motion) / 1e3, 1),
        context=_LITE_CONTEXT,
        lookahead=1,
        masked=True,
    )


DETECTORS = (
    Detector(
        system="ditn",
        title="DITN",
        matches=_is_ditn,
        deduce=_deduce_ditn,
        hidden={"patch": lambda value: type(value) is int and 1 <= value <= 64},
        build=_build_ditn,
        needs=_ditn_needs,
    ),
    Detector(
        system="mia-vsr",
        title="MIA-VSR",
        matches=_is_mia_vsr,
        deduce=_deduce_mia_vsr,
        hidden={"use_mask": lambda value: type(value) is bool},
        build=_build_mia_vsr,
        needs=_mia_vsr_needs,
        scale=4,
    ),
    Detector(
        system="mia_vsr_lite",
        title="MIA-VSR lite",
        matches=_is_mia_vsr_lite,
        deduce=_deduce_mia_vsr_lite,
        hidden={"use_mask": lambda value: type(value) is bool},
        build=_build_mia_vsr_lite,
        needs=_mia_vsr_lite_needs,
        scale=4,
    ),
    *DIFFUSION,
)
"""All systems, in the order in which they are tried."""
