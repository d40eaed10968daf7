"""LiftVSR: an image diffusion transformer that restores videos, segment by segment.

Paper: Wang et al., "LiftVSR: Lifting Image Diffusion to Video Super-Resolution via
Hybrid Temporal Modeling with Only 4×RTX 4090s", arXiv 2506.08529. No code was released;
this is an own implementation after the abstract, the figures and reviews of it. The
prior, PixArt-α, comes as diffusers' ``PixArtTransformer2DModel``; its weights are under
CreativeML Open RAIL++-M, those of its autoencoder (Stable Diffusion's) under MIT.

::

    frames ─ ×4 bicubic ─ encoder ─ c                  8 frames at a time
    √ᾱ c + √(1-ᾱ) noise ─ [transformer, DPM-Solver++] × steps ─ decoder ─ colours
    transformer:  block ─ branch ─ block ─ branch ─ ... ─ block
    branch(F) = F + zero(attention along time (F) + cache read by F)

From the paper: PixArt-α with LoRA on its blocks; dynamic temporal attention and an
attention memory cache between each two of them, joined by linear maps that begin at
zero; segments of 8 frames, in order; noise prediction, the head for its variance kept;
asymmetric sampling, which lets a segment read a cache that was written at another time
of the diffusion than it is at itself.

Where the paper is silent, this was chosen:

* Condition: a patch embedding of its own for c, added to PixArt's, which is the same as
  4 more channels of one embedding; begins at zero. Besides, a gain for each channel, at
  zero in the beginning, adds the noise that there would be if c were clean: with a gain
  of one the network predicts what is to be added to c.
* Attention: `upframe.systems.liftvsr.temporal_attention`. As wide as PixArt, its heads,
  a feed-forward network of twice its width. Together with the cache this gives 1.06
  billion parameters in all; the paper's plot has about 1.0.
* Cache: `upframe.systems.liftvsr.attention_memory`; one token per place and layer. It
  is read and written with the features that enter the branch, and the read is added.
* Asymmetric sampling: the cache is written once for each segment, in the last step,
  when there is least noise, at no cost; all steps of the next segment read that one
  cache. So it need not be kept for each step, and what is read always has the same
  level of noise. In training each segment of a clip has a time of its own.
* LoRA: rank 16, on all linear layers of both attentions and the feed-forward network.
* Few steps: DPM-Solver++ of second order (diffusers) at 4 evenly spaced times, the
  first 999. It begins with c, noised to that time, for the sampler never sees a signal
  of zero. Noise is sampled from the seed and the number of the frame alone.
* No guidance; one prompt for all frames: an embedding that is given, or one token of
  zeros. T5-XXL, PixArt's text encoder, has 4.3 billion parameters and is not needed.
* The last segment may be shorter. Segments do not overlap.
* Sides are padded by their edge to whole patches, and cut again.
* Images larger than PixArt's own are cut into tiles of that size, in latents, which
  overlap by a quarter. The network sees one after the other, so that its time grows
  with the image and its memory does not; the noise that it predicts is blended before
  each step of the sampler. Each tile has a cache of its own.

Trained are LoRA, the condition's embedding, the gain and the branches.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from upframe.errors import MissingExtraError, UsageError
from upframe.nn.images import colour_fixes, require_clip, require_finite, upsample
from upframe.nn.noise import frame_noise
from upframe.planning.tiles import TileGrid, plan_tiles
from upframe.systems.diffusion.components import (
    check_files,
    describe_component,
    find_folder,
    read_component,
)
from upframe.systems.diffusion.decoders import FrameDecoder
from upframe.systems.diffusion.latents import encode, fill
from upframe.systems.liftvsr.components import (
    check_components,
    fill_added,
    prompt_width,
    sampling_times,
)
from upframe.systems.liftvsr.files import (
    ADDED,
    CONFIG,
    PROMPT,
    LiftVSRConfig,
    read_config,
    write_config,
)
from upframe.systems.liftvsr.tiled import predict_tiles
from upframe.systems.liftvsr.transformer import Cache, LiftTransformer

try:
    from diffusers import (
        AutoencoderKL,
        DPMSolverMultistepScheduler,
        PixArtTransformer2DModel,
    )
except ImportError as error:
    raise MissingExtraError("LiftVSR", "diffusion") from error

# Shape letters: B clips, T frames, h w size of the input, H W of the output,
# D channels of a latent, L K length and width of the prompt.

OVERLAP = 4
"""Side of a tile over what neighbours share of it at least."""


class LiftVSR(nn.Module):
    """The system.

    Args:
        pixart: diffusers' ``PixArtTransformer2DModel``; is frozen, LoRA is added.
        vae: diffusers' ``AutoencoderKL`` or our ``Autoencoder``; is frozen.
        config: sizes and how to sample.
        prompt: (1, L, K) embedding; None for a token of zeros.

    Raises:
        MissingExtraError: peft is not installed.
        WeightsError: the components do not fit together.
    """

    prompt: Tensor

    def __init__(
        self,
        pixart: Any,
        vae: Any,
        config: LiftVSRConfig | None = None,
        prompt: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.config = config or LiftVSRConfig()
        self.scale = self.config.scale
        self.vae = vae.requires_grad_(False).eval()
        self.decoder = FrameDecoder(vae)
        check_components(pixart, self.decoder, prompt)
        self.transformer = LiftTransformer(
            pixart,
            segment=self.config.segment,
            factor=self.decoder.spatial,
            rank=self.config.rank,
            token_flow=self.config.token_flow,
            memory=self.config.memory,
        )
        if prompt is None:
            prompt = torch.zeros(1, 1, prompt_width(pixart))
        self.register_buffer("prompt", prompt)

    def train(self, mode: bool = True) -> LiftVSR:
        """Training mode for the transformer; the autoencoder is frozen."""
        super().train(mode)
        self.vae.eval()
        return self

    def forward(self, frames: Tensor, *, seed: int = 0, first_index: int = 0) -> Tensor:
        """Restore a clip without cuts, segment by segment.

        For videos of any length use `upframe.systems.liftvsr.stream.Session`.

        Args:
            frames: (B, T, 3, h, w), RGB in [0, 1]; any T, h and w.
            seed: of the noise, 0 to 2**64 - 1.
            first_index: number of the first frame in its video.

        Returns:
            (B, T, 3, scale * h, scale * w), float32 in [0, 1].

        Raises:
            UsageError: this is no clip.
            RuntimeFailure: a network gave something that is no number.
        """
        require_clip(frames)
        cache: Cache = ()
        finished: list[Tensor] = []
        for n in range(0, frames.shape[1], self.config.segment):
            part = frames[:, n : n + self.config.segment]
            out, cache = self.restore(
                part, cache, seed=seed, first_index=first_index + n
            )
            finished.append(out)
        return torch.cat(finished, dim=1)

    def restore(
        self, frames: Tensor, cache: Cache = (), *, seed: int = 0, first_index: int = 0
    ) -> tuple[Tensor, Cache]:
        """Restore one segment.

        Args:
            frames: (B, T, 3, h, w), RGB in [0, 1]; T at most ``config.segment``.
            cache: what the segment before returned; empty after a cut.
            seed: of the noise, 0 to 2**64 - 1.
            first_index: number of the first frame in its video.

        Returns:
            (B, T, 3, scale * h, scale * w), float32 in [0, 1], and the cache.

        Raises:
            RuntimeFailure: a network gave something that is no number.
        """
        clips, count = frames.shape[:2]
        big = upsample(frames.flatten(0, 1).float(), self.scale)
        condition = torch.unflatten(self.encode(big), 0, (clips, count))
        indices = range(first_index, first_index + count)
        noise = frame_noise(seed, indices, condition.shape[2:]).to(condition)
        z, cache = self.sample(condition, noise.expand_as(condition), cache)
        out = self.decode(z.flatten(0, 1), big.shape[-2], big.shape[-1])
        out = colour_fixes[self.config.colours](out.clamp(0, 1), big).clamp(0, 1)
        return torch.unflatten(out, 0, (clips, count)), cache

    def sample(
        self, condition: Tensor, noise: Tensor, cache: Cache = ()
    ) -> tuple[Tensor, Cache]:
        """The few steps of diffusion.

        Args:
            condition: (B, T, D, H / factor, W / factor), latents of the input.
            noise: the same shape.
            cache: from the segment before; read by all steps, written by the last.

        Returns:
            Latents of the same shape, float32, and the cache.

        Raises:
            RuntimeFailure: the transformer gave something that is no number.
        """
        grid = self.tiles(*condition.shape[-2:])
        schedule = DPMSolverMultistepScheduler()  # its defaults are PixArt's noise
        times = sampling_times(self.config.steps, self.config.start)
        schedule.set_timesteps(timesteps=times)
        level = float(schedule.alphas_cumprod[times[0]])
        z = level**0.5 * condition.float() + (1 - level) ** 0.5 * noise.float()
        written = cache
        for time in times:
            given = torch.full((len(z),), time, device=z.device)
            predicted, written = predict_tiles(
                self.transformer,
                self.prompt,
                grid,
                z,
                condition,
                given,
                cache,
                remember=time == times[-1],
            )
            require_finite(predicted, "The predicted noise")
            z = schedule.step(predicted, time, z, return_dict=False)[0]
        return z, written

    def tiles(self, height: int, width: int) -> TileGrid:
        """How latents of this size are cut: as large as PixArt's own at most."""
        config = self.transformer.pixart.config
        side, patch = config.sample_size, config.patch_size
        return plan_tiles(width, height, side, side, side // OVERLAP, patch)

    def cached_tokens(self, height: int, width: int) -> int:
        """Tokens of a cache for images of this size, those of all tiles."""
        patch = self.transformer.pixart.config.patch_size
        whole = self.decoder.spatial * patch
        latents = (-(-side // whole) * patch for side in (height, width))
        return int(self.tiles(*latents).area // patch**2)

    def encode(self, images: Tensor) -> Tensor:
        """Latents of images, the encoder's mean.

        Args:
            images: (N, 3, H, W) in [0, 1]; padded by their edge to whole patches.

        Returns:
            (N, D, H / factor, W / factor), float32, with unit variance, without
            gradient.
        """
        whole = self.decoder.spatial * self.transformer.pixart.config.patch_size
        return encode(self.vae, fill(images, whole))

    def decode(self, z: Tensor, height: int, width: int) -> Tensor:
        """Images (N, 3, height, width) around [0, 1], float32, from latents.

        Raises:
            RuntimeFailure: the decoder gave something that is no number.
        """
        out = self.decoder.start()(z[:, :, None])[:, 0]
        require_finite(out, "The decoded image")
        return out[..., :height, :width].float() * 0.5 + 0.5

    def merge(self) -> None:
        """Add LoRA to the weights it belongs to; same up to rounding, and faster."""
        self.transformer.merge()
        self.config = self.config.model_copy(update={"rank": 0})

    @classmethod
    def from_pixart(
        cls,
        source: str | Path,
        *,
        config: LiftVSRConfig | None = None,
        prompt: Tensor | None = None,
        pins: Mapping[str, str] | None = None,
        dtype: torch.dtype = torch.float32,
        commit: str | None = None,
        offline: bool = False,
        mirror: str | None = None,
    ) -> LiftVSR:
        """Begin training from PixArt-α in diffusers' layout.

        Args:
            source: a folder with ``transformer`` and ``vae``, or a hub id.
            config: sizes and how to sample.
            prompt: (1, L, K) embedding; None for a token of zeros.
            pins: path in the folder to SHA-256, of the files to check.
            dtype: of the weights.
            commit: see `find_folder`; likewise ``offline`` and ``mirror``.

        Raises:
            UsageError, WeightsError: as `find_folder`, `check_files`, `read_component`.
        """
        parts = ("transformer", "vae")
        folder = find_folder(
            source, commit=commit, offline=offline, mirror=mirror, parts=parts
        )
        check_files(folder, pins or {})
        pixart = read_component(PixArtTransformer2DModel, folder, "transformer", dtype)
        vae = read_component(AutoencoderKL, folder, "vae", dtype)
        return cls(pixart, vae, config, prompt).eval()

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        dtype: torch.dtype = torch.float32,
        pin: str | None = None,
        commit: str | None = None,
        offline: bool = False,
        mirror: str | None = None,
    ) -> LiftVSR:
        """Load what :meth:`save_pretrained` wrote.

        Every file is compared with the SHA-256 in ``liftvsr.json``.

        Args:
            source: a folder or a hub id.
            dtype: of the weights; bfloat16 rather than float16, whose range is small.
            pin: SHA-256 of ``liftvsr.json``, which pins everything.
            commit: see `find_folder`; likewise ``offline`` and ``mirror``.

        Raises:
            UsageError: a hub id without a commit.
            WeightsError: a component is missing, damaged, or does not fit.
        """
        folder = find_folder(source, commit=commit, offline=offline, mirror=mirror)
        check_files(folder, {} if pin is None else {CONFIG: pin})
        config = read_config(folder / CONFIG)
        check_files(folder, config.files)
        pixart = read_component(PixArtTransformer2DModel, folder, "transformer", dtype)
        vae = read_component(AutoencoderKL, folder, "vae", dtype)
        system = cls(pixart, vae, config, load_file(folder / PROMPT)["prompt"])
        fill_added(system.transformer, load_file(folder / ADDED))
        return system.eval()

    @classmethod
    def on_meta(cls, folder: Path, dtype: torch.dtype = torch.float32) -> LiftVSR:
        """The system without weights, to plan its memory; configurations are read
        alone.

        Args:
            folder: that :meth:`save_pretrained` wrote; files need not match their pins.
            dtype: of the weights.

        Raises:
            WeightsError: a configuration is missing or invalid.
        """
        config = read_config(folder / CONFIG)
        pixart = describe_component(
            PixArtTransformer2DModel, folder, "transformer", dtype
        )
        vae = describe_component(AutoencoderKL, folder, "vae", dtype)
        prompt = load_file(folder / PROMPT)["prompt"].to("meta")
        with torch.device("meta"):
            return cls(pixart, vae, config, prompt).eval()

    def save_pretrained(self, folder: Path) -> None:
        """Write components, what was added, and ``liftvsr.json`` with their SHA-256.

        PixArt is written as it was, unless LoRA is merged.

        Raises:
            UsageError: the autoencoder is not diffusers' ``AutoencoderKL``.
        """
        if not isinstance(self.vae, AutoencoderKL):
            raise UsageError(
                f"An autoencoder of type {type(self.vae).__name__} cannot be saved "
                "with the system.",
                "Use diffusers' AutoencoderKL.",
            )
        folder.mkdir(parents=True, exist_ok=True)
        with torch.device("meta"):
            plain = PixArtTransformer2DModel.from_config(self.transformer.pixart.config)
        plain.load_state_dict(self.transformer.base_state(), assign=True)
        plain.save_pretrained(folder / "transformer")
        self.vae.save_pretrained(folder / "vae")
        save_file(
            {n: v.contiguous() for n, v in self.transformer.added_state().items()},
            folder / ADDED,
        )
        save_file({"prompt": self.prompt.contiguous()}, folder / PROMPT)
        write_config(self.config, folder)
