"""The work folder: what survives, what is refused."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

from upframe.engine.store import ChunkRecord, Store, sha256_of
from upframe.errors import OutputError, ResumeError

PRINT = {"input": 1, "crf": 16}


def open_store(output: Path, fingerprint=PRINT, settings=None, *, fresh=False):
    store = Store(output, fingerprint, settings or {"n": 1}, fresh=fresh)
    return contextlib.closing(store)


def finish_chunk(store: Store, number: int, state=None) -> ChunkRecord:
    path = store.folder / f"chunk-{number:06d}.mkv"
    path.write_bytes(bytes([number]) * 10)
    done = ChunkRecord(
        chunk=number,
        start=number * 5,
        stop=number * 5 + 5,
        file=path.name,
        bytes=10,
        sha256=sha256_of(path),
        pts=tuple(range(number * 5, number * 5 + 5)),
        last_duration=1,
    )
    store.record(done, state)
    return done


def test_finished_chunks_and_settings_come_back(tmp_path):
    with open_store(tmp_path / "o.mp4") as store:
        chunks = [finish_chunk(store, k) for k in range(3)]
    with open_store(tmp_path / "o.mp4", settings={"n": 2}) as store:
        assert [store.done[k] for k in range(3)] == chunks
        assert store.resumed == 15
        assert store.settings == {"n": 1}


def test_a_run_without_a_finished_chunk_leaves_nothing(tmp_path):
    with open_store(tmp_path / "o.mp4") as store:
        assert store.folder.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_or_missing_chunk_does_not_count(tmp_path):
    with open_store(tmp_path / "o.mp4") as store:
        for number in range(3):
            finish_chunk(store, number)
        folder = store.folder
    (folder / "chunk-000000.mkv").unlink()
    (folder / "chunk-000001.mkv").write_bytes(b"x" * 10)
    with open_store(tmp_path / "o.mp4") as store:
        assert set(store.done) == {2}


def test_a_line_cut_short_by_a_power_cut_is_passed_over(tmp_path):
    with open_store(tmp_path / "o.mp4") as store:
        for number in range(2):
            finish_chunk(store, number)
        log = store.folder / "journal.jsonl"
    log.write_text(log.read_text()[:-30])
    with open_store(tmp_path / "o.mp4") as store:
        assert set(store.done) == {0}


def test_other_options_are_refused_and_named(tmp_path):
    with open_store(tmp_path / "o.mp4") as store:
        finish_chunk(store, 0)
    with pytest.raises(ResumeError, match=r"crf was 16, now 20.*--fresh"):
        open_store(tmp_path / "o.mp4", {"input": 1, "crf": 20})
    with open_store(tmp_path / "o.mp4") as store:
        assert set(store.done) == {0}
    with open_store(tmp_path / "o.mp4", {"input": 2}, fresh=True) as store:
        assert not store.done


def test_a_run_of_another_version_says_which_one_finishes_it(tmp_path):
    with open_store(tmp_path / "o.mp4", {"upframe": "0.1.0", "chunking": 1}) as store:
        finish_chunk(store, 0)
    with pytest.raises(ResumeError) as caught:
        open_store(tmp_path / "o.mp4", {"upframe": "0.2.0", "size": [8, 8]})
    assert "upframe 0.1.0 began the unfinished run" in caught.value.message
    assert "pip install upframe==0.1.0" in caught.value.advice
    assert "--fresh" in caught.value.advice


def test_two_at_once_are_refused(tmp_path):
    with (
        open_store(tmp_path / "o.mp4"),
        pytest.raises(OutputError, match="Another upframe"),
    ):
        open_store(tmp_path / "o.mp4")


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written"):
        open_store(tmp_path / "file" / "o.mp4")


def cache(number: int) -> dict[str, np.ndarray]:
    return {"cache.0": np.full((2, 3), number, np.float32), "index": np.array(number)}


def test_what_the_last_chunk_leaves_is_kept_and_no_more(tmp_path):
    with open_store(tmp_path / "o.mp4") as store:
        for number in range(3):
            finish_chunk(store, number, cache(number))
        folder = store.folder
    assert [path.name for path in folder.glob("*.npz")] == ["chunk-000002.npz"]
    with open_store(tmp_path / "o.mp4") as store:
        assert set(store.done) == {0, 1, 2}
        left = store.state(2)
    assert set(left) == {"cache.0", "index"}
    for name, value in cache(2).items():
        assert np.array_equal(left[name], value)
        assert left[name].dtype == value.dtype


def test_chunks_that_leave_nothing_leave_no_file(tmp_path):
    with open_store(tmp_path / "o.mp4") as store:
        finish_chunk(store, 0, {})
        assert store.state(0) == {}
        assert not list(store.folder.glob("*.npz"))


@pytest.mark.parametrize("damage", ["lost", "changed"])
def test_without_what_was_left_the_run_starts_over(tmp_path, damage):
    with open_store(tmp_path / "o.mp4") as store:
        for number in range(3):
            finish_chunk(store, number, cache(number))
        path = store.folder / "chunk-000002.npz"
    if damage == "lost":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    with open_store(tmp_path / "o.mp4") as store:
        assert store.done == {}


def test_a_chunk_that_nothing_leads_to_is_done_again_with_those_before(tmp_path):
    with open_store(tmp_path / "o.mp4") as store:
        for number in range(4):
            finish_chunk(store, number, cache(number))
        folder = store.folder
    (folder / "chunk-000002.mkv").unlink()
    with open_store(tmp_path / "o.mp4") as store:
        assert set(store.done) == {3}
    with open_store(tmp_path / "o.mp4") as store:
        for number in range(3):
            finish_chunk(store, number, cache(number))
    with open_store(tmp_path / "o.mp4") as store:
        assert set(store.done) == {0, 1, 2, 3}
