"""Frames, timestamps and geometry, over generated videos."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2e_support import (
    assert_kept,
    assert_same_colours,
    assert_same_pictures,
    both,
    upscale,
)
from media_factory import Audio, describe, write_clip

MILLISECOND = Fraction(1, 1000)


@st.composite
def timelines(draw):
    """A time base and rising timestamps in it, of 1 to 14 frames."""
    base = draw(
        st.sampled_from(
            [MILLISECOND, Fraction(1, 90000), Fraction(1, 12800), Fraction(1001, 30000)]
        )
    )
    unit = max(1, int(Fraction(1, 250) / base))
    steps = draw(st.lists(st.integers(1, 40), min_size=0, max_size=13))
    first = draw(st.sampled_from([0, 0, 7]))
    pts = [first * unit]
    for step in steps:
        pts.append(pts[-1] + step * unit)
    return base, pts


@settings(max_examples=20)
@given(
    timeline=timelines(),
    width=st.integers(8, 24).map(lambda n: 2 * n),
    height=st.integers(8, 24).map(lambda n: 2 * n),
    scale=st.sampled_from([1, 2, 3, 4]),
    suffix=st.sampled_from(["mp4", "mkv", "mov"]),
    chunk=st.sampled_from([None, 1, 4]),
)
def test_every_frame_and_every_timestamp(
    tmp_path_factory, timeline, width, height, scale, suffix, chunk
):
    folder = tmp_path_factory.mktemp("any")
    base, pts = timeline
    src = write_clip(
        folder / f"in.{suffix}", size=(width, height), pts=pts, time_base=base
    )
    source, out = both(
        src, folder / f"out.{suffix}", scale=scale, chunk_frames=chunk, crf=10
    )
    assert source.numbers == list(range(len(pts)))
    assert_kept(source, out, scale=scale)


@settings(max_examples=8)
@given(
    width=st.integers(17, 40),
    height=st.integers(17, 40),
    scale=st.sampled_from([2, 3, Fraction(3, 2)]),
)
def test_odd_sizes_scale_exactly(tmp_path_factory, width, height, scale):
    folder = tmp_path_factory.mktemp("odd")
    src = write_clip(
        folder / "in.mkv", codec="ffv1", size=(width, height), frames=3, rate=10
    )
    report = upscale(src, folder / "out.mkv", scale=float(scale))
    out = describe(folder / "out.mkv")
    assert out.numbers == [0, 1, 2]
    exact = (width * scale, height * scale)
    assert out.size == (report.width, report.height)
    assert all(abs(got - want) < 1 for got, want in zip(out.size, exact, strict=True))
    if isinstance(scale, int):
        assert out.size == exact


@pytest.mark.parametrize("frames", [1, 2, 3])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_fewer_frames_than_any_window(clip, tmp_path, frames, suffix):
    source, out = both(clip(f"in.{suffix}", frames=frames), tmp_path / f"o.{suffix}")
    assert_kept(source, out)


@pytest.mark.parametrize(
    ("asked", "size"),
    [
        ({"scale": 2.5}, (160, 120)),
        ({"scale": None, "size": (100, 90)}, (100, 90)),
        ({"scale": None, "height": 96}, (128, 96)),
        ({"scale": 0.5}, (32, 24)),
    ],
)
def test_any_factor_or_size(clip, tmp_path, asked, size):
    upscale(clip(frames=3), tmp_path / "out.mp4", **asked)
    out = describe(tmp_path / "out.mp4")
    assert out.size == size
    assert out.numbers == [0, 1, 2]


def test_anamorphic_video_keeps_its_shape(clip, tmp_path):
    source, out = both(clip(sar=Fraction(32, 27)), tmp_path / "out.mp4")
    assert out.sar == Fraction(32, 27)
    assert_kept(source, out)


def test_a_new_shape_changes_the_pixel_aspect(clip, tmp_path):
    # 64x48 squeezed into 64x96: the picture must still look 4:3 (or be said)
    report = upscale(clip(), tmp_path / "out.mp4", scale=None, size=(64, 96))
    out = describe(tmp_path / "out.mp4")
    shown = Fraction(*out.size) * out.sar
    assert shown == Fraction(4, 3) or report.warnings


@pytest.mark.parametrize("rotation", [90, -90, 180])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
def test_rotation(clip, tmp_path, rotation, suffix):
    source, out = both(
        clip(f"in.{suffix}", rotation=rotation, frames=4), tmp_path / f"o.{suffix}"
    )
    assert abs(source.rotation) == abs(rotation)
    assert_kept(source, out)


def test_mirrored_video(clip, tmp_path):
    source, out = both(clip(hflip=True, frames=3), tmp_path / "out.mp4")
    matrices = [
        [sha for kind, sha in d.frames[0].side_data if kind == "DISPLAYMATRIX"]
        for d in (source, out)
    ]
    assert matrices[0]
    assert matrices[0] == matrices[1]


def test_start_offset_keeps_sound_in_step(clip, tmp_path):
    base = Fraction(1, 90000)
    path = clip(
        "in.ts", start=Fraction(14, 10), time_base=base, audio=[Audio()], frames=20
    )
    for suffix in ("mp4", "mkv"):
        source, out = both(path, tmp_path / f"out.{suffix}")
        assert out.numbers == source.numbers
        gap_before = source.audio[0].times[0] - source.times[0]
        gap_after = out.audio[0].times[0] - out.times[0]
        assert abs(gap_before - gap_after) <= MILLISECOND
        steps = [b - a for a, b in zip(source.times, source.times[1:], strict=False)]
        after = [b - a for a, b in zip(out.times, out.times[1:], strict=False)]
        assert all(abs(a - b) <= MILLISECOND for a, b in zip(steps, after, strict=True))


@pytest.mark.parametrize("late", [Fraction(1, 4), Fraction(-1, 4)])
def test_tracks_that_start_apart_stay_apart(clip, tmp_path, late):
    start = Fraction(1, 2)
    path = clip(
        "in.mkv",
        start=start,
        time_base=MILLISECOND,
        audio=[Audio("flac", start=late)],
        frames=20,
    )
    source, out = both(path, tmp_path / "out.mkv")
    assert_kept(source, out)
    assert out.audio[0].times == source.audio[0].times


def test_scene_cuts(clip, tmp_path):
    path = clip(frames=24, scenes=(7, 8, 15))
    source, out = both(path, tmp_path / "out.mp4", chunk_frames=5)
    assert_kept(source, out)
    assert_same_colours(source, out)


@pytest.mark.parametrize("chunk", [1, 3, 7])
def test_chunks_give_the_frames_of_a_single_pass(clip, tmp_path, chunk):
    path = clip("in.mkv", frames=13, scenes=(5,))
    upscale(path, tmp_path / "whole.mkv", codec="ffv1")
    upscale(path, tmp_path / "parts.mkv", codec="ffv1", chunk_frames=chunk)
    assert_same_pictures(
        describe(tmp_path / "whole.mkv"), describe(tmp_path / "parts.mkv")
    )


def test_two_runs_are_equal(clip, tmp_path):
    path = clip(frames=20, size=(48, 34), audio=[Audio()])
    for name in ("a.mp4", "b.mp4"):
        upscale(path, tmp_path / name, chunk_frames=8)
    a, b = describe(tmp_path / "a.mp4"), describe(tmp_path / "b.mp4")
    assert_same_pictures(a, b)
    assert a.video.hashes == b.video.hashes


def test_threads_do_not_change_the_result(clip, tmp_path):
    path = clip("in.mkv", frames=4)
    for threads in (1, 2):
        upscale(path, tmp_path / f"{threads}.mkv", codec="ffv1", threads=threads)
    assert_same_pictures(describe(tmp_path / "1.mkv"), describe(tmp_path / "2.mkv"))


def test_start_and_duration_choose_frames(clip, tmp_path):
    path = clip(frames=25, audio=[Audio()])
    upscale(path, tmp_path / "out.mp4", start=0.2, duration=0.4)
    out = describe(tmp_path / "out.mp4")
    assert out.numbers == list(range(5, 15))
    assert out.times == [Fraction(i, 25) for i in range(10)]
    sound = out.audio[0]
    assert abs(sound.times[0]) < Fraction(5, 100)
    assert abs(sound.times[-1] - Fraction(4, 10)) < Fraction(6, 100)


# ---- interlacing


def _combing(image):
    """How much neighbouring rows differ, against rows two apart."""
    rows = image[: image.shape[0] * 2 // 5, : image.shape[1] // 2, 0]
    near = abs(rows[1:] - rows[:-1])[:-1].mean()
    far = abs(rows[2:] - rows[:-2]).mean()
    return near - far


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("tff.mkv", {"interlaced": "tff"}),
        ("bff.mkv", {"interlaced": "bff"}),
        ("in.mpg", {"codec": "mpeg2video", "interlaced": "tff"}),
        ("unflagged.mkv", {}),
    ],
)
def test_interlaced_video_is_deinterlaced(clip, tmp_path, name, what):
    path = clip(name, size=(64, 96), frames=16, combed=True, **what)
    source, out = both(path, tmp_path / "out.mkv")
    assert len(out.frames) == 16
    assert out.numbers == source.numbers
    assert _combing(source.frames[8].image) > 0.2
    assert _combing(out.frames[8].image[::2]) < 0.1
    assert not out.frames[8].interlaced


def test_deinterlacing_can_be_chosen(clip, tmp_path):
    path = clip("in.mkv", size=(64, 96), frames=8, combed=True, interlaced="tff")
    combing = {}
    for choice in ("on", "off"):
        target = tmp_path / f"{choice}.mkv"
        upscale(path, target, deinterlace=choice, scale=1, codec="ffv1")
        combing[choice] = _combing(describe(target).frames[4].image)
    assert combing["off"] > 0.1
    assert combing["on"] < 0.03


def test_progressive_video_is_left_alone(clip, tmp_path):
    path = clip("in.mkv", frames=30, size=(64, 64))
    for choice in ("auto", "off"):
        upscale(path, tmp_path / f"{choice}.mkv", deinterlace=choice, codec="ffv1")
    assert_same_pictures(
        describe(tmp_path / "auto.mkv"), describe(tmp_path / "off.mkv")
    )


# ---- broken clocks


def test_frames_without_timestamps(clip, tmp_path):
    report = upscale(clip("in.h264", format="h264"), tmp_path / "out.mp4")
    out = describe(tmp_path / "out.mp4")
    assert out.numbers == list(range(12))
    assert [t - out.times[0] for t in out.times] == [Fraction(i, 25) for i in range(12)]
    assert report.frames_out == 12


@pytest.mark.parametrize(
    "order",
    [
        [0, 40, 80, 80, 120, 160, 200, 240],
        [0, 40, 80, 120, 100, 160, 200, 240],
        [0, 0, 0, 40, 40, 80, 80, 120],
    ],
)
def test_repeated_and_backward_timestamps(clip, tmp_path, order):
    def retime(index, packet):
        packet.time_base = MILLISECOND
        packet.pts, packet.dts = 1000 + order[index], index
        return packet

    path = clip("in.mkv", codec="ffv1", frames=8, time_base=MILLISECOND, mangle=retime)
    report = upscale(path, tmp_path / "out.mkv")
    out = describe(tmp_path / "out.mkv")
    assert out.numbers == list(range(8))
    assert all(b > a for a, b in zip(out.times, out.times[1:], strict=False))
    assert any("timestamp" in warning for warning in report.warnings)
    # those that made sense did not move
    good = [i for i, t in enumerate(order) if t > max(order[:i], default=-1)]
    wrong = [i for i in good if out.times[i] != (1000 + order[i]) * MILLISECOND]
    assert not [i for i in wrong if out.times[i] < (1000 + order[i]) * MILLISECOND]


def test_avi_with_reordered_frames(clip, tmp_path):
    # AVI has no presentation times; with B-frames FFmpeg's guesses run backwards
    upscale(clip("in.avi", codec="libx264"), tmp_path / "out.mp4")
    out = describe(tmp_path / "out.mp4")
    assert out.numbers == list(range(12))
    assert all(b > a for a, b in zip(out.times, out.times[1:], strict=False))
    assert abs((out.times[-1] - out.times[0]) - Fraction(11, 25)) <= Fraction(2, 25)


def test_wrong_frame_rate_in_the_header(clip, tmp_path):
    path = clip("in.mkv", rate=1000, time_base=MILLISECOND, pts=list(range(0, 480, 40)))
    source, out = both(path, tmp_path / "out.mkv")
    assert_kept(source, out)
