"""Rarer company and clocks: edit lists, wrapped clocks, other orders, small budgets."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from av.stream import Disposition

from e2e_support import (
    FAST,
    assert_kept,
    assert_same_colours,
    assert_same_pictures,
    both,
    command,
    environment,
    leftovers,
    run,
    upscale,
)
from media_factory import (
    Audio,
    Subtitle,
    describe,
    read_number,
    write_images,
    y4m_bytes,
)

MILLISECOND = Fraction(1, 1000)
DEMO = Path(__file__).parents[2] / "assets" / "demo" / "clip.mp4"


# ---- clocks


def test_an_edit_list_that_cuts_frames_off(clip, tmp_path):
    # packets before time zero: MP4 keeps them and tells players to skip them
    path = clip(start=Fraction(-1, 5), frames=15, options={"bf": "0"})
    source, out = both(path, tmp_path / "out.mp4")
    assert source.numbers == list(range(5, 15))
    assert_kept(source, out)


@pytest.mark.parametrize("bframes", ["0", "3"])
def test_avi_with_reordered_frames_keeps_an_even_grid(clip, tmp_path, bframes):
    path = clip("in.avi", frames=30, options={"bf": bframes, "preset": "medium"})
    upscale(path, tmp_path / "out.mp4")
    out = describe(tmp_path / "out.mp4")
    assert out.numbers == list(range(30))
    steps = {b - a for a, b in zip(out.times, out.times[1:], strict=False)}
    assert steps == {Fraction(1, 25)}


def test_matroska_with_times_below_zero(clip, tmp_path):
    path = clip("in.mkv", time_base=MILLISECOND, audio=[Audio()], frames=10)
    source, out = both(path, tmp_path / "out.mkv")
    assert source.audio[0].times[0] < 0
    assert out.audio[0].times == source.audio[0].times
    assert_kept(source, out)


def test_a_transport_stream_whose_clock_wraps(clip, tmp_path):
    base = Fraction(1, 90000)
    path = clip(
        "in.ts",
        frames=40,
        start=Fraction(2**33, 90000).limit_denominator(25) - Fraction(4, 5),
        time_base=base,
        audio=[Audio()],
    )
    source, out = both(path, tmp_path / "out.mkv")
    assert out.numbers == list(range(40))
    steps = {b - a for a, b in zip(out.times, out.times[1:], strict=False)}
    assert steps == {Fraction(1, 25)}
    gap_before = source.audio[0].times[0] - source.times[0]
    gap_after = out.audio[0].times[0] - out.times[0]
    assert abs(gap_before - gap_after) <= MILLISECOND


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_how_long_each_frame_is_shown(clip, tmp_path, suffix):
    pts = [0, 40, 80, 500, 520, 1500]
    path = clip(f"in.{suffix}", pts=pts, time_base=MILLISECOND, options={"bf": "0"})
    source, out = both(path, tmp_path / f"out.{suffix}")
    assert_kept(source, out)
    ends = [
        max(p.time + (p.duration or 0) for p in d.video.packets) for d in (source, out)
    ]
    assert abs(ends[0] - ends[1]) <= Fraction(1, 25)


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(30000, 1001), 60, 12])
def test_exact_rates(clip, tmp_path, rate):
    source, out = both(clip(rate=rate, frames=20), tmp_path / "out.mp4")
    assert_kept(source, out)
    assert out.average_rate == source.average_rate == rate


def test_an_hour_between_two_frames(clip, tmp_path):
    pts = [0, 40, 3_600_000, 3_600_040]
    path = clip("in.mkv", pts=pts, time_base=MILLISECOND)
    source, out = both(path, tmp_path / "out.mkv")
    assert_kept(source, out)


def test_start_and_duration_follow_the_clock_of_variable_rate(clip, tmp_path):
    pts = [0, 100, 110, 120, 500, 900, 910, 1400]
    path = clip("in.mkv", pts=pts, time_base=MILLISECOND)
    upscale(path, tmp_path / "out.mkv", start=0.11, duration=0.8)
    out = describe(tmp_path / "out.mkv")
    assert out.numbers == [2, 3, 4, 5]
    assert [t - out.times[0] for t in out.times] == [
        (p - 110) * MILLISECOND for p in (110, 120, 500, 900)
    ]


# ---- company


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_sound_before_the_video(clip, tmp_path, suffix):
    path = clip(
        f"in.{suffix}",
        audio=[
            Audio(language="eng"),
            Audio(language="deu", disposition=Disposition.default),
        ],
        audio_first=True,
    )
    source, out = both(path, tmp_path / f"out.{suffix}")
    assert [s.type for s in out.streams] == ["audio", "audio", "video"]
    assert_kept(source, out)
    assert [s.hashes for s in out.audio] == [s.hashes for s in source.audio]
    assert [(s.language, s.disposition) for s in out.audio] == [
        (s.language, s.disposition) for s in source.audio
    ]


@pytest.mark.parametrize("seconds", [Fraction(1, 10), Fraction(3)])
def test_sound_shorter_or_longer_than_the_picture(clip, tmp_path, seconds):
    path = clip("in.mkv", frames=25, audio=[Audio("flac", seconds=seconds)])
    source, out = both(path, tmp_path / "out.mkv")
    assert_kept(source, out)
    assert out.audio[0].hashes == source.audio[0].hashes


def test_many_cues_and_odd_texts(clip, tmp_path):
    cues = (
        (0.0, 0.1, '<i>slanted</i> & "quoted"'),
        (0.1, 0.2, "two\nlines"),
        (0.1, 0.3, "at the same time"),
        (0.3, 0.35, "日本語 ✓"),
    )
    path = clip("in.mkv", frames=15, subtitles=[Subtitle(cues=cues)])
    source, out = both(path, tmp_path / "out.mkv")
    assert out.subtitles[0].hashes == source.subtitles[0].hashes
    _, mp4 = both(path, tmp_path / "out.mp4")
    texts = [c[2] for c in mp4.subtitles[0].cues]
    assert "two\nlines" in texts
    assert "日本語 ✓" in texts


def test_words_about_the_video_are_kept(clip, tmp_path):
    words = {
        "title": "A = B; C # D \\ E",
        "comment": "line one\nline two",
        "creation_time": "2020-02-02T02:02:02.000000Z",
        "language": "x" * 500,
        "ünï": "cödé",
    }
    source, out = both(clip("in.mkv", metadata=words), tmp_path / "out.mkv")
    kept = {k.lower(): v for k, v in out.metadata.items()}
    for key, value in {k.lower(): v for k, v in source.metadata.items()}.items():
        if key not in ("encoder",):
            assert kept[key].startswith(value), key


# ---- outputs that cannot say it all


def test_rotated_video_to_pictures(clip, tmp_path):
    # a PNG has no display matrix: either turn the pixels, or say it
    path = clip(rotation=90, frames=3)
    report = upscale(path, tmp_path / "out")
    pictures = describe(tmp_path / "out")
    turned = pictures.size == (96, 128)
    if turned:
        assert read_number(np.rot90(pictures.frames[1].image, -1)) == 1 or (
            read_number(np.rot90(pictures.frames[1].image, 1)) == 1
        )
    else:
        assert any("rotat" in w.lower() for w in report.warnings)


def test_anamorphic_video_to_pictures_says_so(clip, tmp_path):
    report = upscale(clip(sar=Fraction(4, 3), frames=2), tmp_path / "out")
    said = " ".join(report.warnings).lower()
    assert describe(tmp_path / "out").sar == Fraction(4, 3) or "aspect" in said


def test_sound_lost_in_pictures_is_said(clip, tmp_path):
    path = clip(audio=[Audio()], subtitles=[Subtitle("mov_text")], frames=3)
    report = upscale(path, tmp_path / "out")
    said = " ".join(report.warnings).lower()
    assert "audio" in said or "sound" in said


def test_deep_video_to_pictures_keeps_its_depth(clip, tmp_path):
    path = clip("in.mkv", codec="ffv1", pix_fmt="yuv444p10le", frames=2)
    upscale(path, tmp_path / "out")
    source, out = describe(path), describe(tmp_path / "out")
    assert out.bits == 16
    assert_same_colours(source, out)


def test_transparent_video_to_pictures(clip, tmp_path):
    path = clip("in.mov", codec="png", pix_fmt="rgba", frames=2)
    upscale(path, tmp_path / "out")
    source, out = describe(path), describe(tmp_path / "out")
    assert out.alpha
    assert np.abs(out.patches - source.patches).max() <= 2


def test_deep_video_to_a_pipe(clip, tmp_path):
    path = clip("in.mkv", codec="ffv1", pix_fmt="yuv420p10le", frames=3)
    done = subprocess.run(
        command(path, "-o", "-", "--model", FAST, "--scale", "2"),
        capture_output=True,
        timeout=60,
        env=environment(),
        check=True,
    )
    (tmp_path / "a.y4m").write_bytes(done.stdout)
    out = describe(tmp_path / "a.y4m")
    assert out.numbers == [0, 1, 2]
    assert out.bits == 10


def test_one_command_feeds_another(clip, tmp_path):
    path = clip(frames=5)
    first = subprocess.Popen(
        command(path, "-o", "-", "--model", FAST, "--scale", "2"),
        stdout=subprocess.PIPE,
        env=environment(),
    )
    second = subprocess.run(
        command("-", "-o", tmp_path / "out.mkv", "--model", FAST, "--scale", "2"),
        stdin=first.stdout,
        capture_output=True,
        timeout=60,
        env=environment(),
        check=False,
    )
    assert first.stdout is not None
    first.stdout.close()
    assert first.wait(30) == 0
    assert second.returncode == 0, second.stderr
    out = describe(tmp_path / "out.mkv")
    assert out.numbers == list(range(5))
    assert out.size == (256, 192)


# ---- pipes in


def test_mp4_from_a_pipe(clip, tmp_path):
    ready = clip(frames=5, container_options={"movflags": "faststart"})
    ran = run("-", "-o", tmp_path / "a.mp4", "--model", FAST, "--scale", "2",
              input=ready.read_bytes())  # fmt: skip
    assert ran.code == 0, ran.err
    assert describe(tmp_path / "a.mp4").numbers == list(range(5))


def test_mp4_with_its_index_at_the_end_from_a_pipe(clip, tmp_path):
    # 40 frames of noise would be needed to pass FFmpeg's buffer; either answer will do
    ran = run("-", "-o", tmp_path / "a.mp4", "--model", FAST, "--scale", "2",
              input=clip(frames=5).read_bytes())  # fmt: skip
    if ran.code == 0:
        assert describe(tmp_path / "a.mp4").numbers == list(range(5))
    else:
        assert ran.code == 1
        assert "Traceback" not in ran.err
        assert not (tmp_path / "a.mp4").exists()


@pytest.mark.parametrize(
    "data",
    [b"", b"YUV4MPEG2 W48 H32\n", b"YUV4MPEG2 garbage\n", b"\0" * 500, b"text\n"],
)
def test_rubbish_from_a_pipe(tmp_path, data):
    ran = run("-", "-o", tmp_path / "a.mp4", "--model", FAST, input=data)
    assert ran.code == 1, ran.err
    assert "Traceback" not in ran.err
    assert "unexpected" not in ran.err
    assert leftovers(tmp_path) == []


def test_a_pipe_that_ends_inside_a_frame(tmp_path):
    data = y4m_bytes(frames=6)
    ran = run("-", "-o", tmp_path / "a.mp4", "--model", FAST, "--json",
              input=data[: len(data) - 700])  # fmt: skip
    if ran.code:
        assert "Traceback" not in ran.err
    else:
        # FFmpeg takes half a frame for the end, so nothing can be said about it
        assert describe(tmp_path / "a.mp4").numbers == list(range(5))


# ---- networks, tiles, memory


def test_a_network_answers_the_same_in_chunks(clip, tmp_path):
    path = clip("in.mkv", frames=9, size=(40, 32), scenes=(4,))
    for name, chunk in (("whole", None), ("parts", 2)):
        upscale(path, tmp_path / f"{name}.mkv", model="ditn-s", scale=None,
                codec="ffv1", chunk_frames=chunk)  # fmt: skip
    whole = describe(tmp_path / "whole.mkv")
    assert whole.numbers == list(range(9))
    assert_same_pictures(whole, describe(tmp_path / "parts.mkv"))


@pytest.mark.parametrize("size", [(17, 16), (41, 19), (33, 47)])
def test_a_network_takes_any_size(clip, tmp_path, size):
    path = clip("in.mkv", frames=2, size=size, codec="ffv1")
    source, out = both(path, tmp_path / "out.mkv", model="ditn-s", scale=None)
    assert out.size == (size[0] * 4, size[1] * 4)
    assert out.numbers == source.numbers


def test_tiles_hardly_show(tmp_path):
    # a budget so small that the picture is cut into tiles, against one without
    for name, memory in (("whole", None), ("tiles", "200MiB")):
        upscale(DEMO, tmp_path / f"{name}.mkv", model="ditn-s", scale=None,
                codec="ffv1", duration=0.05, memory=memory)  # fmt: skip
    whole, tiles = describe(tmp_path / "whole.mkv"), describe(tmp_path / "tiles.mkv")
    for a, b in zip(whole.frames, tiles.frames, strict=True):
        error = np.abs(a.image - b.image)
        assert error.mean() < 0.6 / 255
        assert np.quantile(error, 0.999) < 8 / 255


def test_memory_does_not_grow_with_length(clip, tmp_path):
    peaks = []
    for frames in (30, 300):
        path = clip(f"{frames}.mp4", frames=frames, size=(64, 64))
        ran = run(path, "-o", tmp_path / f"o{frames}.mp4", "--model", FAST, "--json",
                  "--chunk-frames", "24")  # fmt: skip
        assert ran.code == 0, ran.err
        peaks.append(ran.done["peak_rss_mb"])
    assert peaks[1] - peaks[0] < 25, peaks


def test_the_same_bytes_each_time(tmp_path):
    # x264's macroblock tree is not reproducible on some machines: a resumed run would
    # differ from an uninterrupted one
    seen = set()
    for _ in range(8):
        upscale(DEMO, tmp_path / "out.mkv", scale=1, overwrite=True)
        images = (f.image for f in describe(tmp_path / "out.mkv").frames)
        seen.add(hashlib.sha256(b"".join(i.tobytes() for i in images)).hexdigest())
    assert len(seen) == 1


def test_the_demo_clip(tmp_path):
    report = upscale(DEMO, tmp_path / "out.mp4", model="ditn-s", scale=None,
                     duration=0.25)  # fmt: skip
    out = describe(tmp_path / "out.mp4")
    assert len(out.frames) == 6
    assert out.size == (720, 576)
    assert out.sar == Fraction(16, 15)
    assert report.warnings == []
    source = describe(DEMO)
    small = np.stack([f.image for f in source.frames[:6]])
    large = np.stack([f.image for f in out.frames])
    boxed = large.reshape(6, 144, 4, 180, 4, 3).mean(axis=(2, 4))
    assert np.abs(boxed - small).mean() < 4 / 255


# ---- people


def test_ctrl_c_twice(clip, tmp_path):
    path = clip(frames=200, size=(160, 120))
    process = subprocess.Popen(
        command(path, "-o", tmp_path / "out.mp4", "--model", FAST),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    work = tmp_path / ".out.mp4.upframe"
    while not work.exists() and process.poll() is None:
        time.sleep(0.005)
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    _, err = process.communicate(timeout=30)
    # -2: the last one came while Python was closing down; a shell calls that 130 too
    assert process.returncode in (130, -signal.SIGINT), err
    assert b"Traceback" not in err
    assert not (tmp_path / "out.mp4").exists()


def test_progress_is_reported(clip, tmp_path):
    import upframe

    seen = []
    upframe.upscale(clip(frames=9), tmp_path / "out.mp4", model=FAST, scale=2,
                    progress=seen.append)  # fmt: skip
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert seen[-1].done == 9
    assert seen[-1].total in (9, None)


def test_an_error_in_the_callers_progress_is_not_swallowed(clip, tmp_path):
    def fail(_):
        raise RuntimeError("the caller's own")

    with pytest.raises(RuntimeError, match="the caller's own"):
        upscale(clip(frames=9), tmp_path / "out.mp4", progress=fail)
    assert not (tmp_path / "out.mp4").exists()
    assert upscale(clip(frames=9), tmp_path / "out.mp4", fresh=True).frames_out == 9


def test_a_link_as_output_is_not_followed_into_a_loop(clip, tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "link.mp4").symlink_to(tmp_path / "far" / "real.mp4")
    upscale(clip(frames=3), tmp_path / "link.mp4")
    assert describe(tmp_path / "link.mp4").numbers == [0, 1, 2]


def test_json_of_warnings_is_plain(clip, tmp_path):
    path = clip('ünï "q".mkv', frames=2)
    ran = run(path, "-o", tmp_path / "öut.mp4", "--model", FAST, "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out.splitlines()[-1])["output"].endswith("öut.mp4")


def test_python_threads_may_run_at_once(clip, tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    path = clip(frames=10)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda i: upscale(path, tmp_path / f"{i}.mp4"), range(3)))
    for i in range(3):
        assert describe(tmp_path / f"{i}.mp4").numbers == list(range(10))


def test_a_module_that_is_spawned_again(tmp_path, clip):
    # no code runs at import: `python -c "import upframe.cli.main"` prints nothing
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import upframe.cli.main"],
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_folder_with_gaps_in_its_numbers(tmp_path):
    folder = write_images(tmp_path / "in", frames=5, name=lambda i: f"{i * i:04d}.png")
    upscale(folder, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(
        p.name for p in folder.iterdir()
    )
    assert describe(tmp_path / "out").numbers == list(range(5))
