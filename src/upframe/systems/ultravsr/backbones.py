"""Where UltraVSR's temporal modules stand in diffusers' networks.

Part of `upframe.systems.ultravsr`, whose header says what follows the paper and what
does not. The networks themselves stay diffusers'; here they are taken apart into
stages (`upframe.systems.ultravsr.stages`) between the temporal modules.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from upframe.errors import WeightsError
from upframe.systems.ultravsr.rts import RecurrentTemporalShift
from upframe.systems.ultravsr.stages import Carried, Segment, Stages

# Shape letters: B frames, C channels, h w size of the latent, L D length and width of
# the text embedding.

SD21_UNET: dict[str, Any] = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "attention_head_dim": (5, 10, 20, 20),
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
}
"""Arguments of diffusers' ``UNet2DConditionModel`` for Stable Diffusion 2.1-base."""

SD21_VAE: dict[str, Any] = {
    "sample_size": 768,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "latent_channels": 4,
    "scaling_factor": 0.18215,
}
"""Arguments of diffusers' ``AutoencoderKL`` for Stable Diffusion 2.1-base."""


def place_in_unet(unet: Any) -> None:
    """Add the temporal modules to diffusers' ``UNet2DConditionModel``, in place.

    They are called ``video_down_RTS_blocks`` and ``video_up_RTS_blocks``, as the
    authors call them. The UNet's own ``forward`` does not run them; `unet_stages` does.

    Raises:
        WeightsError: the UNet is of a kind that Stable Diffusion does not use.
    """
    _check_unet(unet.config)
    widths = list(unet.config.block_out_channels)
    unet.video_down_RTS_blocks = _modules(widths)
    unet.video_up_RTS_blocks = _modules([widths[-1], *widths[:0:-1]])


def place_in_vae(vae: Any) -> None:
    """Add the temporal modules to the decoder of an ``AutoencoderKL``, in place."""
    widths = list(vae.config.block_out_channels)
    vae.decoder.video_up_RTS_blocks = _modules([widths[-1], *widths[:0:-1]])


def _modules(widths: list[int]) -> nn.ModuleList:
    return nn.ModuleList(RecurrentTemporalShift(width) for width in widths)


def _check_unet(config: Any) -> None:
    plain = {
        "center_input_sample": False,
        "class_embed_type": None,
        "num_class_embeds": None,
        "addition_embed_type": None,
        "encoder_hid_dim": None,
        "encoder_hid_dim_type": None,
        "time_cond_proj_dim": None,
    }
    for name, expected in plain.items():
        if getattr(config, name, expected) != expected:
            raise WeightsError(
                f"This UNet has {name}={getattr(config, name)}, which UltraVSR cannot "
                "feed.",
                "Use the UNet of Stable Diffusion 2.1-base.",
            )
    if config.in_channels != config.out_channels:
        raise WeightsError(
            f"This UNet takes {config.in_channels} channels and gives "
            f"{config.out_channels}; UltraVSR needs as many out as in.",
            "Use the UNet of a text-to-image model, not of inpainting or upscaling.",
        )


def unet_stages(unet: Any, timestep: Tensor) -> Stages:
    """The UNet with its temporal modules, as stages.

    Where the UNet attends to text, the first segment must be given (text,) with the
    embeddings (B, L, D), one for each frame.

    Args:
        unet: with the modules that `place_in_unet` adds.
        timestep: (1,) or (B,), int64.
    """
    texts = 1 if needs_text(unet) else 0
    dtype = next(unet.conv_in.parameters()).dtype
    embedding = unet.time_proj(timestep).to(dtype)
    embedding = unet.time_embedding(embedding)

    def first(x: Tensor, carried: Carried) -> tuple[Tensor, Carried]:
        if len(carried) != texts:
            raise ValueError(f"the UNet needs {texts} text embeddings per frame")
        x = unet.conv_in(x)
        return down(unet.down_blocks[0])(x, (*carried, x))

    def down(block: Any) -> Segment:
        def segment(x: Tensor, carried: Carried) -> tuple[Tensor, Carried]:
            x, skips = block(
                hidden_states=x, temb=embedding, **_text_for(block, carried)
            )
            return x, carried + tuple(skips)

        return segment

    def middle(x: Tensor, carried: Carried) -> tuple[Tensor, Carried]:
        block = unet.mid_block
        if block is not None:
            x = block(x, embedding, **_text_for(block, carried))
        return x, carried

    def up(block: Any, last: bool) -> Segment:
        def segment(x: Tensor, carried: Carried) -> tuple[Tensor, Carried]:
            skips = len(block.resnets)
            carried, own = carried[:-skips], carried[-skips:]
            x = block(
                hidden_states=x,
                temb=embedding,
                res_hidden_states_tuple=own,
                upsample_size=None if last else carried[-1].shape[2:],
                **_text_for(block, carried),
            )
            return _output(unet, x) if last else x, carried

        return segment

    end = len(unet.up_blocks) - 1
    return Stages(
        segments=(
            first,
            *(down(block) for block in unet.down_blocks[1:]),
            middle,
            *(up(block, number == end) for number, block in enumerate(unet.up_blocks)),
        ),
        shifts=(*unet.video_down_RTS_blocks, *unet.video_up_RTS_blocks),
    )


def _text_for(block: Any, carried: Carried) -> dict[str, Tensor]:
    needed = getattr(block, "has_cross_attention", False)
    return {"encoder_hidden_states": carried[0]} if needed else {}


def _output(unet: Any, x: Tensor) -> Tensor:
    """The layers behind the last block."""
    if unet.conv_norm_out is not None:
        x = unet.conv_act(unet.conv_norm_out(x))
    result: Tensor = unet.conv_out(x)
    return result


def needs_text(unet: Any) -> bool:
    """Whether any block of the UNet attends to text."""
    blocks = (*unet.down_blocks, unet.mid_block, *unet.up_blocks)
    return any(getattr(block, "has_cross_attention", False) for block in blocks)


def decoder_stages(vae: Any) -> Stages:
    """The decoder with its temporal modules, as stages; takes unscaled latents."""
    decoder = vae.decoder

    def first(z: Tensor, carried: Carried) -> tuple[Tensor, Carried]:
        if vae.post_quant_conv is not None:
            z = vae.post_quant_conv(z)
        return decoder.mid_block(decoder.conv_in(z)), carried

    def up(block: Any, last: bool) -> Segment:
        def segment(x: Tensor, carried: Carried) -> tuple[Tensor, Carried]:
            x = block(x)
            if last:
                x = decoder.conv_out(decoder.conv_act(decoder.conv_norm_out(x)))
            return x, carried

        return segment

    end = len(decoder.up_blocks) - 1
    return Stages(
        segments=(
            first,
            *(
                up(block, number == end)
                for number, block in enumerate(decoder.up_blocks)
            ),
        ),
        shifts=tuple(decoder.video_up_RTS_blocks),
    )
