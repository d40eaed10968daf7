"""Scores during training: PSNR of Y on frames of clips never trained on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from upframe.datasets.pictures import list_pictures, read_picture
from upframe.degradations.bicubic import bicubic_down, crop_to_multiple, to_uint8
from upframe.errors import InputError
from upframe.metrics import psnr
from upframe.nn.resize import imresize
from upframe.training.networks import enlarge

Pixels = NDArray[np.uint8]
Upscale = Callable[[Sequence[Pixels]], Sequence[NDArray[np.floating]]]
"""All frames of a clip, (h, w, 3) uint8 each, to (s*h, s*w, 3) around [0, 1]."""


_SAMPLE = 192
"""Side of the sample pictures in pixels."""


class Score(NamedTuple):
    """What a validation gave."""

    psnr_y: float
    """dB."""
    samples: list[tuple[str, Pixels]]
    """Name of a clip, and the centre of its middle frame: bicubic, result and original
    side by side, uint8."""


class ValidationSet:
    """Frames of clips, degraded once, kept in memory."""

    def __init__(
        self, folder: Path, scale: int, frames: int, *, clips: bool = False
    ) -> None:
        """Read the frames.

        Args:
            folder: one folder of pictures per clip.
            scale: factor of the bicubic degradation.
            frames: frames per clip.
            clips: for networks that look at several frames: take the first frames in a
                row, and show a clip as a whole. Else frames are spread evenly over the
                clip, and each is for itself.

        Raises:
            InputError: if there are no clips.
        """
        folders = (
            sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
        )
        if not folders:
            raise InputError(
                f"{folder} holds no clips.", "Check data.val of the recipe."
            )
        self.scale = scale
        self.whole = clips
        self.names = [clip.name for clip in folders]
        self.clips: list[list[tuple[Pixels, Pixels]]] = []
        for clip in folders:
            files = list_pictures(clip)
            count = min(frames, len(files))
            last = count - 1 if clips else len(files) - 1
            pairs = []
            for number in np.linspace(0, last, count).round().astype(int):
                high = crop_to_multiple(read_picture(files[number]), scale)
                pairs.append((bicubic_down(high, scale), high))
            self.clips.append(pairs)
        self._longest = 0.0
        """Seconds that a clip has taken the network at most."""
        baseline = self._score(
            lambda clip: [imresize(low / 255.0, scale) for low in clip], 0, None
        )
        assert baseline is not None
        self._longest = 0.0
        self.baseline = baseline.psnr_y
        """PSNR-Y in dB of MATLAB's bicubic on the same frames."""

    def score(
        self, network: nn.Module, *, samples: int = 0, deadline: float | None = None
    ) -> Score | None:
        """PSNR-Y, crop ``scale``, mean over frames, then over clips.

        Args:
            network: in eval mode, on any device.
            samples: clips of which to give a picture.
            deadline: of ``time.monotonic``; None without a limit.

        Returns:
            None if the deadline would pass: if too little time is left for the other
            clips, should each take as long as the longest so far.
        """
        device = next(network.parameters()).device

        def run(frames: Sequence[Pixels]) -> NDArray[np.float32]:
            x = torch.from_numpy(np.stack(frames)).to(device)
            x = x.permute(0, 3, 1, 2) / 255.0
            with torch.inference_mode():
                out = enlarge(network, x[None] if self.whole else x).frames
            out = (out[0] if self.whole else out).float().permute(0, 2, 3, 1)
            return np.ascontiguousarray(out.cpu().numpy())

        def upscale(clip: Sequence[Pixels]) -> Sequence[NDArray[np.float32]]:
            return list(run(clip)) if self.whole else [run([low])[0] for low in clip]

        return self._score(upscale, samples, deadline)

    def _score(
        self, upscale: Upscale, samples: int, deadline: float | None
    ) -> Score | None:
        means: list[float] = []
        pictures: list[tuple[str, Pixels]] = []
        for name, clip in zip(self.names, self.clips, strict=True):
            begin = time.monotonic()
            left = (len(self.clips) - len(means)) * self._longest
            if deadline is not None and begin + left > deadline:
                return None
            results = [to_uint8(x) for x in upscale([low for low, _ in clip])]
            scores = [
                psnr(result, high, crop=self.scale)
                for result, (_, high) in zip(results, clip, strict=True)
            ]
            means.append(float(np.mean(scores)))
            if len(pictures) < samples:
                middle = len(clip) // 2
                picture = self._beside(*clip[middle], results[middle])
                pictures.append((name, picture))
            self._longest = max(self._longest, time.monotonic() - begin)
        return Score(float(np.mean(means)), pictures)

    def _beside(self, low: Pixels, high: Pixels, result: Pixels) -> Pixels:
        """The centre: bicubic, result, original."""
        bicubic = to_uint8(imresize(low / 255.0, self.scale))
        height, width = (min(n, _SAMPLE) for n in high.shape[:2])
        y, x = (high.shape[0] - height) // 2, (high.shape[1] - width) // 2
        crops = [p[y : y + height, x : x + width] for p in (bicubic, result, high)]
        return np.concatenate(crops, axis=1)
