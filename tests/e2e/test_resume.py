"""Killed, stopped and repeated runs end in the file of an uninterrupted one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from fractions import Fraction

import pytest

from e2e_support import (
    FAST,
    assert_same_pictures,
    command,
    environment,
    leftovers,
    run,
    upscale,
)
from media_factory import Audio, describe, write_clip, write_images

CHUNK = 4
FRAMES = 40


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A movie, large enough for a run to take a moment, and its uninterrupted run."""
    folder = tmp_path_factory.mktemp("shelf")
    movie = write_clip(
        folder / "in.mp4",
        frames=FRAMES,
        size=(128, 96),
        audio=[Audio()],
        scenes=(13,),
    )
    upscale(movie, folder / "out.mp4", scale=4, chunk_frames=CHUNK, threads=1)
    return movie, describe(folder / "out.mp4")


@pytest.fixture
def movie(shelf):
    return shelf[0]


@pytest.fixture
def reference(shelf):
    return shelf[1]


def arguments(movie, target, *more):
    return command(
        movie, "-o", target, "--model", FAST, "--scale", "4", "--chunk-frames", CHUNK,
        *more,
    )  # fmt: skip


def start(*parts):
    return subprocess.Popen(
        *parts,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )


def work_folder(target):
    return target.parent / f".{target.name}.upframe"


def chunks_done(target):
    journal = work_folder(target) / "journal.jsonl"
    return len(journal.read_text().splitlines()) if journal.exists() else 0


def wait_for(process, condition, seconds=60):
    """True when the condition came before the process ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.002)
    raise AssertionError("nothing happened")


def finish(movie, target, *more):
    done = subprocess.run(
        arguments(movie, target, "--json", *more),
        capture_output=True, timeout=120, env=environment(), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("at", [0, 1, 4, 9])
def test_killed_and_repeated(movie, reference, tmp_path, at):
    box = tmp_path / "box"
    box.mkdir()
    target = box / "out.mp4"
    process = start(arguments(movie, target))
    killed = wait_for(
        process,
        lambda: work_folder(target).exists() and chunks_done(target) >= at,
    )
    process.kill()
    process.communicate()
    assert killed
    assert not target.exists()
    assert leftovers(box) == [work_folder(target).name]
    kept = chunks_done(target)
    event = finish(movie, target)
    assert event["frames_out"] == FRAMES
    if kept:
        assert any("earlier" in w for w in event["warnings"])
    assert leftovers(box) == ["out.mp4"]
    out = describe(target)
    assert_same_pictures(out, reference)
    assert out.audio[0].hashes == reference.audio[0].hashes
    assert out.audio[0].times == reference.audio[0].times


def test_killed_again_and_again(movie, reference, tmp_path):
    target = tmp_path / "out.mp4"
    for at in (1, 3, 6, 8):
        process = start(arguments(movie, target))
        wait_for(process, lambda at=at: chunks_done(target) >= at)
        process.kill()
        process.communicate()
    finish(movie, target)
    assert_same_pictures(describe(target), reference)


def test_killed_at_any_time(movie, reference, tmp_path):
    # moments that no journal line marks: while opening, encoding, joining, renaming
    target = tmp_path / "out.mp4"
    began = time.monotonic()
    process = start(arguments(movie, target))
    process.communicate(timeout=120)
    whole = time.monotonic() - began
    for part in (0.35, 0.6, 0.8, 0.92):
        target.unlink(missing_ok=True)
        process = start(arguments(movie, target))
        time.sleep(whole * part)
        process.kill()
        process.communicate()
        if not target.exists():
            finish(movie, target)
        elif work_folder(target).exists():
            # killed between naming the finished file and removing the work folder:
            # the file is whole already, and -y tidies up
            assert_same_pictures(describe(target), reference)
            finish(movie, target, "-y")
        assert_same_pictures(describe(target), reference)
        assert not work_folder(target).exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_and_repeated(movie, reference, tmp_path, number):
    target = tmp_path / "out.mp4"
    process = start(arguments(movie, target))
    assert wait_for(process, lambda: chunks_done(target) >= 2)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in err
    assert b"goes on" in err or b"continue" in err or b"resume" in err
    assert not target.exists()
    kept = chunks_done(target)
    assert kept >= 2
    event = finish(movie, target)
    assert any("earlier" in w for w in event["warnings"])
    assert_same_pictures(describe(target), reference)


def test_interrupted_before_anything_was_done(movie, tmp_path):
    box = tmp_path / "box"
    box.mkdir()
    process = start(arguments(movie, box / "out.mp4", "--chunk-frames", "400"))
    assert wait_for(process, lambda: work_folder(box / "out.mp4").exists())
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert b"Traceback" not in err
    assert not (box / "out.mp4").exists()


def _half_done(movie, target, at=3):
    process = start(arguments(movie, target))
    assert wait_for(process, lambda: chunks_done(target) >= at)
    process.kill()
    process.communicate()


@pytest.mark.parametrize(
    "changed",
    [
        ("--scale", "3"),
        ("--model", "lanczos"),
        ("--crf", "30"),
        ("-c:v", "hevc"),
        ("-e", "tune=film"),
        ("--duration", "1"),
    ],
)
def test_other_options_are_refused_with_the_reason(movie, tmp_path, changed):
    target = tmp_path / "out.mp4"
    _half_done(movie, target)
    before = chunks_done(target)
    done = subprocess.run(
        arguments(movie, target, *changed),
        capture_output=True, timeout=60, env=environment(), check=False,
    )  # fmt: skip
    message = done.stderr.decode()
    assert done.returncode == 1, message
    assert "--fresh" in message
    assert "Traceback" not in message
    assert not target.exists()
    assert chunks_done(target) == before


def test_another_input_is_refused(clip, tmp_path):
    target = tmp_path / "out.mp4"
    movie = clip(frames=FRAMES, size=(128, 96))
    _half_done(movie, target)
    clip(frames=FRAMES, size=(128, 96), scenes=(20,))  # under the same name
    done = subprocess.run(
        arguments(movie, target),
        capture_output=True,
        timeout=60,
        env=environment(),
        check=False,
    )
    assert done.returncode == 1
    assert b"input" in done.stderr
    assert b"--fresh" in done.stderr


def test_fresh_starts_over(movie, reference, tmp_path):
    target = tmp_path / "out.mp4"
    _half_done(movie, target)
    event = finish(movie, target, "--fresh")
    assert not any("earlier" in w for w in event["warnings"])
    assert_same_pictures(describe(target), reference)
    assert not work_folder(target).exists()


def test_fresh_with_other_options(movie, tmp_path):
    target = tmp_path / "out.mp4"
    _half_done(movie, target)
    finish(movie, target, "--fresh", "--scale", "2")
    out = describe(target)
    assert out.size == (256, 192)
    assert out.numbers == list(range(FRAMES))


def test_a_damaged_chunk_is_made_again(movie, reference, tmp_path):
    target = tmp_path / "out.mp4"
    _half_done(movie, target, at=5)
    chunks = sorted(work_folder(target).glob("chunk-*.mkv"))
    data = bytearray(chunks[1].read_bytes())
    data[len(data) // 2] ^= 0xFF
    chunks[1].write_bytes(bytes(data))
    chunks[0].unlink()
    chunks[2].write_bytes(chunks[2].read_bytes()[:100])
    finish(movie, target)
    assert_same_pictures(describe(target), reference)


def test_a_damaged_journal_is_survived(movie, reference, tmp_path):
    target = tmp_path / "out.mp4"
    _half_done(movie, target, at=5)
    journal = work_folder(target) / "journal.jsonl"
    with journal.open("a") as file:
        file.write('{"chunk": 99, "sta')  # the line being written at a power cut
    finish(movie, target)
    assert_same_pictures(describe(target), reference)


def test_a_damaged_plan_is_survived(movie, reference, tmp_path):
    target = tmp_path / "out.mp4"
    _half_done(movie, target)
    (work_folder(target) / "plan.json").write_text('{"finger')
    finish(movie, target)
    assert_same_pictures(describe(target), reference)


def test_two_runs_at_once(movie, reference, tmp_path):
    target = tmp_path / "out.mp4"
    first = start(arguments(movie, target))
    assert wait_for(first, lambda: chunks_done(target) >= 1)
    os.kill(first.pid, signal.SIGSTOP)
    try:
        for more in ((), ("--fresh",), ("-y",)):
            second = subprocess.run(
                arguments(movie, target, *more),
                capture_output=True, timeout=60, env=environment(), check=False,
            )  # fmt: skip
            assert second.returncode == 1
            assert b"another" in second.stderr.lower()
            assert b"Traceback" not in second.stderr
    finally:
        os.kill(first.pid, signal.SIGCONT)
    first.communicate(timeout=120)
    assert first.returncode == 0
    assert_same_pictures(describe(target), reference)


def test_replacing_keeps_the_old_file_until_the_new_is_whole(movie, tmp_path):
    target = tmp_path / "out.mp4"
    target.write_text("the old one")
    process = start(arguments(movie, target, "-y"))
    assert wait_for(process, lambda: chunks_done(target) >= 3)
    process.kill()
    process.communicate()
    assert target.read_text() == "the old one"
    finish(movie, target, "-y")
    assert describe(target).numbers == list(range(FRAMES))


def test_pictures_resume_too(clip, tmp_path):
    movie = clip(frames=24, size=(64, 48))
    box = tmp_path / "box"
    box.mkdir()
    target = box / "frames"
    process = start(arguments(movie, target))
    assert wait_for(process, lambda: chunks_done(target) >= 2)
    process.kill()
    process.communicate()
    assert not target.exists()
    finish(movie, target)
    upscale(movie, box / "whole", scale=4)
    assert leftovers(box) == ["frames", "whole"]
    assert_same_pictures(describe(target), describe(box / "whole"))


def test_a_folder_of_pictures_resumes(tmp_path):
    folder = write_images(tmp_path / "in", frames=30, size=(96, 64))
    target = tmp_path / "out.mkv"
    process = start(arguments(folder, target))
    assert wait_for(process, lambda: chunks_done(target) >= 2)
    process.kill()
    process.communicate()
    event = finish(folder, target)
    assert event["frames_out"] == 30
    assert describe(target).numbers == list(range(30))


def test_variable_frame_rate_resumes_exactly(clip, tmp_path):
    pts = [i * 40 + (i * i) % 17 for i in range(30)]
    movie = clip("in.mkv", pts=pts, time_base=Fraction(1, 1000), size=(96, 64))
    target = tmp_path / "out.mkv"
    process = start(arguments(movie, target))
    assert wait_for(process, lambda: chunks_done(target) >= 3)
    process.kill()
    process.communicate()
    finish(movie, target)
    out = describe(target)
    assert out.numbers == list(range(30))
    assert out.times == [Fraction(p, 1000) for p in pts]


def test_a_network_resumes_to_the_same_frames(clip, tmp_path):
    movie = clip(frames=18, size=(48, 32), scenes=(7,))
    whole, target = tmp_path / "whole.mkv", tmp_path / "out.mkv"
    upscale(movie, whole, model="ditn-s", scale=None, chunk_frames=3, codec="ffv1",
            threads=1)  # fmt: skip
    parts = command(
        movie, "-o", target, "--model", "ditn-s", "--chunk-frames", "3",
        "-c:v", "ffv1", "--threads", "1",
    )  # fmt: skip
    process = start(parts)
    assert wait_for(process, lambda: chunks_done(target) >= 2)
    process.kill()
    process.communicate()
    ran = run(*parts[3:])
    assert ran.code == 0, ran.err
    assert_same_pictures(describe(target), describe(whole))


def test_a_work_folder_of_a_stranger_is_not_trusted(movie, reference, tmp_path):
    target = tmp_path / "out.mp4"
    folder = work_folder(target)
    folder.mkdir()
    (folder / "chunk-000000.mkv").write_bytes(b"rubbish")
    (folder / "journal.jsonl").write_text("[]\n{}\nnull\n")
    finish(movie, target)
    assert_same_pictures(describe(target), reference)
    shutil.rmtree(folder, ignore_errors=True)
