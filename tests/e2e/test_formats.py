"""What goes in and what comes out: containers, codecs, pictures, pipes."""

from __future__ import annotations

import io
import shutil
import subprocess
from fractions import Fraction

import numpy as np
import pytest

import upframe
from e2e_support import (
    assert_kept,
    assert_same_colours,
    both,
    command,
    environment,
    leftovers,
    run,
    upscale,
)
from media_factory import (
    describe,
    raw_bytes,
    read_number,
    render,
    to_frame,
    write_images,
    y4m_bytes,
)

INPUTS = [
    ("in.mp4", {}),
    ("in.m4v", {"format": "mp4"}),
    ("in.mkv", {"codec": "libx265"}),
    ("in.mov", {"codec": "prores_ks", "pix_fmt": "yuv422p10le"}),
    ("in.webm", {"codec": "libvpx-vp9"}),
    ("in.ts", {"time_base": Fraction(1, 90000)}),
    ("in.mpg", {"codec": "mpeg2video"}),
    ("in.avi", {"codec": "mpeg4", "options": {"bf": "0"}}),
    ("in.gif", {"codec": "gif", "pix_fmt": "rgb8", "rate": 10}),
    ("motion.mkv", {"codec": "mjpeg", "pix_fmt": "yuvj420p", "color_range": "pc"}),
    ("in.flv", {}),
    ("frag.mp4", {"container_options": {"movflags": "frag_keyframe+empty_moov"}}),
    ("bframes.mp4", {"options": {"bf": "3", "b-adapt": "0"}, "frames": 20}),
    ("opengop.mkv", {"options": {"bf": "3", "g": "6", "x264-params": "open-gop=1"},
                     "frames": 24}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "what"), INPUTS, ids=[i[0] for i in INPUTS])
def test_inputs(clip, tmp_path, name, what):
    path = clip(name, **what)
    source, out = both(path, tmp_path / "out.mkv")
    assert source.numbers == list(range(what.get("frames", 12)))
    assert_kept(source, out)
    assert_same_colours(source, out, tolerance=3)


@pytest.mark.parametrize(
    ("name", "codec", "found"),
    [
        ("out.mp4", None, "h264"),
        ("out.mp4", "hevc", "hevc"),
        ("out.mp4", "av1", "av1"),
        ("out.mp4", "vp9", "vp9"),
        ("out.mkv", "h264", "h264"),
        ("out.mkv", "hevc", "hevc"),
        ("out.mkv", "av1", "av1"),
        ("out.mkv", "vp9", "vp9"),
        ("out.mkv", "ffv1", "ffv1"),
        ("out.mkv", "prores", "prores"),
        ("out.mov", "prores", "prores"),
        ("out.mov", None, "h264"),
        ("out.webm", None, "vp9"),
        ("out.webm", "av1", "av1"),
    ],
)
def test_outputs(clip, tmp_path, name, codec, found, capfd):
    # several segments, so that joining is part of it; times that are not regular
    pts = [0, 40, 80, 120, 160, 200, 240, 300, 301, 400, 480, 520]
    path = clip("in.mkv", size=(64, 64), pts=pts, time_base=Fraction(1, 1000))
    source, out = both(path, tmp_path / name, codec=codec, chunk_frames=5)
    assert out.codec == found
    assert_kept(source, out)
    assert_same_colours(source, out)


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9"])
def test_chunks_shorter_than_the_encoders_delay(clip, tmp_path, codec, capfd):
    # libx265 gives random decode times to streams of one or two frames
    path = clip("in.mkv", frames=5)
    for chunk in (1, 2, 1, 2, 1):
        target = tmp_path / "out.mp4"
        upscale(path, target, codec=codec, chunk_frames=chunk, overwrite=True)
        out = describe(target)
        assert out.numbers == list(range(5))
        assert out.times == [Fraction(i, 25) for i in range(5)]


def test_quality_and_encoder_options_reach_the_encoder(clip, tmp_path):
    path = clip(frames=8)
    upscale(path, tmp_path / "fine.mp4", crf=4)
    upscale(path, tmp_path / "rough.mp4", crf=44)
    sizes = [(tmp_path / n).stat().st_size for n in ("fine.mp4", "rough.mp4")]
    assert sizes[0] > 1.5 * sizes[1]
    upscale(path, tmp_path / "444.mp4", pix_fmt="yuv444p")
    assert describe(tmp_path / "444.mp4").pix_fmt == "yuv444p"
    upscale(path, tmp_path / "g.mp4", encoder_options={"preset": "ultrafast"})
    assert describe(tmp_path / "g.mp4").numbers == list(range(8))


# ---- pictures


def test_folder_to_folder(tmp_path):
    names = [f"{i}.png" for i in range(8, 12)]  # 8, 9, 10, 11: natural order counts
    write_images(tmp_path / "in", frames=4, name=lambda i: names[i])
    report = upscale(tmp_path / "in", tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(names)
    for index, name in enumerate(names):
        described = describe(tmp_path / "out" / name)
        assert described.numbers == [index]
        assert described.size == (96, 64)
    assert report.frames_out == 4


def test_folder_to_video_and_back(tmp_path):
    write_images(tmp_path / "in", frames=7)
    upscale(tmp_path / "in", tmp_path / "out.mp4", rate=10)
    out = describe(tmp_path / "out.mp4")
    assert out.numbers == list(range(7))
    assert out.times == [Fraction(i, 10) for i in range(7)]
    assert np.abs(out.patches - describe(tmp_path / "in").patches).max() < 3
    upscale(tmp_path / "out.mp4", tmp_path / "back" / "p_%03d.png", scale=1)
    files = sorted(p.name for p in (tmp_path / "back").iterdir())
    assert files == [f"p_{i:03d}.png" for i in range(7)]
    assert describe(tmp_path / "back").numbers == list(range(7))


def test_pattern_in(tmp_path):
    write_images(tmp_path / "in", frames=5, name=lambda i: f"a{i + 3:04d}.png")
    write_images(tmp_path / "in", frames=2, name=lambda i: f"other{i}.png")
    upscale(tmp_path / "in" / "a%04d.png", tmp_path / "out.mkv")
    assert describe(tmp_path / "out.mkv").numbers == list(range(5))


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix"),
    [
        ("png", "rgb24", "png"),
        ("mjpeg", "yuvj420p", "jpg"),
        ("bmp", "bgr24", "bmp"),
        ("tiff", "rgb24", "tif"),
        ("png", "gray", "png"),
        ("png", "rgba", "png"),
        ("png", "rgb48be", "png"),
    ],
)
def test_kinds_of_pictures(tmp_path, codec, pix_fmt, suffix):
    write_images(
        tmp_path / "in",
        frames=3,
        codec=codec,
        pix_fmt=pix_fmt,
        name=lambda i: f"{i:03d}.{suffix}",
    )
    upscale(tmp_path / "in", tmp_path / "out")
    source, out = describe(tmp_path / "in"), describe(tmp_path / "out")
    assert out.numbers == [0, 1, 2]
    assert out.alpha == (pix_fmt == "rgba")
    assert (out.bits > 8) == (pix_fmt == "rgb48be")
    assert_same_colours(source, out, tolerance=3)


def test_one_picture(tmp_path):
    write_images(tmp_path / "in", frames=1)
    upscale(tmp_path / "in" / "frame_0000.png", tmp_path / "big.png")
    assert describe(tmp_path / "big.png").numbers == [0]
    assert describe(tmp_path / "big.png").size == (96, 64)


def test_other_files_in_a_folder_are_passed_over(tmp_path):
    write_images(tmp_path / "in", frames=3)
    (tmp_path / "in" / "Thumbs.db").write_bytes(b"not a picture")
    (tmp_path / "in" / "notes.txt").write_text("hello")
    upscale(tmp_path / "in", tmp_path / "out.mkv")
    assert describe(tmp_path / "out.mkv").numbers == [0, 1, 2]


def test_pictures_of_different_sizes(tmp_path):
    write_images(tmp_path / "in", frames=3)
    write_images(tmp_path / "big", frames=4, size=(96, 64))
    shutil.copy(tmp_path / "big" / "frame_0003.png", tmp_path / "in")
    with pytest.raises(upframe.InputError, match=r"frame_0003\.png is 96x64"):
        upscale(tmp_path / "in", tmp_path / "out.mkv")
    assert leftovers(tmp_path) == ["big", "in"]


def test_picture_size_that_changes_within_a_stream(tmp_path, clip):
    # two MPEG-TS pieces of different size behind one another
    one = clip("one.ts", frames=8)
    two = clip("two.ts", frames=8, size=(96, 72), start=Fraction(1))
    (tmp_path / "both.ts").write_bytes(one.read_bytes() + two.read_bytes())
    report = upscale(tmp_path / "both.ts", tmp_path / "out.mkv")
    out = describe(tmp_path / "out.mkv")
    assert len({f.size for f in out.frames}) == 1
    assert len(out.frames) == 16
    assert any("size" in w for w in report.warnings)


# ---- pipes


def test_y4m_file(tmp_path):
    path = tmp_path / "in.y4m"
    path.write_bytes(y4m_bytes(sar=Fraction(4, 3), rate=Fraction(30000, 1001)))
    source, out = both(path, tmp_path / "out.mkv")
    assert_kept(source, out)
    assert_same_colours(source, out)


def test_y4m_from_stdin(tmp_path):
    ran = run(
        "-", "-o", tmp_path / "out.mp4", "--model", "bicubic", "--scale", "2",
        input=y4m_bytes(rate=30),
    )  # fmt: skip
    assert ran.code == 0, ran.err
    out = describe(tmp_path / "out.mp4")
    assert out.numbers == list(range(6))
    assert out.times == [Fraction(i, 30) for i in range(6)]
    assert out.size == (96, 64)


def test_matroska_from_stdin(clip, tmp_path):
    path = clip("in.mkv", frames=9)
    ran = run(
        "-", "-o", tmp_path / "out.mkv", "--model", "bicubic", "--scale", "2",
        input=path.read_bytes(),
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert describe(tmp_path / "out.mkv").numbers == list(range(9))


def test_raw_video_from_stdin(tmp_path):
    ran = run(
        "-", "-o", tmp_path / "out.mp4", "--model", "bicubic", "--scale", "2",
        "--size", "48x32", input=raw_bytes(pix_fmt="rgb24"),
    )  # fmt: skip
    assert ran.code == 0, ran.err
    out = describe(tmp_path / "out.mp4")
    assert out.numbers == list(range(6))
    assert out.size == (96, 64)


def test_y4m_to_stdout(clip, tmp_path):
    path = clip(frames=5)
    done = subprocess.run(
        command(path, "-o", "-", "--model", "bicubic", "--scale", "2"),
        capture_output=True,
        env=environment(),
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"YUV4MPEG2 W128 H96 F25:1 ")
    (tmp_path / "piped.y4m").write_bytes(done.stdout)
    out = describe(tmp_path / "piped.y4m")
    assert out.numbers == list(range(5))
    assert np.abs(out.patches - describe(path).patches).max() < 3


def test_a_reader_that_goes_away_is_no_crash(clip):
    process = subprocess.Popen(
        command(clip(frames=30, size=(128, 128)), "-o", "-", "--model", "bicubic"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert process.stdout is not None
    process.stdout.read(100)
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert process.returncode in (0, 1), err
    assert b"Traceback" not in err


# ---- frames of one's own


def test_upscaler_for_streams():
    frames = [np.rint(render(i, (48, 32)) * 255).astype(np.uint8) for i in range(7)]
    outs = []
    with upframe.Upscaler(model="bicubic", scale=2) as upscaler:
        for frame in frames:
            outs += upscaler.push(frame)
        outs += upscaler.flush()
    assert len(outs) == 7
    assert [read_number(o / 255) for o in outs] == list(range(7))
    assert {o.shape for o in outs} == {(64, 96, 3)}
    assert {o.dtype for o in outs} == {np.dtype(np.uint8)}


def test_file_and_stream_give_the_same_pixels(clip, tmp_path):
    path = clip("in.mkv", codec="ffv1", pix_fmt="bgr0", frames=3)
    upscale(path, tmp_path / "out.mkv", codec="ffv1", pix_fmt="bgr0")
    frames = [np.rint(f.image * 255).astype(np.uint8) for f in describe(path).frames]
    with upframe.Upscaler(model="bicubic", scale=2) as upscaler:
        outs = [o for f in frames for o in upscaler.push(f)] + upscaler.flush()
    for ours, theirs in zip(outs, describe(tmp_path / "out.mkv").frames, strict=True):
        assert np.abs(ours / 255.0 - theirs.image).max() <= 1.01 / 255


def test_a_frame_of_the_factory_survives_ffmpeg():
    # guards the helpers used above
    frame = to_frame(render(5, (48, 32)), "yuv420p")
    assert io.BytesIO(raw_bytes()).read(16)
    assert (frame.width, frame.height) == (48, 32)
