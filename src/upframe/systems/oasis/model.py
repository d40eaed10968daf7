"""OASIS: a video diffusion transformer that restores a clip in one pass.

Paper: Guo et al., "Towards Redundancy Reduction in Diffusion Models for Efficient Video
Super-Resolution" (OASIS), arXiv 2509.23980. No code was released;
this is an own implementation after the abstract, the project page and its figures.
The backbone, Wan2.1-T2V-1.3B, and its autoencoder are Apache-2.0 and come as diffusers'
``WanTransformer3DModel`` and ``AutoencoderKLWan``.

::

    V_L ─ pixel unshuffle ─ z~_L ─ transformer with routed attention ─ z^_H
    z^_H ─ frozen VAE decoder ─ V^_H

From the paper: one pass at a fixed timestep; pixel unshuffle in place of the VAE
encoder; the transformer trained whole, the decoder frozen; heads routed, once and for
all, to attend globally, within their frame, or within a spatio-temporal window, by a KL
test (`upframe.systems.oasis.head_routing`); training from degradations that are
constant over a clip to ones that change (`upframe.degradations.progressive`)::

    frame:   softmax over (h', w') of q_{t,h,w} · k_{t,h',w'} / √d
    window:  the same over |t'-t| <= P_t/2, |h'-h| <= P_h/2, |w'-w| <= P_w/2

Where the paper is silent, this was chosen. None of it is measured against training at
full size yet:

* Unshuffling. The low-resolution video itself goes in, not its upsampling: the factor
  is the decoder's 8 over the scale, so 2 for ×4. The decoder's 4 frames of a latent go
  into channels, too; the first latent stands for one frame, which is repeated 4 times.
  That makes 3·4·2·2 = 48 channels for Wan. A new patch embedding takes them, 196,608
  weights more than Wan's for 16: 1,419,193,408 parameters instead of 1,418,996,800,
  both 1.419 billion as in the paper's figure.
* Prediction. The output is the normalised latent itself. The input is no latent, so
  there is nothing a velocity could be a difference to.
* Timestep 399 of 1000, as DOVE, a one-step model of the same group, has it.
* Noise: none, as in the figure. ``noise_level`` s mixes (1 - s) of the input with s of
  noise, sampled from the seed and the absolute number of the latent frame.
* Prompt: one token of zeros. Wan pads prompts with zeros, and cross-attention to many
  equal tokens is attention to one.
* Random weights. Where no pretrained transformer is at hand, a few convolutions give a
  initial estimate of the latents, which the transformer sees and corrects
  (`upframe.systems.oasis.initial_estimate`).
* Window 3×9×9 tokens; routing by a threshold on the KL divergence or by a share.
* Long clips: chunks of latent frames that overlap. The frames nearest to a cut are
  thrown away, the next ones blended, latents go one by one through the decoder, which
  is causal. Without global heads, chunks give exactly what the whole clip gives if
  ``context`` is at least layers · (P_t // 2).

Sizes and lengths are padded with the last row, column and frame, and cut again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from upframe.errors import MissingExtraError, UsageError
from upframe.nn.images import require_clip, require_finite
from upframe.nn.noise import frame_noise
from upframe.systems.diffusion.components import (
    check_files,
    describe_component,
    find_folder,
    read_component,
)
from upframe.systems.diffusion.decoders import make_decoder
from upframe.systems.oasis.attention import global_routing, route
from upframe.systems.oasis.chunks import Chunking, in_chunks, unshuffled
from upframe.systems.oasis.components import check_components, input_channels
from upframe.systems.oasis.files import (
    CONFIG,
    PROMPT,
    ROUTING,
    OasisConfig,
    read_config,
    write_config,
)
from upframe.systems.oasis.head_routing import Routing
from upframe.systems.oasis.initial_estimate import InitialEstimate

try:
    from diffusers import AutoencoderKL, AutoencoderKLWan, WanTransformer3DModel
except ImportError as error:
    raise MissingExtraError("OASIS", "diffusion") from error

__all__ = ["OASIS", "Chunking", "OasisConfig"]

# Shape letters: B clips, T frames, h w size of the input, C channels, L latent frames.

_AUTOENCODERS: Mapping[str, type[Any]] = {
    kind.__name__: kind for kind in (AutoencoderKLWan, AutoencoderKL)
}


class OASIS(nn.Module):
    """The system.

    Args:
        transformer: diffusers' ``WanTransformer3DModel``; its self-attention is
            rerouted in place.
        vae: diffusers' ``AutoencoderKLWan``, or an autoencoder of images; is frozen.
        config: scale and fixed inputs.
        routing: of the heads; None leaves all global.
        prompt: (1, tokens, text_dim) embedding; None for a token of zeros.

    Raises:
        WeightsError: the components do not fit together.
    """

    prompt: Tensor

    def __init__(
        self,
        transformer: Any,
        vae: Any,
        config: OasisConfig | None = None,
        routing: Routing | None = None,
        prompt: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.config = config or OasisConfig()
        self.transformer = transformer
        self.vae = vae.requires_grad_(False).eval()
        self.decoder = make_decoder(vae)
        self.scale = self.config.scale
        check_components(transformer, self.decoder, self.config, prompt)
        self.guess: InitialEstimate | None = None
        if self.config.guess is not None:
            channels = self.decoder.channels
            inputs = transformer.config.in_channels - channels
            self.guess = InitialEstimate(inputs, channels, self.config.guess)
        if prompt is None:
            prompt = torch.zeros(1, 1, transformer.config.text_dim)
        self.register_buffer("prompt", prompt)
        self.set_routing(routing or global_routing(transformer))

    def set_routing(self, routing: Routing) -> None:
        """Restrict each head to what the routing allows.

        Raises:
            WeightsError: it belongs to another transformer.
        """
        route(self.transformer, routing)
        self.routing = routing

    def train(self, mode: bool = True) -> OASIS:
        """Training mode for the transformer; the decoder is frozen."""
        super().train(mode)
        self.vae.eval()
        return self

    def forward(self, frames: Tensor, *, seed: int = 0) -> Tensor:
        """Restore a clip as a whole.

        Args:
            frames: (B, T, 3, h, w), RGB in [0, 1]; any T, h and w.
            seed: of the noise.

        Returns:
            (B, T, 3, scale * h, scale * w) around [0, 1], not clipped.

        Raises:
            UsageError: this is no clip.
            RuntimeFailure: numbers left the range of the type.
        """
        require_clip(frames)
        whole = Chunking(frames.shape[1] + 1, 0, 0)
        return torch.stack(
            list(self.stream(frames.unbind(1), chunking=whole, seed=seed)), dim=1
        )

    def stream(
        self,
        frames: Iterable[Tensor],
        *,
        chunking: Chunking | None = None,
        first: int = 0,
        seed: int = 0,
    ) -> Iterator[Tensor]:
        """Restore a clip of any length in memory that does not depend on it.

        Args:
            frames: (B, 3, h, w) each, RGB in [0, 1], all of one size.
            chunking: how latent frames are cut; None for `Chunking()`.
            first: number of the clip's first latent frame in its video, for the noise.
            seed: of the noise.

        Yields:
            (B, 3, scale * h, scale * w) for each frame.

        Raises:
            UsageError: a frame has another shape than the first.
            RuntimeFailure: numbers left the range of the type.
        """
        rest = iter(frames)
        head = next(rest, None)
        if head is None:
            return
        height, width = (side * self.scale for side in head.shape[-2:])
        shown: deque[int] = deque()
        inputs = self._inputs(chain((head,), rest), shown, first, seed)
        decode = self.decoder.start()
        for latent in in_chunks(inputs, chunking or Chunking(), self._pass):
            pixels = decode(latent)[..., :height, :width].float()
            require_finite(pixels, "The decoded clip")
            yield from (pixels[:, : shown.popleft()] * 0.5 + 0.5).unbind(1)

    def latents(self, frames: Tensor, *, seed: int = 0) -> Tensor:
        """What the transformer predicts for a clip as a whole.

        Args:
            frames: (B, T, 3, h, w), RGB in [0, 1].
            seed: of the noise.

        Returns:
            (B, C, L, H / spatial, W / spatial) float32, normalised, sizes rounded up to
            whole patches; L = 1 + (T - 1) / temporal, rounded up.

        Raises:
            UsageError: this is no clip.
            RuntimeFailure: numbers left the range of the type.
        """
        require_clip(frames)
        inputs = self._inputs(frames.unbind(1), deque(), 0, seed)
        return self._pass(torch.cat(list(inputs), dim=2))

    def _inputs(
        self, frames: Iterable[Tensor], shown: deque[int], first: int, seed: int
    ) -> Iterator[Tensor]:
        """(B, C, 1, h', w') for each latent; appends to ``shown`` its true frames."""
        factor = self.decoder.spatial // self.scale
        patch = self.transformer.config.patch_size[1:]
        share = self.config.noise_level
        latents = unshuffled(frames, self.decoder.temporal, factor, patch)
        for index, (x, real) in enumerate(latents, first):
            shown.append(real)
            if share > 0:
                noise = frame_noise(seed, [index], x.shape[1:]).to(x)
                x = (1 - share) * x + share * noise
            yield x

    def _pass(self, x: Tensor) -> Tensor:
        """The one pass: (B, C, L, h', w') to latents (B, C', L, h', w'), float32."""
        config = self.transformer.config
        patch, limit = config.patch_size, config.rope_max_seq_len
        if any(side // p > limit for side, p in zip(x.shape[2:], patch, strict=True)):
            raise UsageError(
                f"A chunk of {'x'.join(map(str, x.shape[2:]))} latents is larger than "
                f"the transformer's {limit} patches along an axis.",
                "Use shorter chunks or smaller frames.",
            )
        kind = self.transformer.patch_embedding.weight.dtype
        timestep = x.new_full((len(x),), self.config.timestep, dtype=torch.float32)
        prompt = self.prompt.to(kind).expand(len(x), -1, -1)
        x = x.to(kind)
        estimate = None if self.guess is None else self.guess(x)
        if estimate is not None:
            x = torch.cat((x, estimate), dim=1)
        out: Tensor = self.transformer(x, timestep, prompt, return_dict=False)[0]
        out = out.float() if estimate is None else out.float() + estimate.float()
        require_finite(out, "The transformer's output")
        return out

    @classmethod
    def from_wan(
        cls,
        source: str | Path,
        *,
        config: OasisConfig | None = None,
        pins: Mapping[str, str] | None = None,
        dtype: torch.dtype = torch.float32,
        commit: str | None = None,
        offline: bool = False,
        mirror: str | None = None,
    ) -> OASIS:
        """Begin training from Wan2.1 in diffusers' layout.

        The transformer's patch embedding is new and random; the rest is Wan's.

        Args:
            source: a folder with ``transformer`` and ``vae``, or a hub id.
            config: scale and fixed inputs.
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
        transformer = read_component(
            WanTransformer3DModel, folder, "transformer", dtype
        )
        vae = read_component(AutoencoderKLWan, folder, "vae", dtype)
        config = config or OasisConfig()
        decoder, old = make_decoder(vae), transformer.patch_embedding
        channels = input_channels(config.scale, decoder.spatial, decoder.temporal)
        transformer.patch_embedding = nn.Conv3d(
            channels, old.out_channels, old.kernel_size, old.stride, dtype=dtype
        )
        transformer.register_to_config(in_channels=channels)
        return cls(transformer, vae, config).eval()

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        dtype: torch.dtype = torch.float32,
        routing: Path | None = None,
        pin: str | None = None,
        commit: str | None = None,
        offline: bool = False,
        mirror: str | None = None,
    ) -> OASIS:
        """Load what :meth:`save_pretrained` wrote.

        Every file is compared with the SHA-256 in ``oasis.json``.

        Args:
            source: a folder or a hub id.
            dtype: of the weights; bfloat16 rather than float16, whose range is small.
            routing: a routing file to use instead of the folder's.
            pin: SHA-256 of ``oasis.json``, which pins everything.
            commit: see `find_folder`; likewise ``offline`` and ``mirror``.

        Raises:
            UsageError: a hub id without a commit.
            WeightsError: a component is missing, damaged, or does not fit.
        """
        folder = find_folder(source, commit=commit, offline=offline, mirror=mirror)
        check_files(folder, {} if pin is None else {CONFIG: pin})
        config = read_config(folder / CONFIG)
        check_files(folder, config.files)
        kind = _AUTOENCODERS[config.autoencoder]
        transformer = read_component(
            WanTransformer3DModel, folder, "transformer", dtype
        )
        vae = read_component(kind, folder, "vae", dtype)
        heads = Routing.load(routing or folder / ROUTING)
        prompt = load_file(folder / PROMPT)["prompt"]
        return cls(transformer, vae, config, heads, prompt).eval()

    @classmethod
    def on_meta(cls, folder: Path, dtype: torch.dtype = torch.float32) -> OASIS:
        """The system without weights, for `plan_memory`; only configurations are read.

        Args:
            folder: that :meth:`save_pretrained` wrote; files need not match their pins.
            dtype: of the weights.

        Raises:
            WeightsError: a configuration is missing or invalid.
        """
        config = read_config(folder / CONFIG)
        kind = _AUTOENCODERS[config.autoencoder]
        transformer = describe_component(
            WanTransformer3DModel, folder, "transformer", dtype
        )
        vae = describe_component(kind, folder, "vae", dtype)
        heads = Routing.load(folder / ROUTING)
        prompt = load_file(folder / PROMPT)["prompt"].to("meta")
        return cls(transformer, vae, config, heads, prompt).eval()

    def save_pretrained(self, folder: Path) -> None:
        """Write components, routing, prompt, and ``oasis.json`` with their SHA-256.

        Raises:
            UsageError: the autoencoder is none of diffusers'.
        """
        name = type(self.vae).__name__
        if name not in _AUTOENCODERS:
            raise UsageError(
                f"An autoencoder of type {name} cannot be saved with the system.",
                f"Use one of {', '.join(_AUTOENCODERS)}.",
            )
        folder.mkdir(parents=True, exist_ok=True)
        self.transformer.save_pretrained(folder / "transformer")
        self.vae.save_pretrained(folder / "vae")
        self.routing.save(folder / ROUTING)
        save_file({"prompt": self.prompt.contiguous()}, folder / PROMPT)
        config = self.config.model_copy(update={"autoencoder": name})
        write_config(config, folder)
