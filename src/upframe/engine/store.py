"""The store: the work folder of a run, with what is done and what it was done from.

::

    .<output name>.upframe/
        lock            held while a process works on it
        plan.json       fingerprint: input, options, weights; and the chunk length
        journal.jsonl   one line for each finished chunk, synced to disk
        chunk-000000.mkv, ...
        chunk-000000.npz    carried state of the last finished chunk, if any

A chunk counts as done when its line is in the journal; its files were complete, synced
and renamed into place before the line was written. Everything else in the folder is
left over from a killed run and is overwritten. The carried state of a chunk is deleted
once the next one is done; so where a chunk turns out to be damaged, those that lead to
it are done again.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from upframe.engine.fingerprints import refuse_other, sha256_of
from upframe.engine.resume import ResumePoint
from upframe.errors import OutputError, ResumeError
from upframe.media.encoder import to_disk
from upframe.runtimes.base import State

if os.name == "nt":  # pragma: no cover - not run on this project's machines
    import msvcrt

    def _lock(file: IO[str]) -> None:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
else:
    import fcntl

    def _lock(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@dataclass(frozen=True)
class ChunkRecord:
    """One finished chunk."""

    chunk: int
    start: int
    """First frame."""
    stop: int
    """One past the last frame."""
    file: str
    """Name in the work folder."""
    bytes: int
    sha256: str
    """Of the file; empty for a folder of images."""
    pts: tuple[int, ...]
    """Timestamps of its frames in the source's time base."""
    last_duration: int
    """Duration of its last frame in the same unit; 0 unknown."""
    state: str = ""
    """SHA-256 of its carried state; empty if there is none."""
    resume: dict[str, Any] | None = None
    """A `ResumePoint` behind it; None where the next chunk can only be reached from
    the start of the video."""
    fallbacks: tuple[Mapping[str, Any], ...] = ()
    """What the runtime had fallen back to by its end; see `Fallback`."""


def folder_of(output: Path) -> Path:
    """The work folder of an output."""
    whole = output.absolute()
    return whole.parent / f".{whole.name}.upframe"


class ChunkStore:
    """The part of a work folder that any process may write: finished chunks.

    Unlike `Store` it holds no lock and keeps no journal: each chunk has a record file
    of its own, which appears whole. `Store.take` moves it into the journal.

    Args:
        folder: the work folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def record(self, done: ChunkRecord, state: State | None = None) -> None:
        """Record a finished chunk and its carried state; on disk when this returns."""
        done = _with_state(self.folder, done, state)
        path = self._path(done.chunk)
        temporary = path.with_name(f"now-{os.getpid()}-{path.name}")
        temporary.write_text(json.dumps(asdict(done)))
        to_disk(temporary)
        temporary.replace(path)

    def find(self, chunk: int) -> ChunkRecord | None:
        """The record of a chunk whose files are whole; None if there is none."""
        try:
            done = _parse(self._path(chunk).read_text())
        except FileNotFoundError:
            return None
        return done if done is not None and _is_whole(self.folder, done) else None

    def remove(self, chunk: int) -> None:
        """Delete the record file of a chunk."""
        self._path(chunk).unlink(missing_ok=True)

    def state(self, chunk: int, digest: str) -> State:
        """Carried state of a finished chunk.

        Args:
            chunk: its number.
            digest: SHA-256 of the state.

        Raises:
            ResumeError: it is missing or damaged.
        """
        if not _is_state(self.folder, chunk, digest):
            raise ResumeError(
                f"The carried state of chunk {chunk} in {self.folder} is missing or "
                "damaged.",
                "Run the same command again: that chunk is done again.",
            )
        return _load_state(self.folder, chunk)

    def _path(self, chunk: int) -> Path:
        return self.folder / f"chunk-{chunk:06d}.json"


def _state_path(folder: Path, chunk: int) -> Path:
    return folder / f"chunk-{chunk:06d}.npz"


def _load_state(folder: Path, chunk: int) -> State:
    with np.load(_state_path(folder, chunk), allow_pickle=False) as file:
        return dict(file)


def _is_state(folder: Path, chunk: int, digest: str) -> bool:
    """Whether the carried state of a chunk is there and whole."""
    path = _state_path(folder, chunk)
    return path.is_file() and sha256_of(path) == digest


def _with_state(folder: Path, done: ChunkRecord, state: State | None) -> ChunkRecord:
    """The record with the digest of its carried state, which is written."""
    if not state:
        return done
    path = _state_path(folder, done.chunk)
    temporary = path.with_name(f"now-{os.getpid()}-{path.name}")
    arrays: dict[str, Any] = dict(state)
    np.savez(temporary, **arrays)
    to_disk(temporary)
    temporary.replace(path)
    return replace(done, state=sha256_of(path))


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _parse(line: str) -> ChunkRecord | None:
    """A record; None for a line that was being written when the power went."""
    try:
        entry = ChunkRecord(**json.loads(line))
        pts, fallbacks = tuple(entry.pts), tuple(entry.fallbacks)
    except (json.JSONDecodeError, TypeError):
        return None
    return replace(entry, pts=pts, fallbacks=fallbacks)


def _is_whole(folder: Path, done: ChunkRecord) -> bool:
    """Whether the files of a chunk are as they were recorded."""
    path = folder / done.file
    if not done.sha256:
        return path.is_dir() and len(list(path.iterdir())) == len(done.pts)
    whole = path.is_file() and path.stat().st_size == done.bytes
    return whole and sha256_of(path) == done.sha256


class Store:
    """The work folder of one output; use it as a context manager.

    Args:
        output: the final file or folder.
        fingerprint: everything that decides what the frames look like.
        settings: chunk length and tile, which a resumed run keeps: see `peek`.
        fresh: delete an unfinished run instead of resuming it.

    Raises:
        ResumeError: an unfinished run was made from other input or options.
        OutputError: the folder cannot be written, or another process holds it.
    """

    def __init__(
        self,
        output: Path,
        fingerprint: Mapping[str, Any],
        settings: Mapping[str, Any],
        *,
        fresh: bool,
    ) -> None:
        self.folder = folder_of(output)
        self._output = output
        self.done: dict[int, ChunkRecord] = {}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lockfile = (self.folder / "lock").open("w")
        except OSError as exc:
            raise OutputError(
                f"{output.parent} cannot be written: {exc.strerror}.",
                "Check that the folder exists and is yours to write, or name "
                "another with -o.",
            ) from exc
        try:
            _lock(self._lockfile)
        except OSError as exc:
            self._lockfile.close()
            raise OutputError(
                f"Another upframe is working on {output} just now.",
                "Wait for it, stop it, or name another output with -o.",
            ) from exc
        try:
            if fresh:
                self._clear()
            self._load(dict(fingerprint), dict(settings))
            self._log = (self.folder / "journal.jsonl").open("a")
            self.collect()
            self.resumed = sum(d.stop - d.start for d in self.done.values())
        except OSError as exc:
            self._lockfile.close()
            raise OutputError(
                f"{self.folder} cannot be written: {exc.strerror}.",
                "Free some space or check its permissions.",
            ) from exc
        except BaseException:
            self._lockfile.close()
            raise

    def collect(self) -> None:
        """Take what processes that ended finished; delete what they did not."""
        for path in self.folder.glob("now-*"):
            _delete(path)
        chunks = ChunkStore(self.folder)
        for path in self.folder.glob("chunk-*.json"):
            number = int(path.stem.removeprefix("chunk-"))
            done = chunks.find(number)
            if done is not None and number not in self.done and self._has_state(done):
                self.take(number)
            chunks.remove(number)

    def record(self, done: ChunkRecord, state: State | None = None) -> None:
        """Record a finished chunk; on disk when this returns.

        Args:
            done: the chunk.
            state: its carried state.
        """
        self._append(_with_state(self.folder, done, state))

    def take(self, chunk: int) -> ChunkRecord:
        """Move the record that another process wrote into the journal."""
        chunks = ChunkStore(self.folder)
        done = chunks.find(chunk)
        if done is None:
            raise OutputError(
                f"Chunk {chunk} in {self.folder} is missing or damaged.",
                "Run the same command again: that chunk is done again.",
            )
        self._append(done)
        chunks.remove(chunk)
        return done

    def _append(self, done: ChunkRecord) -> None:
        values = asdict(done)
        if not done.fallbacks:
            del values["fallbacks"]
        self._log.write(json.dumps(values) + "\n")
        self._log.flush()
        os.fsync(self._log.fileno())
        self.done[done.chunk] = done
        _state_path(self.folder, done.chunk - 1).unlink(missing_ok=True)

    def resume_point(self) -> ResumePoint | None:
        """The last one behind finished chunks that leave no gap before it."""
        point = None
        for number in range(len(self.done)):
            if number not in self.done:
                break
            point = self.done[number].resume or point
        return ResumePoint.from_dict(point) if point else None

    def state(self, chunk: int) -> State:
        """Carried state of a finished chunk."""
        if not self.done[chunk].state:
            return {}
        return _load_state(self.folder, chunk)

    def close(self) -> None:
        """Release the folder; it is removed when no chunk is done."""
        self._log.close()
        if not self.done:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._lockfile.close()

    def remove(self) -> None:
        """The output is finished: `close` removes the folder."""
        self.done.clear()

    def _clear(self) -> None:
        for path in self.folder.iterdir():
            if path.name != "lock":
                _delete(path)

    def _load(self, fingerprint: dict[str, Any], settings: dict[str, Any]) -> None:
        path = self.folder / "plan.json"
        new = json.loads(json.dumps({"fingerprint": fingerprint, "settings": settings}))
        old: Any = None
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            old = json.loads(path.read_text())
        if isinstance(old, dict) and {"fingerprint", "settings"} <= set(old):
            self.done = self._read_log()
            if self.done:
                self._compare(old, new)
                return
            if old == new:
                return
        self._clear()
        temporary = path.with_suffix(".tmp")
        with temporary.open("w") as file:
            file.write(json.dumps(new, indent=1))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    def _compare(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Refuse to continue a run that was made from something else."""
        refuse_other(self._output, old["fingerprint"], new["fingerprint"])
        if old["settings"] != new["settings"]:
            raise ResumeError(
                f"An unfinished run of {self._output} has other chunks or tiles.",
                "Run the same command again, or add --fresh to start over.",
            )

    def _read_log(self) -> dict[int, ChunkRecord]:
        done: dict[int, ChunkRecord] = {}
        for entry in read_records(self.folder):
            if _is_whole(self.folder, entry):
                done[entry.chunk] = entry
        for chunk in sorted(done, reverse=True):
            if chunk + 1 not in done and not self._has_state(done[chunk]):
                del done[chunk]
        return done

    def _has_state(self, done: ChunkRecord) -> bool:
        """Whether the next chunk can continue from there."""
        return not done.state or _is_state(self.folder, done.chunk, done.state)


def read_records(folder: Path) -> list[ChunkRecord]:
    """The lines of the journal, whether their files are good or not."""
    records: list[ChunkRecord] = []
    try:
        lines = (folder / "journal.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return records
    for line in lines:
        entry = _parse(line)
        if entry is not None:
            records.append(entry)
    return records
