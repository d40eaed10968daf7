"""PatchScaler: diffusion on patches of latents, with more steps where it is hard.

Paper: Liu et al., "PatchScaler: An Efficient Patch-Independent Diffusion Model for
Image Super-Resolution", ICCV 2025, arXiv 2405.17158. No code was released; this is an
own implementation after the figure of the method and notes on the paper.

::

    image ─ upsampled ─ frozen encoder ─ global restoration ─ y_0, confidence C
    patches of y_0 ─ three groups by their mean C ─ q(x_τ | y_0) ─ Patch-DiT × N ─ x_0
    patches joined ─ frozen decoder ─ image
    patch of y_0 ─ texture classifier ─ nearest references ─ prompt of Patch-DiT

From the paper: the parts and their order; the loss of the restoration module; groups by
thresholds on the mean confidence, each with its own start τ and number of steps N; the
shortcut q(x_τ | y_0); pairs (y_0, x_τ) as input of a diffusion transformer that all
groups share; the texture prompt from the K best inner products. Its figures say that
2 steps are enough for simple patches and that complex ones need up to 15.

Everything else is not published (no constant, no size, no parameter count) and was
chosen. None of it is measured against training at full size yet:

* Patches of 16×16 latents (128 pixels), which overlap by 4 and are blended. The paper
  reshapes; without overlap, patches that are sampled apart show their edges.
* Groups (τ, N): (200, 2), (500, 6), (800, 15) of 1000; thresholds 0.7 and 0.4.
* Patch-DiT is diffusers' ``PixArtTransformer2DModel``: the DiT block with
  cross-attention. 12 layers, 12 heads of 64, a token for 2×2 latents. It predicts
  x_0 - y_0 and its last layer is zero at first: untrained, PatchScaler gives the coarse
  latent.
* The probability-flow ODE is solved by DPM-Solver++(2M), at timesteps spaced evenly.
* Four references; a learned token stands for the prompt where there is no memory.
* Noise is sampled for the whole frame from the seed (and, if asked for, its number),
  and patches take the part at their place: the same in any group and batch, and where
  patches overlap.
* The encoder gets the image upsampled by bicubic; colours are corrected by wavelets.

Videos are done frame by frame (`Session`); groups are held by hysteresis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from upframe.errors import MissingExtraError, UsageError, WeightsError
from upframe.nn.images import colour_fixes, require_clip, require_finite, upsample
from upframe.nn.noise import frame_noise
from upframe.planning.tiles import TileGrid
from upframe.systems.diffusion.autoencoder import factor_of
from upframe.systems.diffusion.latents import decode, encode, fill
from upframe.systems.patchscaler.config import Options, PatchScalerConfig, Sizes
from upframe.systems.patchscaler.patches import cut, join, paint_groups, patch_grid
from upframe.systems.patchscaler.restoration import Coarse, GlobalRestoration
from upframe.systems.patchscaler.sampling import noise_schedule, shortcut, solve
from upframe.systems.patchscaler.texture_memory import (
    TextureClassifier,
    TextureEncoder,
    TextureMemory,
    build_memory,
)

try:
    from diffusers import PixArtTransformer2DModel
except ImportError as error:
    raise MissingExtraError("PatchScaler", "diffusion") from error

__all__ = [
    "Options",
    "PatchScaler",
    "PatchScalerConfig",
    "Restored",
    "Session",
    "Sizes",
]

# Shape letters: B images, M patches, C channels, h w size of the input, p of a patch.


@dataclass(frozen=True)
class Restored:
    """A finished frame and how it came about."""

    image: Tensor
    """(3, scale * h, scale * w) in [0, 1], float32."""
    confidence: Tensor
    """(M,) mean of each patch."""
    groups: Tensor
    """(M,) 0 simple, 1 medium, 2 hard."""
    steps: int
    """Calls of Patch-DiT, counted per patch."""
    grid: TileGrid
    """The patches, in latents."""

    def group_map(self) -> Tensor:
        """The groups as an image of the same size, on the CPU; yellow is simple,
        orange medium, red hard."""
        height, width = self.image.shape[-2:]
        factor = max(-(-height // self.grid.height), -(-width // self.grid.width))
        return paint_groups(self.groups, self.grid, factor)[:, :height, :width]


class PatchScaler(nn.Module):
    """The system.

    Args:
        vae: our `Autoencoder` or diffusers' ``AutoencoderKL``; is frozen.
        config: numbers and sizes.
    """

    def __init__(self, vae: Any, config: PatchScalerConfig | None = None) -> None:
        super().__init__()
        self.config = config or PatchScalerConfig()
        sizes = self.config.sizes
        width = sizes.heads * sizes.head_width
        channels: int = vae.config.latent_channels
        self.scale = self.config.scale
        self.factor = factor_of(vae)
        self.vae = vae.requires_grad_(False).eval()
        self.restoration = GlobalRestoration(channels, sizes.restoration, sizes.blocks)
        self.dit = PixArtTransformer2DModel(
            num_attention_heads=sizes.heads,
            attention_head_dim=sizes.head_width,
            in_channels=2 * channels,
            out_channels=channels,
            num_layers=sizes.layers,
            cross_attention_dim=width,
            sample_size=self.config.patch,
            patch_size=sizes.token,
            use_additional_conditions=False,
        )
        nn.init.zeros_(self.dit.proj_out.weight)
        nn.init.zeros_(self.dit.proj_out.bias)
        self.classifier = TextureClassifier(channels, sizes.classifier, sizes.classes)
        self.classifier.requires_grad_(False).eval()
        self.texture_encoder = TextureEncoder(channels, width)
        self.no_prompt = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.memory: TextureMemory | None = None
        # on the CPU in float64, wherever and of whatever type the weights are
        self.alphas = noise_schedule()

    def train(self, mode: bool = True) -> PatchScaler:
        """Training mode; the autoencoder and the classifier stay frozen."""
        super().train(mode)
        self.vae.eval()
        self.classifier.eval()
        return self

    def set_memory(self, memory: TextureMemory | None) -> None:
        """Use a texture memory, or none.

        Raises:
            WeightsError: it was made with another classifier, or of other patches.
        """
        if memory is not None:
            wanted = (self.restoration.channels, self.config.patch, self.config.patch)
            if tuple(memory.values.shape[1:]) != wanted:
                raise WeightsError(
                    f"The texture memory holds patches of {memory.values.shape[1:]}, "
                    f"not {wanted}.",
                    "Build it with this model.",
                )
            if memory.classifier != self.classifier.fingerprint():
                raise WeightsError(
                    "The texture memory was made with another classifier.",
                    "Build it again with this model.",
                )
            memory = memory.to(self.no_prompt.device)
        self.memory = memory

    def configuration(self) -> dict[str, Any]:
        """What ``build_patchscaler`` makes an equal system from, as JSON values."""
        return asdict(self.config) | {
            "autoencoder": asdict(self.vae.config),
            "memory": len(self.memory) if self.memory is not None else 0,
        }

    def build_memory(self, crops: Iterable[Tensor], capacity: int) -> TextureMemory:
        """A memory of good textures; `set_memory` puts it to use.

        Args:
            crops: (n, 3, s, s) in [0, 1], s = `crop_size`; for example
                `upframe.datasets.textures.texture_crops`.
            capacity: references to keep at most.

        Raises:
            InputError, UsageError: as
            `upframe.systems.patchscaler.texture_memory.build_memory`.
        """
        return build_memory(map(self.encode, crops), self.classifier, capacity)

    @property
    def crop_size(self) -> int:
        """Pixels of the side of a patch."""
        size: int = self.config.patch * self.factor
        return size

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to latents of unit variance, float32."""
        return encode(self.vae, images.to(self.no_prompt))

    def decode(self, z: Tensor) -> Tensor:
        """Latents to images (B, 3, H, W) around [0, 1], float32, not clipped."""
        return decode(self.vae, z)

    def restore_coarsely(self, z: Tensor) -> Coarse:
        """Latents of upsampled images to the coarse ones and the confidence."""
        latent, logit = self.restoration(z.to(self.no_prompt.dtype))
        return Coarse(latent.float(), logit.float())

    def prompt(self, y_0: Tensor) -> Tensor:
        """The texture prompt of patches (M, C, p, p), (M, tokens, width)."""
        if self.memory is None:
            return self.no_prompt.expand(len(y_0), -1, -1)
        queries = self.classifier.features(y_0.to(self.no_prompt.dtype))
        found = self.memory.find(queries, self.config.references)
        tokens: Tensor = self.texture_encoder(found)
        return tokens

    def predict(self, x: Tensor, t: Tensor, y_0: Tensor, prompt: Tensor) -> Tensor:
        """Patch-DiT's x_0 from x_t.

        Args:
            x: (M, C, p, p) at timesteps t.
            t: (M,), 1 to 1000.
            y_0: coarse patches, (M, C, p, p).
            prompt: as :meth:`prompt` gives it.

        Returns:
            (M, C, p, p), float32.
        """
        pair = torch.cat((y_0, x), dim=1).to(self.no_prompt.dtype)
        out: Tensor = self.dit(pair, prompt, t, return_dict=False)[0]
        return y_0 + out.float()

    def sample(
        self, y_0: Tensor, noise: Tensor, groups: Tensor, batch: int = 64
    ) -> Tensor:
        """Patch-adaptive group sampling.

        Patches do not see each other, so the result does not depend on which of them
        share a batch.

        Args:
            y_0: coarse patches (M, C, p, p).
            noise: standard normal, the same shape.
            groups: (M,) of 0, 1, 2.
            batch: patches at once.

        Returns:
            (M, C, p, p).
        """
        out = torch.empty_like(y_0)
        for number, group in enumerate(self.config.grouping.groups):
            times = group.times()
            members = (groups == number).nonzero()[:, 0]
            for first in range(0, len(members), batch):
                part = members[first : first + batch]
                y, alpha = y_0[part], self.alphas[group.start].to(y_0)
                start = shortcut(y, noise[part], alpha)
                out[part] = solve(self._predictor(y), start, times, self.alphas)
        return out

    def _predictor(self, y_0: Tensor) -> Callable[[Tensor, int], Tensor]:
        prompt = self.prompt(y_0)

        def predict(x: Tensor, t: int) -> Tensor:
            time = torch.full((len(x),), t, device=x.device)
            return self.predict(x, time, y_0, prompt)

        return predict

    @torch.no_grad()
    def forward(self, frames: Tensor, *, options: Options | None = None) -> Tensor:
        """Restore clips, each a scene of its own.

        Args:
            frames: (B, T, 3, h, w), RGB in [0, 1].
            options: None for `Options()`.

        Returns:
            (B, T, 3, scale * h, scale * w), float32 in [0, 1].

        Raises:
            UsageError: this is no clip.
            RuntimeFailure: a network gave something that is no number.
        """
        require_clip(frames)
        clips = []
        for clip in frames:
            session = Session(self, options)
            clips.append(torch.stack([session.push(frame).image for frame in clip]))
        return torch.stack(clips)


class Session:
    """A video, frame by frame, in memory that does not grow.

    Args:
        model: in eval mode.
        options: None for `Options()`.
    """

    def __init__(self, model: PatchScaler, options: Options | None = None) -> None:
        self._model = model
        self._options = options or Options()
        self._index = self._options.first_index
        self._before: tuple[TileGrid | None, Tensor] | None = None

    def reset(self) -> None:
        """A scene ends: what was decided for its patches is forgotten."""
        self._before = None

    def hold(self, groups: Tensor) -> None:
        """Go on with a scene that another session began.

        Args:
            groups: (M,) of the frame before the one that will be pushed next.
        """
        self._before = (None, groups)

    @torch.no_grad()
    def push(self, frame: Tensor) -> Restored:
        """Restore the next frame.

        Args:
            frame: (3, h, w), RGB in [0, 1]; another size begins a scene.

        Raises:
            UsageError: this is no frame.
            RuntimeFailure: a network gave something that is no number.
        """
        model, options, config = self._model, self._options, self._model.config
        if frame.ndim != 3 or frame.shape[0] != 3 or 0 in frame.shape:
            raise UsageError(
                f"A tensor of {tuple(frame.shape)} is no frame.", "Give (3, h, w)."
            )
        big = upsample(frame[None].float(), model.scale).to(model.no_prompt.device)
        height, width = big.shape[-2:]
        coarse = model.restore_coarsely(
            model.encode(fill(big, model.factor, config.patch))
        )
        require_finite(coarse.latent, "The coarse latent")
        rows, columns = coarse.latent.shape[-2:]
        grid = patch_grid(rows, columns, config.patch, config.overlap)
        confidence = cut(coarse.confidence, grid).mean((1, 2, 3))
        groups = config.grouping.assign(
            confidence, before=self._known(grid), keep_ratio=options.keep_ratio
        )
        number = self._index if options.noise == "frame" else 0
        noise = frame_noise(options.seed, [number], coarse.latent.shape[1:])
        patches = model.sample(
            cut(coarse.latent, grid),
            cut(noise.to(coarse.latent), grid),
            groups,
            options.batch,
        )
        image = model.decode(join(patches, grid))[..., :height, :width]
        require_finite(image, "The decoded image")
        fixed = colour_fixes[options.colours](image.clamp(0, 1), big).clamp(0, 1)
        self._index += 1
        self._before = (grid, groups)
        return Restored(
            fixed[0], confidence, groups, config.grouping.steps(groups), grid
        )

    def _known(self, grid: TileGrid) -> Tensor | None:
        if self._before is None:
            return None
        before, groups = self._before
        fits = len(groups) == len(grid) if before is None else before == grid
        return groups if fits else None
