"""Colours, ranges, bit depth, HDR and transparency come out as they went in."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2e_support import assert_kept, assert_same_colours, both, upscale
from media_factory import MASTERING_X265, PATCHES, describe, write_clip

MATRICES = ["bt601", "bt709", "bt470bg"]


def assert_same_tags(source, out):
    for name in ("matrix", "primaries", "transfer"):
        assert getattr(out, name) == getattr(source, name), name
    # limited and unspecified mean the same
    assert (out.range == 2) == (source.range == 2)


@settings(max_examples=12)
@given(
    matrix=st.sampled_from(MATRICES),
    color_range=st.sampled_from(["tv", "pc"]),
    primaries=st.sampled_from(["bt601", "bt709", "bt470bg"]),
    transfer=st.sampled_from(["bt601", "bt709", "srgb"]),
    suffix=st.sampled_from(["mp4", "mkv", "mov"]),
    pix_fmt=st.sampled_from(["yuv420p", "yuv422p", "yuv444p", "yuv420p10le"]),
)
def test_tags_and_colours(
    tmp_path_factory, matrix, color_range, primaries, transfer, suffix, pix_fmt
):
    folder = tmp_path_factory.mktemp("colour")
    path = write_clip(
        folder / f"in.{suffix}",
        frames=3,
        matrix=matrix,
        color_range=color_range,
        primaries=primaries,
        transfer=transfer,
        pix_fmt=pix_fmt,
    )
    source, out = both(path, folder / f"out.{suffix}")
    assert np.abs(source.patches - PATCHES[0]).max() < 2
    assert_kept(source, out)
    assert_same_tags(source, out)
    assert_same_colours(source, out)
    assert out.bits == source.bits


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9", "ffv1", "prores"])
@pytest.mark.parametrize("color_range", ["tv", "pc"])
def test_every_encoder_gets_the_colours_right(
    clip, tmp_path, codec, color_range, capfd
):
    path = clip(
        frames=3,
        size=(64, 64),
        matrix="bt709",
        primaries="bt709",
        transfer="bt709",
        color_range=color_range,
    )
    source, out = both(path, tmp_path / "out.mkv", codec=codec)
    assert_same_colours(source, out)
    if codec == "prores":
        assert out.range == 1  # ProRes has no full range; the levels must be moved
    else:
        assert_same_tags(source, out)


def test_untagged_video_is_not_shifted(clip, tmp_path):
    # drawn with BT.601 and not tagged, as players assume for small pictures; behind
    # a factor of 4 a player would assume BT.709, unless the output says 601
    path = clip(frames=3, size=(192, 144), draw_matrix="bt601")
    upscale(path, tmp_path / "out.mp4", scale=5)
    out = describe(tmp_path / "out.mp4")
    assert out.size == (960, 720)
    assert out.matrix in (5, 6)
    assert np.abs(out.patches - PATCHES[0]).max() < 2.5


def test_untagged_hd_video_is_bt709(clip, tmp_path):
    path = clip(frames=1, size=(1280, 720), draw_matrix="bt709")
    upscale(path, tmp_path / "out.mp4", scale=1)
    out = describe(tmp_path / "out.mp4")
    assert out.matrix == 1
    assert np.abs(out.patches - PATCHES[0]).max() < 2.5


@pytest.mark.parametrize("transfer", ["pq", "hlg"])
@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_hdr(clip, tmp_path, transfer, suffix):
    path = clip(
        f"in.{suffix}",
        frames=4,
        codec="libx265",
        pix_fmt="yuv420p10le",
        matrix="bt2020",
        primaries="bt2020",
        transfer=transfer,
        color_range="tv",
        options={"x265-params": f"log-level=error:{MASTERING_X265}"},
    )
    source, out = both(path, tmp_path / f"out.{suffix}")
    assert_kept(source, out)
    assert_same_tags(source, out)
    assert_same_colours(source, out)
    assert out.bits == 10
    wanted = {"MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"}
    before = {pair for pair in source.frames[0].side_data if pair[0] in wanted}
    after = {pair for pair in out.frames[0].side_data if pair[0] in wanted}
    assert len(before) == 2
    assert after == before


@pytest.mark.parametrize(
    ("codec", "pix_fmt"),
    [
        ("libx264", "yuv420p10le"),
        ("libx265", "yuv420p10le"),
        ("ffv1", "yuv422p10le"),
        ("ffv1", "yuv444p12le"),
        ("ffv1", "gbrp10le"),
        ("prores_ks", "yuv422p10le"),
    ],
)
def test_ten_bits_stay_ten_bits(clip, tmp_path, codec, pix_fmt):
    path = clip(
        "in.mkv", frames=3, codec=codec, pix_fmt=pix_fmt, size=(128, 64), matrix=None
    )
    source, out = both(path, tmp_path / "out.mkv", crf=4)
    assert out.bits >= 10
    assert_kept(source, out)
    assert_same_colours(source, out)
    # the gradient has more levels than eight bits could hold
    ramp = out.frames[1].image[4:20:, 8:120, 0]
    assert len(np.unique(np.rint(ramp * 1023))) > len(np.unique(np.rint(ramp * 255)))


@pytest.mark.parametrize("pix_fmt", ["gray", "gray10le", "rgb24", "bgr0", "gbrp10le"])
def test_gray_and_rgb(clip, tmp_path, pix_fmt):
    codec = "ffv1" if pix_fmt != "rgb24" else "png"
    path = clip("in.mkv" if codec == "ffv1" else "in.mov", frames=3, codec=codec,
                pix_fmt=pix_fmt)  # fmt: skip
    source, out = both(path, tmp_path / "out.mkv", codec="ffv1")
    assert_kept(source, out)
    assert_same_colours(source, out)


def test_palette_video(clip, tmp_path):
    path = clip("in.gif", frames=4, codec="gif", pix_fmt="rgb8", rate=10)
    source, out = both(path, tmp_path / "out.mp4")
    assert out.numbers == source.numbers == [0, 1, 2, 3]
    assert out.times == source.times
    assert_same_colours(source, out, tolerance=3)


# ---- transparency

ALPHA = [
    ("in.webm", {"codec": "libvpx-vp9", "pix_fmt": "yuva420p",
                 "options": {"auto-alt-ref": "0"}}),
    ("in.mov", {"codec": "prores_ks", "pix_fmt": "yuva444p10le",
                "options": {"profile": "4444"}}),
    ("png.mov", {"codec": "png", "pix_fmt": "rgba"}),
    ("rle.mov", {"codec": "qtrle", "pix_fmt": "argb"}),
    ("in.mkv", {"codec": "ffv1", "pix_fmt": "bgra"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "what"), ALPHA, ids=[a[0] for a in ALPHA])
def test_alpha_is_kept_where_the_codec_holds_it(clip, tmp_path, name, what):
    path = clip(name, frames=3, **what)
    source, out = both(path, tmp_path / ("out" + path.suffix))
    assert source.alpha
    assert out.alpha
    assert_kept(source, out)
    assert_same_colours(source, out)
    difference = np.abs(out.patches[..., 3] - source.patches[..., 3])
    assert difference.max() <= 2


@pytest.mark.parametrize("codec", ["ffv1", "prores", "vp9"])
def test_alpha_to_every_codec_that_holds_it(clip, tmp_path, codec):
    path = clip("in.mov", frames=2, codec="png", pix_fmt="rgba")
    source, out = both(path, tmp_path / "out.mkv", codec=codec)
    assert out.alpha
    assert np.abs(out.patches - source.patches).max() <= 2


def test_alpha_that_cannot_be_kept_is_said(clip, tmp_path):
    path = clip("in.mov", frames=2, codec="png", pix_fmt="rgba")
    report = upscale(path, tmp_path / "out.mp4")
    assert not describe(tmp_path / "out.mp4").alpha
    assert any("transparen" in w or "alpha" in w for w in report.warnings)


def test_no_warning_where_nothing_was_lost(clip, tmp_path):
    report = upscale(clip(frames=3), tmp_path / "out.mp4", scale=4)
    assert report.warnings == []


@pytest.mark.parametrize("chroma", ["bt601", "bt709"])
def test_model_output_has_the_colours_of_the_input(clip, tmp_path, chroma):
    path = clip(frames=3, matrix=chroma, primaries=chroma, transfer=chroma)
    upscale(path, tmp_path / "out.mp4", model="ditn-s", scale=None)
    source, out = describe(path), describe(tmp_path / "out.mp4")
    assert_kept(source, out, scale=4)
    assert_same_colours(source, out, tolerance=5)
    assert_same_tags(source, out)


def test_pixels_do_not_move(clip, tmp_path):
    # edges stay in place: no half-pixel shift, whatever the factor
    path = clip("in.mkv", frames=1, codec="ffv1", pix_fmt="yuv444p", size=(64, 48))
    for scale in (2, 3, 4):
        upscale(path, tmp_path / f"{scale}.mkv", scale=scale, codec="ffv1")
        image = describe(tmp_path / f"{scale}.mkv").frames[0].image
        row = image[48 * scale * 6 // 10, :, 0] * 1.0
        level = (row.max() + row.min()) / 2
        high = row > level
        edges = np.flatnonzero(high[1:] != high[:-1]) + 1
        assert [Fraction(int(e), scale) for e in edges] == [
            Fraction(round(Fraction(int(e), scale))) for e in edges
        ]


def test_colour_detail_of_444_is_kept(clip, tmp_path):
    # swscale halves the chroma of 4:4:4 unless it is told not to
    path = clip("in.mkv", frames=1, codec="ffv1", pix_fmt="yuv444p", size=(68, 48))
    upscale(path, tmp_path / "out.mkv", scale=2, codec="ffv1")
    row = describe(tmp_path / "out.mkv").frames[0].image[10] * 255
    # the two patches meet at column 51: an odd one, inside a chroma pair
    left, right = np.array(PATCHES[0])
    assert np.abs(row[99] - left).max() < 25
    assert np.abs(row[105] - right).max() < 25
    halfway = (row[101] + row[102]) / 2
    assert np.abs(halfway - (left + right) / 2).max() < 20
