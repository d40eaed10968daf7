"""Scores during training: PSNR of Y on a few frames of clips never trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from upframe.datasets.pictures import list_pictures, read_picture
from upframe.degradations.bicubic import bicubic_down, crop_to_multiple, to_uint8
from upframe.errors import InputError
from upframe.metrics import psnr
from upframe.nn.resize import imresize
from upframe.systems.ditn import DITN
from upframe.training.recipe import Recipe


class ValidationSet:
    """Frames of clips, degraded once, kept in memory."""

    def __init__(self, folder: Path, scale: int, frames: int) -> None:
        """Read the frames.

        Args:
            folder: one folder of pictures per clip.
            scale: factor of the bicubic degradation.
            frames: frames per clip, spread evenly.

        Raises:
            InputError: if there are no clips.
        """
        clips = (
            sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
        )
        if not clips:
            raise InputError(
                f"{folder} holds no clips.", "Check data.val of the recipe."
            )
        self.scale = scale
        self.clips: list[list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]] = []
        for clip in clips:
            files = list_pictures(clip)
            chosen = np.linspace(0, len(files) - 1, min(frames, len(files))).round()
            pairs = []
            for number in chosen.astype(int):
                high = crop_to_multiple(read_picture(files[number]), scale)
                pairs.append((bicubic_down(high, scale), high))
            self.clips.append(pairs)
        self.baseline = self._mean(lambda low: imresize(low / 255.0, scale))
        """PSNR-Y in dB of MATLAB's bicubic on the same frames."""

    def _mean(self, upscale: object) -> float:
        assert callable(upscale)
        means = []
        for clip in self.clips:
            scores = [
                psnr(to_uint8(upscale(low)), high, crop=self.scale)
                for low, high in clip
            ]
            means.append(np.mean(scores))
        return float(np.mean(means))

    def score(self, state: dict[str, Tensor], recipe: Recipe) -> float:
        """PSNR-Y in dB, crop ``scale``, mean over frames, then over clips."""
        network = DITN(**recipe.system.args).eval()
        network.load_state_dict(state)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

        def upscale(low: NDArray[np.uint8]) -> NDArray[np.float32]:
            x = torch.from_numpy(low)[None].permute(0, 3, 1, 2) / 255.0
            with torch.inference_mode():
                out = network(x)[0].permute(1, 2, 0).numpy()
            return np.ascontiguousarray(out)

        return self._mean(upscale)
