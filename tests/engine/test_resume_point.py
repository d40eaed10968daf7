"""Going on behind a finished chunk gives the chunks of an uninterrupted run."""

from __future__ import annotations

import json

import numpy as np
import pytest

from upframe.engine.driver import SceneChunker
from upframe.engine.resume import ResumePoint
from upframe.media.frames import Frame
from upframe.media.position import Position
from upframe.planning.chunks import End, Step


def video(seed, count=200):
    """Small noisy frames; scenes of 1 to 60 frames, some with flashes."""
    dice = np.random.default_rng(seed)
    frames, base, left = [], None, 0
    for number in range(count):
        if left == 0:
            base, left = dice.integers(0, 255, (1, 1, 3)), int(dice.integers(1, 60))
        left -= 1
        level = 255 - base if dice.random() < 0.03 else base
        pixels = np.clip(level + dice.integers(-9, 9, (16, 16, 3)), 0, 255)
        position = Position(number + 1, number + 1, 0, number, number)
        frames.append(Frame(pixels.astype(np.uint8), number, 1, "", position))
    return frames


def plain(events):
    return [
        (event.number, event.core) if isinstance(event, Step) else event
        for event in events
    ]


@pytest.mark.parametrize("context", [0, 1, 5])
@pytest.mark.parametrize("length", [1, 7, 24])
def test_a_resumed_chunker_makes_the_same_chunks(length, context):
    for seed in range(2):
        frames = video(seed)
        chunker = SceneChunker(length, context)
        whole = [e for frame in frames for e in chunker.push(frame)]
        whole += chunker.finish()
        ends = [event.chunk for event in whole if isinstance(event, End)]
        assert len(chunker.cuts) > 2
        assert len(chunker.resume_points) > len(ends) / 3
        for chunk in list(chunker.resume_points)[:: max(1, len(ends) // 12)]:
            point = json.loads(json.dumps(chunker.resume_points[chunk].to_dict()))
            point = ResumePoint.from_dict(point)
            again = SceneChunker(length, context, point)
            events = [e for f in frames[point.position.frame :] for e in again.push(f)]
            events += again.finish()
            done = next(
                place
                for place, event in enumerate(whole)
                if isinstance(event, End) and event.chunk == chunk
            )
            assert plain(events) == plain(whole[done + 1 :])
            later = {k: v for k, v in chunker.resume_points.items() if k > chunk + 1}
            for number, other in again.resume_points.items():
                if number in later:
                    assert other == later[number]


def test_where_decoding_has_no_position_there_is_no_resume_point():
    chunker = SceneChunker(4, 0)
    for number in range(40):
        chunker.push(Frame(np.zeros((8, 8, 3), np.uint8), number, 1))
    assert not chunker.resume_points
