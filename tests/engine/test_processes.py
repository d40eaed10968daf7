"""Chunks in processes of their own: the same file, whatever dies on the way."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from e2e_support import FAST, assert_complains, environment, run
from media_factory import Audio, write_clip
from upframe.engine.backends import local, processes
from upframe.engine.driver import SceneChunker
from upframe.engine.finish import finish
from upframe.engine.options import Options
from upframe.engine.prepare import prepare
from upframe.engine.store import ChunkStore
from upframe.engine.tasks import ChunkTask, run_spec, survey_tasks
from upframe.engine.worker import open_run, run_chunk
from upframe.errors import InputError, Interrupted, ResumeError, RuntimeFailure

FRAMES, CHUNK = 90, 8
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    return write_clip(
        tmp_path_factory.mktemp("movie") / "in.mp4",
        frames=FRAMES,
        size=(96, 64),
        options={"g": "12", "bf": "2"},
        scenes=(29, 61),
        audio=[Audio()],
    )


def job_of(movie, target, **more):
    chosen = {"model": FAST, "scale": 2, "chunk_frames": CHUNK, "threads": 1}
    return prepare(str(movie), str(target), Options(**{**chosen, **more}))


@pytest.fixture(scope="module")
def whole(movie, tmp_path_factory):
    target = tmp_path_factory.mktemp("whole") / "out.mp4"
    report = local.run(job_of(movie, target))
    assert report.frames_out == FRAMES
    return target.read_bytes()


def surveyed(movie, target, **more):
    """A job with its store and tasks, as another process would get them."""
    job = job_of(movie, target, **more)
    store = job.open_store()
    chunker = SceneChunker(job.plan.chunk_length, job.plan.context)
    tasks = survey_tasks(job, chunker, run_spec(job, 1), ())
    tasks = [ChunkTask.from_json(task.to_json()) for task in tasks]
    assert len(tasks) >= FRAMES / CHUNK
    assert max(len(task.to_json()) for task in tasks) < 6000
    return job, store, tasks


def test_tasks_in_any_order_give_the_file_of_the_pipeline(movie, whole, tmp_path):
    target = tmp_path / "out.mp4"
    job, store, tasks = surveyed(movie, target)
    chunks = ChunkStore(store.folder)
    with contextlib.closing(open_run(tasks[0].run)) as run:
        for task in reversed(tasks):
            assert run_chunk(task, chunks, run=run).chunk == task.chunk.index
            store.take(task.chunk.index)
    finish(job, store)
    store.remove()
    store.close()
    job.close()
    assert target.read_bytes() == whole


def test_a_task_done_twice_changes_nothing(movie, tmp_path):
    job, store, tasks = surveyed(movie, tmp_path / "out.mp4")
    chunks = ChunkStore(store.folder)
    first = run_chunk(tasks[3], chunks)
    before = {p.name: p.stat().st_mtime_ns for p in store.folder.iterdir()}
    frames = []
    assert run_chunk(tasks[3], chunks, progress=lambda: frames.append(1)) == first
    assert not frames
    assert before == {p.name: p.stat().st_mtime_ns for p in store.folder.iterdir()}
    store.close()
    job.close()


def test_a_cancelled_task_leaves_nothing(movie, tmp_path):
    job, store, tasks = surveyed(movie, tmp_path / "out.mp4")
    chunks, frames = ChunkStore(store.folder), []
    with pytest.raises(Interrupted):
        run_chunk(
            tasks[3],
            chunks,
            progress=lambda: frames.append(1),
            cancelled=lambda: len(frames) >= 3,
        )
    assert 3 <= len(frames) < CHUNK
    assert not [p for p in store.folder.iterdir() if "chunk" in p.name]
    store.close()
    job.close()


def test_other_frames_than_those_of_the_survey_are_an_error(movie, tmp_path):
    job, store, tasks = surveyed(movie, tmp_path / "out.mp4")
    chunks = ChunkStore(store.folder)
    with pytest.raises(InputError, match="Frame"):
        run_chunk(replace(tasks[3], check=1), chunks)
    shifted = tuple(pts + 1 for pts in tasks[3].pts)
    with pytest.raises(InputError, match="Frame"):
        run_chunk(replace(tasks[3], pts=shifted), chunks)
    spec = replace(
        tasks[3].run, fingerprint={**tasks[3].run.fingerprint, "weights": "other"}
    )
    with pytest.raises(ResumeError, match="weights"):
        run_chunk(replace(tasks[3], run=spec), chunks)
    store.close()
    job.close()


def test_two_processes_give_the_same_file(movie, whole, tmp_path):
    target, seen = tmp_path / "out.mp4", []
    report = processes.run(job_of(movie, target), 2, seen.append)
    assert target.read_bytes() == whole
    assert (report.frames_in, report.frames_out) == (FRAMES, FRAMES)
    assert report.runtime
    assert seen[-1].done == FRAMES
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]


def children(parent):
    """Processes that a process has started."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit():
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == parent and fields[0] != "Z":
                    found.append(int(folder.name))
    return found


@linux
def test_a_worker_that_is_killed_is_replaced(movie, whole, tmp_path):
    target, killed = tmp_path / "out.mp4", []

    def kill(progress):
        if not killed and progress.done > 10:
            killed.append(children(os.getpid())[0])
            os.kill(killed[0], signal.SIGKILL)

    report = processes.run(job_of(movie, target), 2, kill)
    assert killed
    assert report.frames_out == FRAMES
    assert target.read_bytes() == whole


def test_workers_that_always_die_are_an_error(movie, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeFailure, match="ended 3 times") as caught:
        processes.run(job_of(movie, tmp_path / "out.mp4"), 2)
    assert "--jobs" in caught.value.advice


def test_an_error_of_a_worker_arrives(movie, tmp_path, monkeypatch):
    def other(*arguments):
        spec = run_spec(*arguments)
        return replace(spec, fingerprint={**spec.fingerprint, "weights": "other"})

    monkeypatch.setattr(processes, "run_spec", other)
    with pytest.raises(ResumeError, match="weights"):
        processes.run(job_of(movie, tmp_path / "out.mp4"), 2)


PROGRAM = """
import sys
from upframe.engine.backends import processes
from upframe.engine.options import Options
from upframe.engine.prepare import prepare
options = Options(model=sys.argv[3], scale=2, chunk_frames=8, threads=1)
processes.run(prepare(sys.argv[1], sys.argv[2], options), 2)
"""


@linux
@pytest.mark.parametrize("with_signal", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_its_parent(movie, whole, tmp_path, with_signal):
    target = tmp_path / "out.mp4"
    journal = tmp_path / ".out.mp4.upframe" / "journal.jsonl"
    parent = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(movie), str(target), FAST],
        env=environment(),
        stderr=subprocess.PIPE,
    )
    while not (journal.exists() and journal.read_text().count("\n") >= 2):
        assert parent.poll() is None
        time.sleep(0.002)
    workers = children(parent.pid)
    parent.send_signal(with_signal)
    parent.communicate(timeout=30)
    if target.exists():
        pytest.skip("it was done before the signal came")
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}/cmdline").exists() for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    if with_signal == signal.SIGINT:
        assert not list(journal.parent.glob("now-*"))
    report = local.run(job_of(movie, target))
    assert any("earlier" in text for text in report.warnings)
    assert target.read_bytes() == whole


def test_the_option_jobs(movie, whole, tmp_path):
    target = tmp_path / "out.mp4"
    ran = run(
        movie, "-o", target, "--model", FAST, "--scale", 2, "--chunk-frames", CHUNK,
        "--threads", 2, "--jobs", 2, "--json",
    )  # fmt: skip
    assert ran.code == 0, ran
    assert target.read_bytes() == whole
    ran = run(movie, "-o", "-", "--model", FAST, "--jobs", 2)
    assert_complains(ran, "--jobs", code=2)
    ran = run(movie, "-o", target, "-y", "--model", FAST, "--jobs", 0)
    assert_complains(ran, "--jobs", code=2)
