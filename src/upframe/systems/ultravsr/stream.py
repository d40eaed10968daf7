"""UltraVSR on videos of any length: temporally asynchronous, tiled, in bounded memory.

The authors' temporally asynchronous inference runs the layers of one image in small
batches and joins all frames at each temporal module: the features of the whole clip
stay in memory. Here the stages are streams (`upframe.systems.ultravsr.stages`): while
the encoder reads frame 30, the UNet's first block may be at frame 28 and its last at
frame 14, and the decoder at frame 6. Memory does not grow with the clip, no interval of
30 frames is needed, and the result is that of the whole clip.

Large images are cut into tiles of latents, each with its own streams, blended where
they overlap (`upframe.planning.tiles`). In the authors' networks normalisation and
attention reach over the whole image, so tiles change the result a little; with one
tile nothing changes. The authors weigh tiles by a Gaussian and cut encoder, UNet and
decoder differently; here all three share one grid.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from upframe.errors import UsageError
from upframe.nn.images import colour_fixes, require_finite, upsample
from upframe.nn.tiles import blend, view
from upframe.planning.tiles import TileGrid, plan_tiles
from upframe.systems.ultravsr.backbones import decoder_stages, unet_stages
from upframe.systems.ultravsr.model import (
    OPENING,
    UltraVSR,
    restoration_step,
    sampled_frames,
)
from upframe.systems.ultravsr.stages import Carried, Stages


@dataclass(frozen=True)
class Options:
    """How a video is run; only ``tile`` and ``overlap`` can change what comes out."""

    chunk: int = 1
    """Frames that a network sees at once."""
    tile: int | tuple[int, int] | None = None
    """Largest side, or height and width, of a tile in latent pixels; None for the whole
    image. The authors use 96."""
    overlap: int = 32
    """Latent pixels that neighbouring tiles share."""
    factor: float | None = None
    """How clean the video is, 0 to 1; None to estimate it from the first frames."""
    seed: int = 0
    first_index: int = 0
    """Number of the first frame in the video."""
    colours: str | None = None
    """Colour correction: ``wavelet``, ``adain`` or ``none``; None for what
    the model has."""
    offload: bool = False
    """Keep each network in main memory while it does not run."""

    def __post_init__(self) -> None:
        if self.chunk < 1:
            raise UsageError(
                f"A chunk of {self.chunk} frames cannot be run.", "Give 1 or more."
            )
        if self.overlap < 0 or any(side < 2 * self.overlap for side in self.sides):
            raise UsageError(
                f"Tiles of {self.tile} latent pixels cannot overlap by {self.overlap}.",
                "Give a tile at least twice as large as the overlap.",
            )
        if not 0 <= self.seed < 2**64 or self.first_index < 0:
            raise UsageError(
                f"A seed of {self.seed} or a first frame {self.first_index} cannot be.",
                "Give a seed from 0 to 2**64 - 1, and frames from 0 on.",
            )
        if self.colours not in (None, *colour_fixes):
            raise UsageError(
                f"There is no colour correction '{self.colours}'.",
                f"Choose one of {', '.join(colour_fixes)}.",
            )

    @property
    def sides(self) -> tuple[int, ...]:
        """Largest height and width of a tile; empty for the whole image."""
        if isinstance(self.tile, tuple):
            return self.tile
        return () if self.tile is None else (self.tile, self.tile)


class Session:
    """Restores one video (or scene), frame after frame.

    Args:
        model: the networks, in eval mode.
        options: how to run them.
        device: where networks run; None for where they are.

    Raises:
        UsageError: networks are elsewhere and are not to be offloaded.
    """

    def __init__(
        self,
        model: UltraVSR,
        options: Options | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        self._model = model
        self._options = options or Options()
        home = model.alphas_cumprod.device
        self._device = torch.device(device or home)
        if self._device.type != home.type and not self._options.offload:
            raise UsageError(
                f"The networks are on {home}, and are to run on {self._device}.",
                f"Move them with model.to('{self._device}'), or set offload.",
            )
        self._waiting: list[Tensor] = []  # frames (1, 3, h, w) that no network has seen
        self._texts: list[Tensor] = []  # their embeddings (1, L, D), if given
        self._form: tuple[torch.Size, bool] | None = None  # of what is pushed
        self._run: _Run | None = None
        self.factor = self._options.factor
        """How clean the video is; None as long as that is not known."""

    @torch.no_grad()
    def push(self, frames: Tensor, text: Tensor | None = None) -> list[Tensor]:
        """Give the next frames.

        Args:
            frames: (n, 3, h, w), RGB in [0, 1]; all pushes of the same size.
            text: (n, L, D), embeddings of a prompt for each frame; None for the
                model's own. Either all pushes have it or none.

        Returns:
            The next finished frames, (3, scale · h, scale · w) in [0, 1], float32, on
            the CPU; maybe none.

        Raises:
            RuntimeFailure: a network gave something that is no number.
            ValueError: the frames are of another shape, or texts are missing.
        """
        self._check(frames, text)
        self._waiting += torch.split(frames.float(), 1)
        if text is not None:
            self._texts += torch.split(text, 1)
        if self._run is None:
            if self._options.factor is None and len(self._waiting) < OPENING:
                return []
            self._run = self._begin()
        return self._work(self._run, least=self._options.chunk)

    @torch.no_grad()
    def flush(self) -> list[Tensor]:
        """End of the video; returns the frames that are owed, maybe none."""
        if self._run is None and not self._waiting:
            return []
        run = self._run or self._begin()
        self._run = self._form = None
        return self._work(run, least=1) + run.flush()

    def _check(self, frames: Tensor, text: Tensor | None) -> None:
        if frames.dim() != 4 or frames.shape[1] != 3 or 0 in frames.shape:
            raise ValueError(f"frames are (n, 3, h, w), got {tuple(frames.shape)}")
        size, described = frames.shape[-2:], text is not None
        if self._form not in (None, (size, described)):
            raise ValueError("all frames have one size, and all a text or none")
        if text is not None and len(text) != len(frames):
            raise ValueError(f"{len(text)} texts for {len(frames)} frames")
        self._form = (size, described)

    def _begin(self) -> _Run:
        model, options = self._model, self._options
        if options.factor is None:
            seen = [self._waiting[n] for n in sampled_frames(len(self._waiting))]
            home = model.alphas_cumprod.device  # the estimator is never offloaded
            images = upsample(torch.cat(seen).to(home), model.scale)
            factor = model.estimate(images).to(self._device)
            self.factor = float(factor)
        else:
            factor = torch.tensor(options.factor, device=self._device)
        size = self._waiting[0].shape[-2:]
        return _Run(model, options, factor, self._device, (size[0], size[1]))

    def _work(self, run: _Run, least: int) -> list[Tensor]:
        """Run as many chunks as there are, the last of at least ``least`` frames."""
        finished: list[Tensor] = []
        while len(self._waiting) >= least:
            size = self._options.chunk
            chunk, self._waiting = self._waiting[:size], self._waiting[size:]
            texts, self._texts = self._texts[:size], self._texts[size:]
            finished += run.push(
                torch.cat(chunk).to(self._device),
                torch.cat(texts).to(self._device) if texts else None,
            )
        return finished


class _Run:
    """The streams of a session, once the step on the schedule is known."""

    def __init__(
        self,
        model: UltraVSR,
        options: Options,
        factor: Tensor,
        device: torch.device,
        size: tuple[int, int],
    ) -> None:
        self._model = model
        self._options = options
        self._device = device
        self._step = restoration_step(factor[None], model.alphas_cumprod)
        self._size = (size[0] * model.scale, size[1] * model.scale)
        self._grid = plan_grid(model, options, self._size)
        self._seen = 0
        self._latents: list[Tensor] = []  # z_LR of frames inside the UNet
        self._frames: list[Tensor] = []  # frames that are inside any network
        with self._at_work(model.unet):
            stages = unet_stages(model.unet, self._step.timestep.to(device))
            self._unet = _TiledStream(stages, self._grid, 1)
        self._decoder = _TiledStream(
            decoder_stages(model.vae), self._grid, model.factor
        )

    def push(self, frames: Tensor, text: Tensor | None) -> list[Tensor]:
        model, count = self._model, len(frames)
        first = self._options.first_index + self._seen
        self._seen += count
        self._frames += torch.split(frames, 1)
        indices = list(range(first, first + count))
        with self._at_work(model.vae):
            # nothing but the latents stays while the UNet runs
            moments = self._moments(upsample(frames, model.scale))
            z = model.sample(*moments, indices, self._options.seed)
            del moments
        self._latents += torch.split(z, 1)
        carried = tuple(x.to(self._device) for x in model.carried(count, text))
        with self._at_work(model.unet):
            noise = self._unet.push(z.to(model.dtype), carried)
        return [] if noise is None else self._decode(noise)

    def flush(self) -> list[Tensor]:
        finished: list[Tensor] = []
        with self._at_work(self._model.unet):
            noise = self._unet.flush()
        if noise is not None:
            # all frames that were inside the UNet come out at once
            for part in torch.split(noise, self._options.chunk):
                finished += self._decode(part)
        with self._at_work(self._model.vae):
            late = self._decoder.flush()
        if late is not None:
            for part in torch.split(late, self._options.chunk):
                finished += self._finish(part)
        return finished

    def _moments(self, big: Tensor) -> tuple[Tensor, Tensor]:
        model, grid = self._model, self._grid
        if grid.single:
            return model.moments(big)
        out: list[tuple[Tensor, Tensor]] = []
        for tile in grid:
            out.append(model.moments(view(big, tile, model.factor)))
        mean = blend(grid, [moments[0] for moments in out])
        return mean, blend(grid, [moments[1] for moments in out])

    def _decode(self, noise: Tensor) -> list[Tensor]:
        count = len(noise)
        z_lr = torch.cat(self._latents[:count])
        del self._latents[:count]
        z = self._step.restore(z_lr, noise) / self._model.vae.config.scaling_factor
        with self._at_work(self._model.vae):
            out = self._decoder.push(z.to(self._model.dtype))
        return [] if out is None else self._finish(out)

    def _finish(self, out: Tensor) -> list[Tensor]:
        require_finite(out, "The decoded image")
        big = upsample(torch.cat(self._frames[: len(out)]), self._model.scale)
        del self._frames[: len(out)]
        height, width = self._size
        image = (out[..., :height, :width].float() * 0.5 + 0.5).clamp(0, 1)
        fix = colour_fixes[self._options.colours or self._model.colours]
        image = fix(image, big).clamp(0, 1)
        return list(image.cpu())

    @contextmanager
    def _at_work(self, network: nn.Module) -> Iterator[None]:
        """With offloading, the network is on the device only inside."""
        if not self._options.offload:
            yield
            return
        network.to(self._device)
        try:
            yield
        finally:
            network.to("cpu")


class _TiledStream:
    """One stream of a network per tile, their answers blended."""

    def __init__(self, stages: Stages, grid: TileGrid, scale: int) -> None:
        self._grid = grid
        self._scale = scale
        self._streams = [(tile, stages.stream()) for tile in grid]

    def push(self, x: Tensor, carried: Carried = ()) -> Tensor | None:
        return self._join([s.push(view(x, tile), carried) for tile, s in self._streams])

    def flush(self) -> Tensor | None:
        return self._join([stream.flush() for _, stream in self._streams])

    def _join(self, parts: list[Tensor | None]) -> Tensor | None:
        # all tiles lag behind by the same number of frames
        given = [part for part in parts if part is not None]
        return blend(self._grid, given, self._scale) if given else None


def plan_grid(model: UltraVSR, options: Options, size: tuple[int, int]) -> TileGrid:
    """The tiles of latents for images of ``size`` (height, width) in output pixels.

    Raises:
        UsageError: the tiles of the options cannot cover it.
    """
    height, width = (-(-side // model.factor) for side in size)
    rows, columns = options.sides or (max(height, width),) * 2
    overlap = options.overlap if options.sides else 0
    multiple = 2 ** (len(model.unet.config.block_out_channels) - 1)
    try:
        return plan_tiles(width, height, columns, rows, overlap, multiple)
    except ValueError as error:
        raise UsageError(
            f"Tiles of {columns}x{rows} latent pixels with an overlap of {overlap} do "
            f"not work: {error}.",
            "Give a larger tile.",
        ) from error
