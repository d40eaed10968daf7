"""Clips for benchmarks, made from the demo clip of the repository."""

from __future__ import annotations

from pathlib import Path

from upframe.media.encoder import Encoder
from upframe.media.formats import choose_format
from upframe.media.mux import join
from upframe.media.packets import Segment
from upframe.media.source import FileSource

DEMO = Path(__file__).resolve().parent.parent / "assets" / "demo" / "clip.mp4"


def looped_demo(frames: int, folder: Path, size: tuple[int, int] | None = None) -> Path:
    """The demo clip over and over, to a length; its top left corner where a size
    (width, height) is given."""
    source = FileSource(DEMO)
    width, height = size or (source.info.width, source.info.height)
    shots = [frame.pixels[:height, :width] for frame in source]
    info = source.info
    target = choose_format(info, ".mp4", width, height)
    work = folder / f"work-{frames}.mkv"
    encoder = Encoder(work, target)
    for index in range(frames):
        encoder.write(shots[index % len(shots)])
    encoder.close()
    step = round(1 / (info.rate * info.time_base))
    segment = Segment(work, tuple(index * step for index in range(frames)))
    clip = folder / f"clip-{frames}.mp4"
    join([segment], clip, target, time_base=info.time_base, last_duration=step)
    work.unlink()
    return clip
