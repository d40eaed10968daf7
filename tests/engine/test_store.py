"""The work folder: what survives, what is refused."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest

from upframe.engine.fingerprints import sha256_of
from upframe.engine.store import ChunkRecord, Store
from upframe.engine.unfinished import Unfinished, peek
from upframe.errors import OutputError, ResumeError
from upframe.runtimes.choice import Fallback

PRINT = {"input": 1, "crf": 16}


def open_store(output: Path, fingerprint=PRINT, settings=None, *, fresh=False):
    store = Store(output, fingerprint, settings or {"n": 1}, fresh=fresh)
    return contextlib.closing(store)


def finish_chunk(store: Store, number: int, state=None, **more) -> ChunkRecord:
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
        **more,
    )
    store.record(done, state)
    return done


def test_finished_chunks_and_settings_come_back(tmp_path):
    with open_store(tmp_path / "o.mp4") as store:
        chunks = [finish_chunk(store, k) for k in range(3)]
    with open_store(tmp_path / "o.mp4") as store:
        assert [store.done[k] for k in range(3)] == chunks
        assert store.resumed == 15


def test_an_unfinished_run_can_be_looked_at_before_the_plan_is_made(tmp_path):
    output = tmp_path / "o.mp4"
    settings = {"chunk_length": 48, "tile": [64, 32]}
    assert peek(output, PRINT) is None
    fallback = Fallback("precision", "fp16", "fp32", "NaN.", 7)
    with open_store(output, settings=settings) as store:
        finish_chunk(store, 0)
        finish_chunk(store, 1, fallbacks=(fallback.to_json(),))
        before = sorted(store.folder.iterdir())
    assert peek(output, PRINT) == Unfinished(48, (64, 32), (fallback,))
    assert peek(output, {"input": 2}) is None
    assert sorted(store.folder.iterdir()) == before
    with pytest.raises(ResumeError, match=r"other chunks or tiles.*--fresh"):
        open_store(output, settings={"chunk_length": 24, "tile": [64, 32]})


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"fingerprint": 1}', '{"fingerprint": {}, "settings": 3}']
)
def test_a_damaged_plan_is_no_unfinished_run(tmp_path, text):
    with open_store(tmp_path / "o.mp4") as store:
        finish_chunk(store, 0)
        (store.folder / "plan.json").write_text(text)
    assert peek(tmp_path / "o.mp4", PRINT) is None


def test_a_journal_of_version_0_1_is_read(tmp_path):
    """Its lines have neither fallbacks nor, where nothing was carried, a state."""
    with open_store(tmp_path / "o.mp4") as store:
        done = finish_chunk(store, 0)
        log = store.folder / "journal.jsonl"
        values = json.loads(log.read_text())
        assert "fallbacks" not in values
        del values["state"]
        log.write_text(json.dumps(values) + "\n")
    with open_store(tmp_path / "o.mp4") as store:
        assert store.done == {0: done}


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (
            {"input": {"bytes": 1}},
            {"input": {"bytes": 2}},
            r"the input changed\. Add --f",
        ),
        ({"weights": "a"}, {"weights": "b"}, r"the weights changed\. Add --fresh"),
        ({"crf": 1}, {"crf": 2}, r"crf was 1, now 2\. Repeat that command"),
    ],
)
def test_advice_on_another_run_can_be_followed(tmp_path, before, after, words):
    with open_store(tmp_path / "o.mp4", before) as store:
        finish_chunk(store, 0)
    with pytest.raises(ResumeError, match=words) as caught:
        open_store(tmp_path / "o.mp4", after)
    assert "{" not in caught.value.message


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
