"""What a container's own structure says: missing bytes, encrypted streams.

FFmpeg plays a file that is cut off as far as it goes and then ends without an error,
and it hands encrypted packets to the decoder. Durations in headers are often wrong,
sizes of boxes hardly ever.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

_HEAD = 4 << 20
_MOST_BOXES = 100_000
_LARGEST_INDEX = 256 << 20
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_TRACK_KINDS = {1: "video", 2: "audio", 17: "subtitle"}
_ENCRYPTED_ENTRIES = {
    b"encv": "video", b"drmi": "video", b"enca": "audio", b"drms": "audio",
    b"enct": "subtitle", b"encs": "subtitle",
}  # fmt: skip
_PARENTS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl"})
# Matroska's elements
_SEGMENT, _CLUSTER, _TRACKS, _TRACK = 0x18538067, 0x1F43B675, 0x1654AE6B, 0xAE
_TRACK_TYPE, _ENCODINGS, _ENCODING, _ENCRYPTION = 0x83, 0x6D80, 0x6240, 0x5035


@dataclass(frozen=True)
class Structure:
    """What was found by reading headers only."""

    missing: int | None = None
    """Bytes that the structure promises behind the end of the file; None unknown."""
    encrypted: frozenset[str] = field(default_factory=frozenset)
    """Types of streams that are encrypted: ``video``, ``audio``, ``subtitle``."""
    clusters: bool = False
    """Matroska: a damaged cluster can hide all that follows."""


def read_structure(path: Path) -> Structure:
    """Read the structure of an MP4, MOV, Matroska, WebM, AVI or ASF file.

    Other formats, and files that break the rules of their own, are ``Structure()``.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        head = file.read(_HEAD)
        try:
            if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
                return _read_mp4(file, size)
            if head[:4] == b"\x1a\x45\xdf\xa3":
                return _read_matroska(head, size)
            if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
                return Structure(_missing_riff(file, size))
            if head[:16] == _ASF_HEADER:
                return Structure(_missing_asf(file, size))
        except (struct.error, IndexError, ValueError):
            pass  # FFmpeg may understand what this does not
    return Structure()


def _read_mp4(file: IO[bytes], size: int) -> Structure:
    at, missing = 0, 0
    encrypted: set[str] = set()
    for _ in range(_MOST_BOXES):
        file.seek(at)
        header = file.read(16)
        if len(header) < 8:
            break
        length, kind = struct.unpack(">I4s", header[:8])
        if length == 1:
            length = struct.unpack(">Q", header[8:16])[0]
        elif length == 0:
            length = size - at  # up to the end of the file
        if length < 8 or not kind.isalnum():
            break  # rubbish at the end
        if at + length > size:
            missing = at + length - size
            break
        if kind == b"moov" and length <= _LARGEST_INDEX:
            file.seek(at)
            encrypted |= set(_encrypted_entries(file.read(length)))
        at += length
    return Structure(missing, frozenset(encrypted))


def _encrypted_entries(data: bytes) -> Iterator[str]:
    """Types of the encrypted sample descriptions in boxes."""
    at = 0
    while at + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        start = at + 8
        if length == 1:
            length = struct.unpack(">Q", data[at + 8 : at + 16])[0]
            start = at + 16
        if length < 8:
            return
        content = data[start : at + length]
        if kind in _PARENTS:
            yield from _encrypted_entries(content)
        elif kind == b"stsd":
            yield from _encrypted_entries(content[8:])
        elif kind in _ENCRYPTED_ENTRIES:
            yield _ENCRYPTED_ENTRIES[kind]
        at += length


def _read_matroska(head: bytes, size: int) -> Structure:
    at = 0
    while at < len(head):
        name, length, start = _element(head, at)
        if name != _SEGMENT:
            if length is None:
                break
            at = start + length
            continue
        missing = None if length is None else max(0, start + length - size)
        encrypted = frozenset(_encrypted_tracks(head, start))
        return Structure(missing, encrypted, clusters=True)
    return Structure()


def _encrypted_tracks(head: bytes, at: int) -> Iterator[str]:
    """Types of the encrypted tracks of a segment whose content begins at ``at``."""
    while at < len(head):
        name, length, start = _element(head, at)
        if name == _CLUSTER or length is None:
            return
        if name == _TRACKS:
            for track, content in _children(head[start : start + length]):
                if track == _TRACK:
                    yield from _encrypted_track(content)
        at = start + length


def _encrypted_track(content: bytes) -> Iterator[str]:
    kind = 0
    encrypted = False
    for name, value in _children(content):
        if name == _TRACK_TYPE:
            kind = int.from_bytes(value, "big")
        elif name == _ENCODINGS:
            encrypted = any(
                inner == _ENCRYPTION
                for encoding, parts in _children(value)
                if encoding == _ENCODING
                for inner, _ in _children(parts)
            )
    if encrypted and kind in _TRACK_KINDS:
        yield _TRACK_KINDS[kind]


def _children(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        name, length, start = _element(data, at)
        if length is None:
            return
        yield name, data[start : start + length]
        at = start + length


def _element(data: bytes, at: int) -> tuple[int, int | None, int]:
    """Identifier, size (None: unknown) and start of the content of an EBML element."""
    width = 9 - data[at].bit_length()
    if width > 4:
        raise ValueError("no EBML identifier")
    name = int.from_bytes(data[at : at + width], "big")
    at += width
    width = 9 - data[at].bit_length()
    if width > 8:
        raise ValueError("no EBML size")
    mask = (1 << (7 * width)) - 1
    length = int.from_bytes(data[at : at + width], "big") & mask
    return name, None if length == mask else length, at + width


def _missing_riff(file: IO[bytes], size: int) -> int | None:
    at = 0
    while at + 12 <= size:
        file.seek(at)
        kind, length = struct.unpack("<4sI", file.read(8))
        if kind != b"RIFF":
            break
        if length in (0, 0xFFFFFFFF):
            return None  # a recording that was never finished
        at += 8 + length + length % 2
    # The last byte may be the padding that some writers leave out.
    return max(0, at - size) if at - size > 1 else 0


def _missing_asf(file: IO[bytes], size: int) -> int:
    at = 0
    for _ in range(_MOST_BOXES):
        file.seek(at)
        header = file.read(24)
        if len(header) < 24:
            break
        length = struct.unpack("<Q", header[16:])[0]
        if length < 24:
            break
        at += length
    return max(0, at - size)
