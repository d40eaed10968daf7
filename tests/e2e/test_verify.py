"""``upframe verify``: what an output lost or changed, whatever tool wrote it."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from e2e_support import upscale
from media_factory import FONT, Audio, Chapter, Subtitle, write_clip
from upframe.media.comparison import compare

CHAPTERS = (
    Chapter(Fraction(0), Fraction(1, 2), "one"),
    Chapter(Fraction(1, 2), Fraction(1), "two"),
)
RICH: dict[str, Any] = {
    "frames": 25,
    "size": (96, 64),
    "audio": [Audio(language="deu"), Audio("flac", language="eng")],
    "subtitles": [Subtitle(language="fra")],
    "chapters": CHAPTERS,
    "attachments": [FONT],
    "metadata": {"title": "Film"},
}


def codes(source: Path, output: Path) -> dict[str, str]:
    return {f.code: f.severity for f in compare(source, output).findings}


@pytest.mark.parametrize(
    ("suffix", "what"),
    [
        ("mkv", RICH),
        ("mp4", {"frames": 12, "audio": [Audio()], "rotation": 90,
                 "sar": Fraction(4, 3)}),
        ("webm", {"frames": 12, "codec": "libvpx-vp9", "audio": [Audio("libopus")]}),
        ("mkv", {"frames": 16, "codec": "libx265", "pix_fmt": "yuv420p10le",
                 "size": (96, 64), "matrix": "bt2020", "primaries": "bt2020",
                 "transfer": "pq"}),
        ("mkv", {"frames": 8, "pts": [0, 3, 4, 11, 12, 20, 21, 40]}),
    ],
)  # fmt: skip
def test_our_own_output_has_nothing_wrong(clip, tmp_path, suffix, what):
    path = clip(f"in.{suffix}", **what)
    upscale(path, tmp_path / f"out.{suffix}")
    found = compare(path, tmp_path / f"out.{suffix}")
    assert found.ok, found.describe()
    assert not [f for f in found.findings if f.severity == "warning"], found.describe()
    assert found.frames_in == found.frames_out == len(what.get("pts", [])) or (
        found.frames_in == what["frames"]
    )


def test_everything_beside_the_video_is_missed(clip, tmp_path):
    path = clip("in.mkv", **RICH)
    bare = write_clip(tmp_path / "bare.mkv", frames=25, size=(192, 128))
    found = codes(path, bare)
    for code in ("audio_lost", "subtitle_lost", "chapters_lost", "attachment_lost"):
        assert found[code] == "error"
    assert found["tags_lost"] == "info"


@pytest.mark.parametrize(
    ("shown", "code"),
    [
        ([n for n in range(30) if n not in (7, 8)], "frames_lost"),
        (sorted([*range(30), 4, 17]), "frames_doubled"),
        ([*range(10), 11, 10, *range(12, 30)], "frames_reordered"),
    ],
)
def test_frames_are_told_by_what_they_show(clip, tmp_path, shown, code):
    path = clip("in.mkv", frames=30, codec="ffv1")
    output = rewritten(path, tmp_path / "out.mkv", shown)
    assert codes(path, output)[code] == "error"


def rewritten(path: Path, target: Path, shown: list[int], change=None) -> Path:
    """Decode a file and write some of its frames at a constant rate."""
    with av.open(str(path)) as source, av.open(str(target), "w") as out:
        frames = list(source.decode(video=0))
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height = frames[0].width, frames[0].height
        stream.pix_fmt = frames[0].format.name
        for number, index in enumerate(shown):
            frame = frames[index] if change is None else change(frames[index])
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return target


def test_a_constant_rate_moves_frames_of_a_variable_one(clip, tmp_path):
    path = clip("in.mkv", codec="ffv1", pts=[0, 1, 2, 6, 7, 8, 15, 16])
    output = rewritten(path, tmp_path / "out.mkv", list(range(8)))
    assert codes(path, output)["timestamps_moved"] == "error"


def test_a_wrong_matrix_is_a_colour_shift(clip, tmp_path):
    path = clip("in.mkv", frames=5, matrix="bt709", color_range="tv")
    wrong = write_clip(
        tmp_path / "out.mkv",
        frames=5,
        size=(128, 96),
        matrix="bt601",
        draw_matrix="bt709",
        color_range="tv",
    )
    found = codes(path, wrong)
    assert found["colour_tags_changed"] == "warning"
    assert found["colour_shift"] == "error"


def test_brightness_is_a_colour_shift(clip, tmp_path):
    path = clip("in.mkv", frames=5, codec="ffv1", pix_fmt="gray")

    def brighter(frame):
        array = np.clip(frame.to_ndarray().astype(int) + 12, 0, 255)
        return av.VideoFrame.from_ndarray(array.astype(np.uint8), "gray")

    output = rewritten(path, tmp_path / "out.mkv", list(range(5)), brighter)
    assert codes(path, output) == {"colour_shift": "error"}


@pytest.mark.parametrize(
    ("what", "other", "code", "severity"),
    [
        ({"rotation": 90}, {"rotation": 0}, "rotation_lost", "error"),
        ({"sar": Fraction(4, 3)}, {"sar": None}, "aspect_changed", "error"),
        ({}, {"size": (48, 32)}, "size_reduced", "error"),
        (
            {"pix_fmt": "yuv420p10le"},
            {"pix_fmt": "yuv420p"},
            "depth_reduced",
            "warning",
        ),
        (
            {"audio": [Audio()]},
            {"audio": [Audio(start=Fraction(1, 5))]},
            "sound_moved",
            "error",
        ),
        (
            {"audio": [Audio()]},
            {"audio": [Audio("libmp3lame")]},
            "audio_recoded",
            "warning",
        ),
        (
            {"audio": [Audio(language="deu")]},
            {"audio": [Audio(language="eng")]},
            "language_lost",
            "warning",
        ),
        (
            {"chapters": CHAPTERS},
            {"chapters": CHAPTERS[:1]},
            "chapters_changed",
            "error",
        ),
        (
            {"subtitles": [Subtitle("mov_text")]},
            {"subtitles": [Subtitle("mov_text", cues=((0.0, 0.1, "other"),))]},
            "subtitle_changed",
            "error",
        ),
        ({}, {"interlaced": "tff", "size": (64, 64)}, "field_order_changed", "error"),
    ],
)
def test_what_changed_has_a_name(clip, tmp_path, what, other, code, severity):
    common: dict[str, Any] = {"frames": 25, "size": (64, 48)}
    path = clip("in.mp4", **{**common, **what})
    output = write_clip(tmp_path / "out.mp4", **{**common, **what, **other})
    assert codes(path, output)[code] == severity


def test_another_video_is_not_the_same(clip, tmp_path):
    path = clip("in.mkv", frames=10)
    other = write_clip(
        tmp_path / "out.mkv", frames=10, scenes=(0,), size=(128, 96), combed=True
    )
    assert "frames_unlike" in codes(path, other)


def test_command_line(cli, clip, tmp_path):
    path = clip("in.mkv", frames=10, audio=[Audio()])
    upscale(path, tmp_path / "good.mkv")
    ran = cli("verify", path, tmp_path / "good.mkv")
    assert ran.code == 0
    assert "10 frames in, 10 out: nothing is wrong" in ran.out
    bad = write_clip(tmp_path / "bad.mkv", frames=9)
    ran = cli("verify", path, bad, "--json")
    assert ran.code == 1
    result = ran.events[0]
    assert result["ok"] is False
    assert result["frames_in"] == 10
    assert result["frames_out"] == 9
    found = {f["code"]: f for f in result["findings"]}
    assert found["frames_lost"]["details"]["frames"] == [9]
    assert found["audio_lost"]["severity"] == "error"
    severities = [f["severity"] for f in result["findings"]]
    assert severities == sorted(severities)
    ran = cli("verify", path, tmp_path / "missing.mkv")
    assert ran.code == 1
    assert "does not exist" in ran.err


def test_the_page_names_every_code():
    root = Path(__file__).parents[2]
    source = (root / "src/upframe/media/comparison.py").read_text()
    kinds = ("audio", "video", "subtitle", "cover", "attachment")
    codes = set(re.findall(r'^\s+"([a-z]+_[a-z_]+)",$', source, re.MULTILINE))
    codes |= {f"{kind}_lost" for kind in kinds} | {"audio_recoded", "audio_changed"}
    page = (root / "docs/verify.md").read_text()
    assert len(codes) > 15
    assert [code for code in sorted(codes) if f"`{code}`" not in page] == []
