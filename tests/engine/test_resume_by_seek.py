"""A resumed run decodes what is left, not what is done."""

from __future__ import annotations

import json

import pytest

from e2e_support import FAST
from media_factory import describe, write_clip
from upframe.engine.backends import local
from upframe.engine.options import Options
from upframe.engine.prepare import prepare

FRAMES = 2000
CHUNK = 50


class Killed(BaseException):
    """Stands for the power going."""


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    return write_clip(
        tmp_path_factory.mktemp("long") / "in.mp4",
        frames=FRAMES,
        size=(48, 32),
        options={"g": "48", "bf": "3"},
        scenes=(333, 700, 1810),
    )


def job_of(movie, target, **more):
    chosen = {"model": FAST, "scale": 1, "chunk_frames": CHUNK, "threads": 1}
    return prepare(str(movie), str(target), Options(**{**chosen, **more}))


def journal(target):
    return target.parent / f".{target.name}.upframe" / "journal.jsonl"


def killed_at(movie, target, share, **more):
    def stop(progress):
        if progress.done >= share * FRAMES:
            raise Killed

    with pytest.raises(Killed):
        local.run(job_of(movie, target, **more), stop)


@pytest.fixture(scope="module")
def whole(movie, tmp_path_factory):
    target = tmp_path_factory.mktemp("whole") / "out.mp4"
    report = local.run(job_of(movie, target))
    assert report.frames_out == FRAMES
    return target


def test_killed_at_90_percent(movie, whole, tmp_path):
    target = tmp_path / "out.mp4"
    killed_at(movie, target, 0.9)
    done = [json.loads(line) for line in journal(target).read_text().splitlines()]
    finished = done[-1]["stop"]
    assert finished > 0.85 * FRAMES
    job = job_of(movie, target)
    report = local.run(job)
    assert (report.frames_in, report.frames_out) == (FRAMES, FRAMES)
    assert not any("again" in text for text in report.warnings)
    # the first frames tell colour and fields; then at most a margin and two GOPs
    assert job.source.decoded <= FRAMES - finished + 24 + 24 + 2 * 48 + CHUNK
    assert target.read_bytes() == whole.read_bytes()


def test_a_journal_of_an_older_version_resumes_from_the_start(movie, whole, tmp_path):
    target = tmp_path / "out.mp4"
    killed_at(movie, target, 0.3)
    lines = [json.loads(line) for line in journal(target).read_text().splitlines()]
    for line in lines:
        del line["resume"]
    journal(target).write_text("".join(json.dumps(line) + "\n" for line in lines))
    job = job_of(movie, target)
    report = local.run(job)
    assert job.source.decoded == FRAMES
    assert any("earlier" in text for text in report.warnings)
    assert target.read_bytes() == whole.read_bytes()


def test_what_cannot_be_sought_is_reported(tmp_path):
    movie = write_clip(tmp_path / "in.mkv", frames=400, options={"g": "9999"})
    target = tmp_path / "out.mp4"

    def stop(progress):
        if progress.done >= 380:
            raise Killed

    with pytest.raises(Killed):
        local.run(job_of(movie, target), stop)
    report = local.run(job_of(movie, target))
    assert report.frames_out == 400
    assert any("no keyframe" in text for text in report.warnings)
    assert [f.number for f in describe(target).frames] == list(range(400))


def count(read):
    def note(frame):
        read.append(frame.pts)
        return frame

    return note


def test_images_are_not_read_again(tmp_path, monkeypatch):
    frames = tmp_path / "frames"
    write_clip(tmp_path / "in.mkv", frames=60, codec="ffv1")
    local.run(job_of(tmp_path / "in.mkv", frames, chunk_frames=8))
    target = tmp_path / "again"

    def stop(progress):
        if progress.done >= 50:
            raise Killed

    with pytest.raises(Killed):
        local.run(job_of(frames, target, chunk_frames=8), stop)
    job = job_of(frames, target, chunk_frames=8)
    read = []
    images = type(job.source).__iter__
    monkeypatch.setattr(
        type(job.source), "__iter__", lambda self: map(count(read), images(self))
    )
    report = local.run(job)
    assert report.frames_in == 60
    assert len(read) < 30
    assert len(list(target.iterdir())) == 60
