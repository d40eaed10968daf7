"""LiftVSR's network: PixArt's blocks on frames, with branches along time between them.

Part of `upframe.systems.liftvsr`, whose header says what was chosen. PixArt itself is
diffusers' ``PixArtTransformer2DModel``; its blocks are called here, one after another,
as its own ``forward`` calls them. All that is added is joined by linear maps that begin
at zero, so an untrained network gives what PixArt gives on each frame, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from upframe.errors import MissingExtraError, WeightsError
from upframe.systems.liftvsr.attention_memory import AttentionMemory
from upframe.systems.liftvsr.temporal_attention import DynamicTemporalAttention, Size
from upframe.systems.ultravsr.adapters import merge_lora

# Shape letters: B clips, T frames, D channels and h w size of a latent, N tokens of a
# frame, C channels of a token, L K length and width of the prompt.

Cache = tuple[Tensor, ...]
"""(B, N, C) for each branch; empty before the first segment."""

TIMES = 1000
"""Times of the diffusion."""


def noise_levels() -> Tensor:
    """ᾱ of PixArt's times, (TIMES,): the share of the signal in the variance."""
    return torch.cumprod(1 - torch.linspace(1e-4, 0.02, TIMES), 0)


def implied_noise(z: Tensor, clean: Tensor, level: Tensor) -> Tensor:
    """The noise in z, if what lies under it is ``clean``.

    Args:
        z: (B, T, D, h, w).
        clean: the same shape.
        level: (B,), ᾱ of each clip.
    """
    level = level.view(-1, 1, 1, 1, 1)
    return (z - level.sqrt() * clean) / (1 - level).sqrt()


_LORA = (
    *(f"attn{n}.to_{name}" for n in (1, 2) for name in ("q", "k", "v", "out.0")),
    "ff.net.0.proj",
    "ff.net.2",
)
_ADAPTER = "liftvsr"


class TemporalBranch(nn.Module):
    """Dynamic temporal attention and the cache, between two blocks of PixArt.

    Args:
        channels: C.
        heads: of PixArt.
        frames: the most that a segment has.
        token_flow: whether tokens are moved before they are attended to.
        memory: whether there is a cache.
    """

    def __init__(
        self, channels: int, heads: int, frames: int, *, token_flow: bool, memory: bool
    ) -> None:
        super().__init__()
        self.attention = DynamicTemporalAttention(
            channels, heads, frames, token_flow=token_flow
        )
        self.memory = (
            AttentionMemory(channels, heads, token_flow=token_flow) if memory else None
        )
        self.join = _zero(nn.Linear(channels, channels))

    def forward(self, x: Tensor, cache: Tensor | None, size: Size) -> Tensor:
        """(B, T, N, C) to the same shape, the input included."""
        seen = self.attention(x, size)
        if self.memory is not None and cache is not None:
            seen = seen + self.memory.read(x, cache, size)
        out: Tensor = x + self.join(seen)
        return out


class LiftTransformer(nn.Module):
    """The whole network; predicts noise.

    Args:
        pixart: diffusers' ``PixArtTransformer2DModel``; is frozen, LoRA is added to the
            blocks in place.
        segment: the most frames that are seen at once.
        factor: image size over latent size.
        rank: of the LoRA; 0 for none.
        token_flow: see `TemporalBranch`; likewise ``memory``.

    Raises:
        MissingExtraError: peft is not installed.
        WeightsError: PixArt has one block only.
    """

    def __init__(
        self,
        pixart: Any,
        *,
        segment: int,
        factor: int,
        rank: int,
        token_flow: bool = True,
        memory: bool = True,
    ) -> None:
        super().__init__()
        config = pixart.config
        if config.num_layers < 2:
            raise WeightsError(
                "Branches stand between blocks, and this PixArt has one block.",
                "Use a transformer with two blocks or more.",
            )
        self.pixart = pixart.requires_grad_(False)
        self.factor = factor
        self.memory = memory
        if rank:
            _add_lora(pixart, rank)
        patch, channels = config.patch_size, pixart.inner_dim
        self.condition = _zero(
            nn.Conv2d(config.in_channels, channels, patch, patch, bias=False)
        )
        self.gain = nn.Parameter(torch.zeros(config.in_channels))
        """How much of the noise that the condition implies is added, by channel."""
        self.branches = nn.ModuleList(
            TemporalBranch(
                channels,
                config.num_attention_heads,
                segment,
                token_flow=token_flow,
                memory=memory,
            )
            for _ in range(config.num_layers - 1)
        )
        # what was made here goes where PixArt is
        home = pixart.proj_out.weight
        self.condition.to(home)
        self.gain.data = self.gain.data.to(home)
        self.branches.to(home)

    @property
    def dtype(self) -> torch.dtype:
        """Type that the network works in."""
        dtype: torch.dtype = self.condition.weight.dtype
        return dtype

    def forward(
        self,
        z: Tensor,
        condition: Tensor,
        timestep: Tensor,
        prompt: Tensor,
        cache: Cache = (),
        *,
        remember: bool = False,
    ) -> tuple[Tensor, Cache]:
        """Predict the noise of one segment.

        Args:
            z: (B, T, D, h, w), noisy latents; h and w are multiples of a patch.
            condition: the same shape, latents of the degraded frames.
            timestep: (B,), of each clip.
            prompt: (1, L, K) or (B, L, K), its embedding.
            cache: from the segment before.
            remember: whether to update the cache.

        Returns:
            (B, T, D', h, w), where PixArt puts the noise into the first D channels and
            its variance into the others; and the cache, the one given if it is not
            updated.
        """
        pixart = self.pixart
        clips, frames = z.shape[:2]
        count, patch = clips * frames, pixart.config.patch_size
        size = z.shape[-2] // patch, z.shape[-1] // patch
        x = pixart.pos_embed(z.flatten(0, 1).to(self.dtype))
        given = self.condition(condition.flatten(0, 1).to(self.dtype))
        x = x + given.flatten(2).transpose(1, 2)
        time, embedded = pixart.adaln_single(
            timestep.repeat_interleave(frames),
            self._image_conditions(z),
            batch_size=count,
            hidden_dtype=x.dtype,
        )
        text = self._text(prompt.to(x.dtype), clips, frames)
        updated: list[Tensor] = []
        for layer, block in enumerate(pixart.transformer_blocks):
            x = self._call(block, x, None, text, None, time)
            if layer == len(self.branches):
                break
            branch: Any = self.branches[layer]
            tokens = torch.unflatten(x, 0, (clips, frames))
            held = cache[layer] if cache else None
            if remember and branch.memory is not None:
                updated.append(branch.memory.update(tokens, held, size))
            x = self._call(branch, tokens, held, size).flatten(0, 1)
        shift, scale = (pixart.scale_shift_table + embedded[:, None]).chunk(2, dim=1)
        x = pixart.proj_out(pixart.norm_out(x) * (1 + scale) + shift)
        x = x.view(clips, frames, *size, patch, patch, -1)
        out = x.permute(0, 1, 6, 2, 4, 3, 5).flatten(3, 4).flatten(4, 5)
        level = noise_levels().to(z.device)[timestep]
        known = implied_noise(z.float(), condition.float(), level).to(out.dtype)
        variance = out.shape[2] - z.shape[2]
        known = F.pad(self.gain.view(-1, 1, 1) * known, (0, 0, 0, 0, 0, variance))
        return out + known, tuple(updated) if remember else cache

    def _text(self, prompt: Tensor, clips: int, frames: int) -> Tensor:
        """(1 or B, L, K) to the embeddings of all frames (B * T, L, K')."""
        text = prompt.expand(clips, -1, -1).repeat_interleave(frames, dim=0)
        if self.pixart.caption_projection is not None:
            text = self.pixart.caption_projection(text)
        return text

    def merge(self) -> None:
        """Add LoRA to PixArt's weights and take it out; nothing if there is none."""
        merge_lora(self.pixart)

    def base_state(self) -> dict[str, Tensor]:
        """PixArt's own weights under its own names, without LoRA."""
        return {
            name.replace(".base_layer.", "."): value
            for name, value in self.pixart.state_dict().items()
            if ".lora_" not in name
        }

    def added_state(self) -> dict[str, Tensor]:
        """All that LiftVSR adds to PixArt; `load_state_dict` with strict=False."""
        return {
            name: value
            for name, value in self.state_dict().items()
            if not name.startswith("pixart.") or ".lora_" in name
        }

    def _call(self, module: Callable[..., Tensor], *args: Any) -> Tensor:
        """Run a block; keep none of its activations where PixArt is set to that."""
        if self.pixart.gradient_checkpointing and torch.is_grad_enabled():
            out: Tensor = checkpoint(module, *args, use_reentrant=False)
            return out
        return module(*args)

    def _image_conditions(self, z: Tensor) -> dict[str, Tensor | None]:
        """Size and shape of the image, which PixArt at 1024 takes as a condition."""
        if not self.pixart.use_additional_conditions:
            return {"resolution": None, "aspect_ratio": None}
        height, width = (side * self.factor for side in z.shape[-2:])
        count = z.shape[0] * z.shape[1]
        size = torch.tensor([[height, width]], dtype=self.dtype, device=z.device)
        ratio = torch.tensor([[height / width]], dtype=self.dtype, device=z.device)
        return {
            "resolution": size.expand(count, -1),
            "aspect_ratio": ratio.expand(count, -1),
        }


def _add_lora(pixart: Any, rank: int) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise MissingExtraError("LoRA of LiftVSR", "diffusion") from error
    layers = range(len(pixart.transformer_blocks))
    targets = [f"transformer_blocks.{n}.{name}" for n in layers for name in _LORA]
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=targets)
    inject_adapter_in_model(config, pixart, _ADAPTER)


def _zero(layer: nn.Linear | nn.Conv2d) -> Any:
    """The layer, giving zero."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
