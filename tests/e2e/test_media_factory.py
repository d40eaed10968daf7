"""The factory itself: what ``describe`` reads is what ``write_clip`` wrote."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition
from hypothesis import given
from hypothesis import strategies as st

from media_factory import (
    FONT,
    MASTERING_X265,
    MATRICES,
    PATCHES,
    Audio,
    Chapter,
    Subtitle,
    corrupt,
    describe,
    from_gray_code,
    gray_code,
    patch_means,
    raw_bytes,
    read_number,
    render,
    to_frame,
    to_rgb,
    truncate,
    write_images,
    y4m_bytes,
)

MILLISECOND = Fraction(1, 1000)


# ---- drawing


@given(st.integers(0, 1023))
def test_gray_code_inverts(number):
    assert from_gray_code(gray_code(number)) == number
    assert bin(gray_code(number) ^ gray_code(number + 1)).count("1") == 1


@given(
    st.integers(0, 1023), st.integers(16, 90), st.integers(16, 90), st.integers(0, 1)
)
def test_number_is_read_from_pixels(number, width, height, scene):
    assert read_number(render(number, (width, height), scene=scene)) == number


def test_number_survives_noise_but_not_a_blend():
    a, b = render(511, (48, 32)), render(512, (48, 32))
    noise = np.random.default_rng(0).normal(0, 0.15, a.shape)
    assert read_number(a + noise) == 511
    assert read_number((a + b) / 2) == -1


@given(
    st.sampled_from(["yuv420p", "yuv422p", "yuv444p10le", "yuv420p10le", "yuva444p"]),
    st.sampled_from(["bt601", "bt709", "bt2020"]),
    st.booleans(),
    st.integers(33, 66),
)
def test_planes_round_trip(pix_fmt, matrix, full, width):
    image = render(77, (width, 49), alpha=pix_fmt.startswith("yuva"))
    frame = to_frame(image, pix_fmt, matrix=MATRICES[matrix], full=full)
    frame.colorspace = MATRICES[matrix]
    frame.color_range = 2 if full else 1
    back = to_rgb(frame)
    assert back.shape == image.shape
    assert np.abs(patch_means(back) - patch_means(image)).max() < 1.5


def test_planes_agree_with_swscale():
    # our own arithmetic and FFmpeg's must mean the same thing by BT.709, limited
    frame = to_frame(render(3, (64, 48)), "yuv444p", matrix=1)
    frame.colorspace, frame.color_range = 1, 1
    theirs = frame.reformat(
        format="rgb24", src_colorspace=1, src_color_range=1, dst_color_range=2
    )
    ours = to_rgb(frame)
    assert np.abs(theirs.to_ndarray() / 255 - ours).max() < 3 / 255


# ---- containers and codecs


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("a.mp4", {}),
        ("a.mkv", {"codec": "libx265", "pix_fmt": "yuv420p10le"}),
        ("a.mov", {"codec": "prores_ks", "pix_fmt": "yuv422p10le"}),
        ("a.webm", {"codec": "libvpx-vp9"}),
        ("a.ts", {"time_base": Fraction(1, 90000)}),
        ("a.avi", {"codec": "mpeg4", "options": {"bf": "0"}}),
        ("a.gif", {"codec": "gif", "pix_fmt": "rgb8", "rate": 10}),
        ("a.mpg", {"codec": "mpeg2video", "interlaced": "tff"}),
        ("a.h264", {"format": "h264"}),
        ("odd.mkv", {"codec": "ffv1", "size": (35, 33)}),
        ("odd444.mp4", {"pix_fmt": "yuv444p", "size": (35, 33)}),
        ("gray.mkv", {"codec": "ffv1", "pix_fmt": "gray"}),
        ("one.mp4", {"frames": 1}),
        ("long.mp4", {"frames": 40, "size": (32, 32), "scenes": (10, 21)}),
    ],
)
def test_clips_hold_their_frames_in_order(clip, name, what):
    described = describe(clip(name, **what))
    assert described.numbers == list(range(what.get("frames", 12)))
    assert described.size == what.get("size", (64, 48))


def test_av1(clip, capfd):
    assert describe(clip("a.mkv", codec="libsvtav1", size=(64, 64))).codec == "av1"


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("a.webm", {"codec": "libvpx-vp9", "pix_fmt": "yuva420p"}),
        ("a.mov", {"codec": "prores_ks", "pix_fmt": "yuva444p10le"}),
        ("b.mov", {"codec": "png", "pix_fmt": "rgba"}),
        ("c.mov", {"codec": "qtrle", "pix_fmt": "argb"}),
        ("a.mkv", {"codec": "ffv1", "pix_fmt": "bgra"}),
    ],
)
def test_alpha(clip, name, what):
    if "vp9" in what["codec"]:
        what = {**what, "options": {"auto-alt-ref": "0"}}
    elif what["codec"] == "prores_ks":
        what = {**what, "options": {"profile": "4444"}}
    described = describe(clip(name, frames=4, **what))
    assert described.alpha
    assert described.numbers == [0, 1, 2, 3]
    assert np.allclose(described.patches[:, :, 3], [128, 255], atol=2)


# ---- colour and geometry


def test_colour_tags_sar_and_rotation(clip):
    described = describe(
        clip(
            "a.mkv",
            sar=Fraction(32, 27),
            rotation=90,
            matrix="bt709",
            color_range="pc",
            primaries="bt601",
            transfer="srgb",
        )
    )
    assert (described.matrix, described.range) == (1, 2)
    assert (described.primaries, described.transfer) == (6, 13)
    assert (described.sar, described.rotation) == (Fraction(32, 27), 90)
    assert np.abs(described.patches[0] - PATCHES[0]).max() < 2


def test_untagged_clips_have_no_tags(clip):
    described = describe(clip(draw_matrix="bt709"))
    assert (described.matrix, described.primaries, described.transfer) == (2, 2, 2)
    # read with the wrong matrix, the colours are visibly off
    assert np.abs(described.patches[0] - PATCHES[0]).max() > 8


def test_hdr_mastering_data(clip):
    described = describe(
        clip(
            "a.mkv",
            codec="libx265",
            pix_fmt="yuv420p10le",
            matrix="bt2020",
            primaries="bt2020",
            transfer="pq",
            color_range="tv",
            options={"x265-params": f"log-level=error:{MASTERING_X265}"},
        )
    )
    kinds = {kind for kind, _ in described.frames[0].side_data}
    assert {"MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"} <= kinds
    assert (described.transfer, described.bits) == (16, 10)


@pytest.mark.parametrize("flagged", [True, False])
def test_interlacing(clip, flagged):
    described = describe(
        clip("a.mkv", combed=True, interlaced="tff" if flagged else None)
    )
    assert described.frames[0].interlaced is flagged
    rows = described.frames[1].image[:18, :32].mean(axis=(1, 2))
    columns = described.frames[1].image[:18, :32].mean(axis=-1)
    assert np.abs(columns[0::2].mean(0) - columns[1::2].mean(0)).max() > 0.5
    assert rows.size == 18


def test_scenes_change_the_whole_picture(clip):
    described = describe(clip(frames=6, scenes=(3,)))
    images = [f.image for f in described.frames]
    within = np.abs(images[1] - images[2]).mean()
    across = np.abs(images[2] - images[3]).mean()
    assert described.numbers == list(range(6))
    assert across > 5 * within


# ---- time


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_variable_frame_rate_is_exact(clip, suffix):
    pts = [0, 33, 67, 100, 107, 300, 301, 400]
    described = describe(clip(f"a.{suffix}", pts=pts, time_base=MILLISECOND))
    assert described.times == [p * MILLISECOND for p in pts]
    assert described.numbers == list(range(8))


@given(st.lists(st.integers(1, 500), min_size=1, max_size=12))
def test_any_increasing_times(tmp_path_factory, steps):
    pts = [sum(steps[:i]) for i in range(len(steps))]
    path = tmp_path_factory.mktemp("vfr") / "a.mp4"
    from media_factory import write_clip

    described = describe(
        write_clip(path, pts=pts, time_base=Fraction(1, 12800), size=(32, 32))
    )
    assert described.times == [Fraction(p, 12800) for p in pts]


def test_start_offset(clip):
    start = Fraction(14, 10)
    described = describe(
        clip("a.ts", start=start, time_base=Fraction(1, 90000), audio=[Audio()])
    )
    assert described.times[0] == start
    assert abs(described.audio[0].times[0] - start) < Fraction(3, 100)


def test_packet_times_can_be_mangled(clip):
    order = [0, 40, 80, 80, 120, 160, 150, 200]

    def retime(index, packet):
        packet.time_base = MILLISECOND
        packet.pts, packet.dts = 1000 + order[index], index
        return packet

    described = describe(
        clip("a.mkv", codec="ffv1", frames=8, time_base=MILLISECOND, mangle=retime)
    )
    assert described.times == [(1000 + o) * MILLISECOND for o in order]


def test_raw_h264_has_no_times(clip):
    assert set(describe(clip("a.h264", format="h264")).times) == {None}


# ---- company


def test_everything_a_matroska_file_can_hold(clip):
    chapters = (
        Chapter(Fraction(0), Fraction(1, 5), "one"),
        Chapter(Fraction(1, 5), Fraction(2, 5), "two"),
    )
    described = describe(
        clip(
            "a.mkv",
            audio=[
                Audio(language="deu", title="Ton"),
                Audio("flac", language="eng", start=Fraction(1, 10)),
            ],
            subtitles=[
                Subtitle(language="fra", disposition=Disposition.forced),
                Subtitle("ass", title="Signs"),
            ],
            chapters=chapters,
            attachments=[FONT],
            cover="png",
            extra_videos=1,
            metadata={"title": "Film", "ARTIST": "Us"},
            video_metadata={"title": "Main", "language": "jpn"},
        )
    )
    assert [s.language for s in described.audio] == ["deu", "eng"]
    assert described.audio[0].title == "Ton"
    assert [s.codec for s in described.audio] == ["aac", "flac"]
    assert described.audio[1].times[0] == Fraction(1, 10)
    assert all(len(s.packets) > 3 for s in described.audio)
    assert described.subtitles[0].disposition & Disposition.forced
    assert [c[2] for c in described.subtitles[0].cues] == ["Hello", "wörld"]
    assert [c[2] for c in described.subtitles[1].cues] == ["Hello", "wörld"]
    assert described.chapters == chapters
    assert [a[:2] for a in described.attachments] == [(FONT.name, FONT.mimetype)]
    assert len(described.covers) == 1
    assert len(described.videos) == 2
    assert (described.video.title, described.video.language) == ("Main", "jpn")
    assert described.metadata["title"] == "Film"
    assert describe(described.path, track=1).numbers == list(range(500, 512))


def test_mp4_with_company(clip):
    described = describe(
        clip(
            audio=[Audio(language="deu")],
            subtitles=[Subtitle("mov_text", language="fra")],
            cover="mjpeg",
            metadata={"title": "Film"},
        )
    )
    assert [s.language for s in described.subtitles] == ["fra"]
    assert [c[2] for c in described.subtitles[0].cues] == ["Hello", "wörld"]
    assert [s.codec for s in described.covers] == ["mjpeg"]
    assert described.metadata["title"] == "Film"


def test_packet_hashes_do_not_depend_on_the_container(clip):
    first = describe(clip("a.mp4", audio=[Audio()]))
    second = describe(clip("a.mkv", audio=[Audio()]))
    third = describe(clip("a.ts", audio=[Audio()]))
    assert first.audio[0].hashes == second.audio[0].hashes == third.audio[0].hashes


# ---- pictures and pipes


def test_image_folders(tmp_path):
    described = describe(write_images(tmp_path / "in", frames=5))
    assert described.numbers == list(range(5))
    jpeg = write_images(
        tmp_path / "jpg",
        codec="mjpeg",
        pix_fmt="yuvj420p",
        name=lambda i: f"{i:03}.jpg",
    )
    assert describe(jpeg).numbers == list(range(6))


def test_y4m(tmp_path):
    path = tmp_path / "a.y4m"
    path.write_bytes(y4m_bytes(sar=Fraction(4, 3), rate=Fraction(30000, 1001)))
    described = describe(path)
    assert described.numbers == list(range(6))
    assert described.sar == Fraction(4, 3)
    assert described.average_rate == Fraction(30000, 1001)
    assert described.size == (48, 32)
    assert len(raw_bytes()) == 6 * 48 * 32 * 3 // 2


# ---- breaking


def test_truncated_mp4_cannot_be_opened(clip, tmp_path):
    cut = truncate(clip(frames=20), tmp_path / "cut.mp4", 0.5)
    with pytest.raises((av.FFmpegError, ValueError)):
        describe(cut)


def test_truncated_matroska_ends_silently(clip, tmp_path):
    cut = truncate(clip("a.mkv", codec="ffv1", frames=30), tmp_path / "cut.mkv", 0.6)
    assert 0 < len(describe(cut).frames) < 30


def test_corruption_changes_the_content(clip, tmp_path):
    path = clip("a.mkv", codec="ffv1", frames=30)
    bad = corrupt(path, tmp_path / "bad.mkv")
    assert bad.stat().st_size == path.stat().st_size
    with av.open(io.BytesIO(bad.read_bytes())) as source:
        assert source.streams.video
