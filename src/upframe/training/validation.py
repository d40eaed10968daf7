"""Scores during training, on frames of clips never trained on.

PSNR of Y where the network gives images, LPIPS too where the recipe names its
weights, and the network's own losses where it has some.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from upframe.datasets.images import list_images, read_image
from upframe.degradations.bicubic import bicubic_down, crop_to_multiple, to_uint8
from upframe.errors import InputError
from upframe.metrics import psnr
from upframe.nn.resize import imresize
from upframe.systems.training_step import training_step
from upframe.training.features import LPIPSDistance

Pixels = NDArray[np.uint8]
Clip = Sequence[tuple[Pixels, Pixels]]
"""Frames, small and original."""

_SAMPLE = 192
"""Side of the sample images in pixels."""


class Answer(NamedTuple):
    """What a network makes of a frame."""

    image: NDArray[np.floating] | None
    """(s*h, s*w, 3) around [0, 1]."""
    values: dict[str, float]
    """Of its own."""


@dataclass(frozen=True)
class Score:
    """What a validation gave: means over frames, then over clips."""

    values: dict[str, float]
    """``psnr_y`` in dB, crop ``scale``, and ``lpips``, where there are images;
    ``own_loss``, the sum of the network's own, where it has some."""
    samples: list[tuple[str, Pixels]] = field(default_factory=list)
    """Name of a clip, and the centre of its middle frame: bicubic, result and original
    side by side, uint8."""


class ValidationSet:
    """Frames of clips, degraded once, kept in memory."""

    def __init__(
        self,
        folder: Path,
        scale: int,
        frames: int,
        *,
        clips: bool = False,
        low: Path | None = None,
        lpips: Path | None = None,
    ) -> None:
        """Read the frames.

        Args:
            folder: one folder of images per clip.
            scale: output size over input size.
            frames: frames per clip.
            clips: for networks that look at several frames: take the first frames in a
                row, and show a clip as a whole. Else frames are spread evenly over the
                clip, and each is for itself.
            low: the same clips small, of the same names; None to make them by bicubic.
            lpips: file of the weights of LPIPS; None for no LPIPS.

        Raises:
            InputError: if there are no clips, or a small frame does not fit its
                original.
            WeightsError: if the weights of LPIPS cannot be read.
        """
        folders = (
            sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
        )
        if not folders:
            raise InputError(
                f"{folder} holds no clips.",
                "Check --data and data.val of the recipe; --set data.val=null trains "
                "without validation.",
            )
        self.scale = scale
        self.whole = clips
        self.names = [clip.name for clip in folders]
        self._lpips = LPIPSDistance(lpips) if lpips is not None else None
        self.clips: list[list[tuple[Pixels, Pixels]]] = []
        for clip in folders:
            files = list_images(clip)
            count = min(frames, len(files))
            last = count - 1 if clips else len(files) - 1
            pairs = []
            for number in np.linspace(0, last, count).round().astype(int):
                high = crop_to_multiple(read_image(files[number]), scale)
                small = low and low / clip.name / files[number].name
                pairs.append((_small(high, small, scale), high))
            self.clips.append(pairs)
        self._longest = 0.0
        """Seconds that a clip has taken the network at most."""
        with torch.inference_mode():
            baseline = self._score(self._bicubic, 0, None)
        assert baseline is not None
        self._longest = 0.0
        self.baseline = baseline.values
        """Scores of MATLAB's bicubic on the same frames."""

    def score(
        self, network: nn.Module, *, samples: int = 0, deadline: float | None = None
    ) -> Score | None:
        """Score a network; random numbers are the same every time.

        Args:
            network: in eval mode, on any device.
            samples: clips of which to give an image.
            deadline: of ``time.monotonic``; None without a limit.

        Returns:
            None if the deadline would pass: if too little time is left for the other
            clips, should each take as long as the longest so far.
        """
        device = next(network.parameters()).device

        def answer(clip: Clip) -> list[Answer]:
            low, high = (_frames([pair[side] for pair in clip]) for side in (0, 1))
            low, high = low.to(device), high.to(device)
            parts = [(low[None], high[None])]
            if not self.whole:
                parts = [(x[None], y[None]) for x, y in zip(low, high, strict=True)]
            answers: list[Answer] = []
            for part in parts:
                answers += _answers(network, *part)
            return answers

        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            torch.manual_seed(0)
            return self._score(answer, samples, deadline)

    def _bicubic(self, clip: Clip) -> list[Answer]:
        return [Answer(imresize(low / 255.0, self.scale), {}) for low, _ in clip]

    def _score(
        self,
        answer: Callable[[Clip], list[Answer]],
        samples: int,
        deadline: float | None,
    ) -> Score | None:
        means: dict[str, list[float]] = {}
        images: list[tuple[str, Pixels]] = []
        for done, (name, clip) in enumerate(zip(self.names, self.clips, strict=True)):
            begin = time.monotonic()
            left = (len(self.clips) - done) * self._longest
            if deadline is not None and begin + left > deadline:
                return None
            answers = answer(clip)
            for key, value in self._values(answers, clip).items():
                means.setdefault(key, []).append(value)
            middle = answers[len(answers) // 2].image
            if len(images) < samples and middle is not None:
                low, high = clip[len(clip) // 2]
                images.append((name, self._beside(low, high, to_uint8(middle))))
            self._longest = max(self._longest, time.monotonic() - begin)
        return Score({k: float(np.mean(v)) for k, v in means.items()}, images)

    def _values(self, answers: list[Answer], clip: Clip) -> dict[str, float]:
        """Means over the frames of a clip."""
        seen: dict[str, list[float]] = {}
        for answer, (_, high) in zip(answers, clip, strict=False):
            values = dict(answer.values)
            if answer.image is not None:
                result = to_uint8(answer.image)
                height, width = result.shape[:2]
                high = high[:height, :width]
                values["psnr_y"] = psnr(result, high, crop=self.scale)
                if self._lpips is not None:
                    pair = (_frames([x]) for x in (result, high))
                    values["lpips"] = float(self._lpips(*pair))
            for key, value in values.items():
                seen.setdefault(key, []).append(value)
        return {key: float(np.mean(values)) for key, values in seen.items()}

    def _beside(self, low: Pixels, high: Pixels, result: Pixels) -> Pixels:
        """The centre: bicubic, result, original."""
        bicubic = to_uint8(imresize(low / 255.0, self.scale))
        height, width = (min(n, _SAMPLE) for n in high.shape[:2])
        y, x = (high.shape[0] - height) // 2, (high.shape[1] - width) // 2
        crops = [p[y : y + height, x : x + width] for p in (bicubic, result, high)]
        return np.concatenate(crops, axis=1)


def _small(high: Pixels, path: Path | None, scale: int) -> Pixels:
    """The low-resolution side of a frame."""
    if path is None:
        return bicubic_down(high, scale)
    if not path.is_file():
        raise InputError(f"{path} is missing.", "Check data.val_low of the recipe.")
    low = read_image(path)
    if (low.shape[0] * scale, low.shape[1] * scale) != high.shape[:2]:
        raise InputError(
            f"{path} is {low.shape[1]}x{low.shape[0]}, which times {scale} is not "
            f"the size of its original, {high.shape[1]}x{high.shape[0]}.",
            "Make the clips of data.val_low from those of data.val again.",
        )
    return low


def _frames(images: Sequence[Pixels]) -> Tensor:
    """(T, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 255.0


def _answers(network: nn.Module, low: Tensor, high: Tensor) -> list[Answer]:
    response = training_step(network, low, high)
    values = {}
    if response.losses:
        values["own_loss"] = float(sum(response.losses.values()))
    if response.frames is None:
        return [Answer(None, values)]
    frames = response.frames.float().flatten(0, -4).permute(0, 2, 3, 1).cpu().numpy()
    return [Answer(np.ascontiguousarray(frame), values) for frame in frames]
