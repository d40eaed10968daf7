"""A source opened at any position equals straight decoding, bit for bit."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from seek_clips import generated, real, write

from upframe.errors import InputError
from upframe.media.index import Extent, scan
from upframe.media.position import Position, checksum
from upframe.media.source import FileSource


@dataclass(frozen=True)
class Straight:
    """A clip decoded from its start to its end."""

    path: Path
    extent: Extent
    seen: list[tuple[int, int, int]]
    """Timestamp, duration and checksum of each frame."""
    positions: list[Position]
    """Behind each frame."""
    warnings: list[str]


def decode(path, extent, begin=None, stop=None):
    source = FileSource(path, expected=extent)
    source.begin_at(begin, stop)
    seen, positions = [], []
    try:
        for frame in source:
            check = checksum(frame.pixels)
            seen.append((frame.pts, frame.duration, check))
            positions.append(replace(frame.position, check=check))
    finally:
        source.close()
    return source, seen, positions


def straight(path):
    extent = scan(path)
    source, seen, positions = decode(path, extent)
    return Straight(path, extent, seen, positions, source.warnings)


def counts(position):
    return replace(position, intact=0, check=None)


def check_range(clip, begin, stop):
    """Read frames ``[begin, stop)``; returns how they were reached."""
    at = clip.positions[begin - 1] if begin else None
    end = None if stop == len(clip.seen) else stop
    source, seen, positions = decode(clip.path, clip.extent, at, end)
    assert seen == clip.seen[begin:stop]
    assert [counts(p) for p in positions] == [
        counts(p) for p in clip.positions[begin:stop]
    ]
    if end is None:
        counted = [w for w in source.warnings if not w.startswith("All frames before")]
        assert counted == clip.warnings
    if source.reached == "decode":
        assert any(source.seek_refused in warning for warning in source.warnings)
    assert bool(source.seek_refused) == (source.reached == "decode")
    return source.reached, source.seek_refused


def random_ranges(clip, count, seed):
    dice, frames = random.Random(f"{clip.path.name} {seed}"), len(clip.seen)
    for _ in range(count):
        begin = dice.randrange(frames)
        stop = min(frames, begin + dice.choice([1, 2, 5, 20, frames]))
        yield begin, stop


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    return tmp_path_factory.mktemp("seek")


@pytest.mark.parametrize("name", generated())
def test_random_ranges_equal_straight_decoding(shelf, name):
    clip = straight(write(name, shelf))
    for begin, stop in random_ranges(clip, 4, seed=0):
        check_range(clip, begin, stop)


@pytest.mark.slow
@pytest.mark.parametrize("name", generated())
def test_many_random_ranges_equal_straight_decoding(shelf, name):
    clip = straight(write(name, shelf))
    for begin, stop in random_ranges(clip, 37, seed=1):
        check_range(clip, begin, stop)


@pytest.mark.slow
@pytest.mark.parametrize("path", real(), ids=lambda path: path.name)
def test_random_ranges_of_real_clips_equal_straight_decoding(path):
    clip = straight(path)
    for begin, stop in random_ranges(clip, 2, seed=2):
        check_range(clip, begin, stop)


def test_little_is_decoded_in_vain(shelf):
    clip = straight(write("b-frames.mp4", shelf))
    at = clip.positions[129]
    source, seen, _ = decode(clip.path, clip.extent, at, 131)
    assert seen == clip.seen[130:131]
    assert source.reached == "seek"
    # the first 24 tell colour and fields, then at most a margin and a GOP
    assert source.decoded <= 24 + 24 + 24 + 16


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("raw.h264", "a raw stream has no timestamps"),
        ("moving.gif", "frames of gif may depend"),
        ("one-keyframe.mkv", "no keyframe between the start and frame 280"),
    ],
)
def test_what_cannot_be_sought_is_decoded_from_the_start(shelf, name, reason):
    clip = straight(write(name, shelf))
    begin = len(clip.seen) - 20
    reached, refused = check_range(clip, begin, len(clip.seen))
    assert reached == "decode"
    assert reason in refused


def test_a_frame_that_differs_is_decoded_from_the_start(shelf):
    clip = straight(write("b-frames.mkv", shelf))
    at = replace(clip.positions[99], check=12345)
    source, seen, _ = decode(clip.path, clip.extent, at)
    assert seen == clip.seen[100:]
    assert source.reached == "decode"
    assert "differently" in source.seek_refused


def test_a_position_of_another_file_is_an_error(shelf):
    clip = straight(write("b-frames.mkv", shelf))
    at = replace(clip.positions[99], raw=clip.positions[99].raw + 1)
    with pytest.raises(InputError, match="not where it was"):
        decode(clip.path, clip.extent, at)


def test_a_position_survives_json(shelf):
    clip = straight(write("repeated-times.mkv", shelf))
    at = clip.positions[90]
    assert Position(**json.loads(json.dumps(at.to_dict()))) == at


def test_a_source_is_read_again_and_again(shelf):
    for name in ("b-frames.mkv", "raw.h264"):
        clip = straight(write(name, shelf))
        source = FileSource(clip.path, expected=clip.extent)
        for begin, stop in ((100, 110), (0, 5), (60, None), (0, None), (140, 160)):
            source.begin_at(clip.positions[begin - 1] if begin else None, stop)
            got = [(f.pts, f.duration, checksum(f.pixels)) for f in source]
            assert got == clip.seen[begin:stop]
        source.close()


def test_begin_inside_a_window(shelf):
    path = write("vfr.mp4", shelf)
    extent = scan(path)

    def read(at=None):
        source = FileSource(path, start=1.5, duration=4, expected=extent)
        source.begin_at(at)
        frames = list(source)
        source.close()
        return source, frames

    _, whole = read()
    at = replace(whole[29].position, check=checksum(whole[29].pixels))
    source, part = read(at)
    assert source.reached == "seek"
    assert [(f.pts, checksum(f.pixels)) for f in part] == [
        (f.pts, checksum(f.pixels)) for f in whole[30:]
    ]
