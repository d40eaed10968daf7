"""BasicSR's LMDBs: a folder ``*.lmdb`` with ``data.mdb`` and ``meta_info.txt``.

Values are the bytes of image files. Each line of ``meta_info.txt`` is the name of an
image, its shape and its PNG level: ``000/00000000.png (720,1280,3) 1``. The key in
the database is the name without its ending. The file comes first because a database
alone does not say in which order its images belong together.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar
from weakref import WeakValueDictionary

from upframe.datasets.images import ImageArray, decode_image
from upframe.errors import InputError, MissingExtraError

META = "meta_info.txt"


class Store:
    """An open database; there is one per folder, as LMDB wants it."""

    _open: ClassVar[WeakValueDictionary[Path, Store]] = WeakValueDictionary()

    def __init__(self, folder: Path) -> None:
        """Open read-only; use :meth:`of`."""
        try:
            import lmdb
        except ImportError as error:
            raise MissingExtraError("Reading LMDB", "metrics") from error
        self.folder = folder
        try:
            self._environment: Any = lmdb.open(
                str(folder), readonly=True, lock=False, readahead=False
            )
        except lmdb.Error as error:
            raise InputError(
                f"{folder} cannot be opened as LMDB: {error}.",
                "Check that data.mdb is complete.",
            ) from error
        # Pages beyond the end of a cut-off file end the process when they are read.
        pages = self._environment.info()["last_pgno"] + 1
        needed = pages * self._environment.stat()["psize"]
        there = (folder / "data.mdb").stat().st_size
        if there < needed:
            raise InputError(
                f"{folder / 'data.mdb'} is cut off: it has {there} of {needed} bytes.",
                "Copy it again.",
            )

    @classmethod
    def of(cls, folder: Path) -> Store:
        """The database of a folder.

        Raises:
            InputError: it cannot be opened, or is cut off.
            MissingExtraError: the package ``lmdb`` is not installed.
        """
        key = folder.resolve()
        store = cls._open.get(key)
        if store is None:
            store = cls._open[key] = cls(folder)
        return store

    def __del__(self) -> None:
        if environment := getattr(self, "_environment", None):
            environment.close()

    def length(self, key: str) -> int:
        """Bytes of a value, which is not read.

        Raises:
            InputError: it is not there.
        """
        with self._environment.begin(buffers=True) as transaction:
            return len(self._found(key, transaction.get(key.encode())))

    def bytes_of(self, key: str) -> bytes:
        """A value.

        Raises:
            InputError: it is not there.
        """
        with self._environment.begin() as transaction:
            return bytes(self._found(key, transaction.get(key.encode())))

    def _found(self, key: str, value: Any) -> Any:
        if value is None:
            raise InputError(
                f"{self.folder} has no image {key}, which its {META} names.",
                "Make the LMDB again from its images.",
            )
        return value


@dataclass(frozen=True)
class LmdbFrames:
    """Frames in a database."""

    store: Store
    keys: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, number: int) -> ImageArray:
        return decode_image(self.store.bytes_of(self.keys[number]), self.where(number))

    def name(self, number: int) -> str:
        """Last part of the key."""
        return PurePosixPath(self.keys[number]).name

    def first(self, most: int) -> list[ImageArray]:
        """The first frames, at most so many."""
        return [self[number] for number in range(min(most, len(self.keys)))]

    def size(self) -> int:
        """Bytes of the values."""
        return sum(map(self.store.length, self.keys))

    def where(self, number: int) -> str:
        """Folder and key."""
        return f"{self.keys[number]} of {self.store.folder}"


def is_lmdb(path: Path) -> bool:
    """Whether this is the folder of a database."""
    return path.is_dir() and (path.suffix == ".lmdb" or (path / "data.mdb").is_file())


def open_lmdb(folder: Path) -> dict[str, LmdbFrames]:
    """Frames of each clip, sorted; an image that lies in no folder is a clip.

    Raises:
        InputError: ``meta_info.txt`` is missing or empty, or the database cannot be
            read.
        MissingExtraError: the package ``lmdb`` is not installed.
    """
    meta = folder / META
    if not meta.is_file() or not (folder / "data.mdb").is_file():
        raise InputError(
            f"{folder} is no LMDB of BasicSR: {META} or data.mdb is missing.",
            "Make it with BasicSR's create_lmdb.py, which writes both.",
        )
    store = Store.of(folder)
    clips: dict[str, list[str]] = {}
    for line in meta.read_text(encoding="utf-8").splitlines():
        if not line.strip():
            continue
        key = PurePosixPath(line.split(" ")[0]).with_suffix("")
        clip = str(key.parent) if len(key.parts) > 1 else key.name
        clips.setdefault(clip, []).append(str(key))
    if not clips:
        raise InputError(f"{meta} is empty.", "Make the LMDB again.")
    return {name: LmdbFrames(store, tuple(keys)) for name, keys in clips.items()}
