"""Clips on which seeking is hard, by name; each is written when it is asked for."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from material import SHARED
from media_factory import Audio, corrupt, write_clip

LENGTH = 160
SMALL: dict[str, Any] = {"size": (64, 48), "frames": LENGTH}
GOP = {"g": "24", "bf": "3"}
WRAP = Fraction(2**33, 90000)
"""Seconds after which the clock of MPEG-TS begins anew."""


def _x264(**params: object) -> dict[str, str]:
    text = ":".join(f"{key.replace('_', '-')}={value}" for key, value in params.items())
    return {"g": "24", "bf": "3", "x264-params": text}


def _uneven(seed: int, count: int = LENGTH) -> list[int]:
    """Milliseconds of frames at a variable rate."""
    dice, times = random.Random(seed), [0]
    while len(times) < count:
        times.append(times[-1] + dice.choice([5, 17, 33, 34, 40, 200]))
    return times


def _without_times(every: int) -> Callable[[int, Any], Any]:
    def mangle(index: int, packet: Any) -> Any:
        if index and index % every == 0:
            packet.pts = None
        return packet

    return mangle


def _lost(*places: int) -> Callable[[int, Any], Any]:
    return lambda index, packet: None if index in places else packet


def _repeated(every: int) -> list[int]:
    """Timestamps some of which repeat the one before."""
    return [k - (k % every == 0 and k > 0) for k in range(LENGTH)]


PLAIN: dict[str, dict[str, Any]] = {
    "b-frames.mp4": {"options": GOP, "container_options": {"movflags": "+faststart"}},
    "b-frames.mkv": {"options": GOP, "audio": [Audio()]},
    "fragmented.mp4": {
        "options": GOP,
        "container_options": {"movflags": "frag_keyframe+empty_moov"},
    },
    "open-gop.mp4": {"options": _x264(open_gop=1, b_pyramid="normal")},
    "open-gop.mkv": {"options": _x264(open_gop=1, bframes=5)},
    "open-gop.ts": {"options": _x264(open_gop=1, bframes=3)},
    "many-references.mkv": {"options": _x264(ref=8, bframes=8, b_adapt=2)},
    "intra-refresh.mp4": {"options": _x264(intra_refresh=1, bframes=0)},
    "intra-refresh.ts": {"options": _x264(intra_refresh=1, bframes=0)},
    "one-keyframe.mkv": {"options": {"g": "9999"}, "frames": 300},
    "hevc.mp4": {"codec": "libx265", "options": {"g": "24"}},
    "hevc-open-gop.mkv": {
        "codec": "libx265",
        "options": {
            "x265-params": "log-level=error:keyint=24:min-keyint=24:open-gop=1:"
            "bframes=4:no-scenecut=1"
        },
    },
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"g": "24"}},
    "vp9-alpha.webm": {
        "codec": "libvpx-vp9",
        "pix_fmt": "yuva420p",
        "options": {"g": "24", "auto-alt-ref": "0"},
        "video_metadata": {"alpha_mode": "1"},
    },
    "vp8-hidden-frames.webm": {
        "codec": "libvpx",
        "options": {"g": "24", "auto-alt-ref": "1", "lag-in-frames": "12"},
    },
    "av1.mkv": {"codec": "libsvtav1", "options": {"g": "24"}},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"g": "24", "bf": "2"}},
    "mpeg4.mp4": {"codec": "mpeg4", "options": {"g": "24", "bf": "2"}},
    "mpeg2.ts": {"codec": "mpeg2video", "options": {"g": "15", "bf": "2"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "options": {"g": "15", "bf": "2"}},
    "prores.mov": {"codec": "prores_ks", "pix_fmt": "yuv422p10le"},
    "ffv1.mkv": {"codec": "ffv1", "options": {"g": "10"}},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "moving.gif": {"codec": "gif", "pix_fmt": "rgb8"},
    "raw.h264": {"options": GOP},
    "vfr.mkv": {
        "options": GOP, "pts": _uneven(1), "time_base": Fraction(1, 1000),
    },
    "vfr.mp4": {
        "options": GOP, "pts": _uneven(2), "time_base": Fraction(1, 1000),
    },
    "edit-list.mp4": {"options": GOP, "start": Fraction(-1), "audio": [Audio()]},
    "late.mov": {"options": GOP, "start": Fraction(3, 2), "audio": [Audio()]},
    "h264.ts": {"options": GOP, "audio": [Audio()]},
    "wrapped-clock.ts": {"options": GOP, "start": WRAP - 3},
    "wrapped-clock-mpeg2.ts": {
        "codec": "mpeg2video", "options": {"g": "15", "bf": "2"}, "start": WRAP - 2,
    },
    "interlaced.mkv": {"options": GOP, "interlaced": "tff", "combed": True},
    "interlaced.ts": {
        "codec": "mpeg2video",
        "options": {"g": "15", "bf": "2"},
        "interlaced": "bff",
        "combed": True,
    },
    "unflagged-interlaced.mp4": {"options": GOP, "combed": True},
    "odd.mkv": {"codec": "ffv1", "size": (63, 47), "options": {"g": "7"}},
    "odd.mp4": {"pix_fmt": "yuv444p", "size": (65, 33), "options": GOP},
    "one-frame.mp4": {"frames": 1},
    "two-frames.mkv": {"frames": 2},
    "no-times.avi": {"codec": "mpeg4", "options": {"g": "24"}, "mangle": _lost(70)},
    "repeated-times.mkv": {
        "codec": "ffv1",
        "options": {"g": "10"},
        "pts": _repeated(40),
    },
    "lost-packets.mkv": {"options": GOP, "mangle": _lost(50, 51, 110)},
    "lost-keyframe.ts": {"options": GOP, "mangle": _lost(48)},
}  # fmt: skip

DAMAGED = {
    "damaged.mp4": "b-frames.mp4",
    "damaged.mkv": "b-frames.mkv",
    "damaged.ts": "h264.ts",
    "damaged-open-gop.ts": "open-gop.ts",
    "damaged-mpeg2.ts": "mpeg2.ts",
    "damaged-hevc.mp4": "hevc.mp4",
    "damaged-interlaced.ts": "interlaced.ts",
}


def generated() -> list[str]:
    """Names of all clips that can be written anywhere."""
    return [*PLAIN, *DAMAGED]


def real() -> list[Path]:
    """The training clips, where they are."""
    folder = SHARED / "data" / "train_pack_2" / "clips"
    return sorted(folder.iterdir()) if folder.is_dir() else []


def write(name: str, folder: Path) -> Path:
    """Write a clip into a folder, or find it there."""
    path = folder / name
    if path.exists():
        return path
    if name in DAMAGED:
        return corrupt(write(DAMAGED[name], folder), path, holes=5)
    what = {**SMALL, **PLAIN[name]}
    return write_clip(path, **what)
