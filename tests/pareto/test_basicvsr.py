"""BasicVSR: the published size, both directions of time, and its session."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from benchmarks.pareto.contenders import choose  # noqa: E402
from benchmarks.pareto.peers.basicvsr import BasicVSR, _ClipSession  # noqa: E402


def small() -> BasicVSR:
    torch.manual_seed(0)
    return BasicVSR(channels=8, blocks=1).eval().requires_grad_(False)


def clip(frames: int) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.random((36, 40, 3), np.float32) for _ in range(frames)]


def test_published_number_of_parameters() -> None:
    assert sum(p.numel() for p in BasicVSR().parameters()) == 6_291_311
    (basicvsr,) = choose(["basicvsr"])
    if not basicvsr.missing():
        assert basicvsr.open(1).card.parameters == 6_291_311


def test_a_session_answers_at_the_end() -> None:
    session = _ClipSession(small())
    frames = clip(3)
    assert [session.push(frame) for frame in frames] == [[], [], []]
    outputs = session.flush()
    assert [output.shape for output in outputs] == [(144, 160, 3)] * 3
    assert all(output.dtype == np.float32 for output in outputs)
    assert session.flush() == []


@pytest.mark.parametrize("changed", [0, 2])
def test_every_frame_sees_all_others(changed: int) -> None:
    network = small()
    frames = [torch.from_numpy(f).permute(2, 0, 1)[None] for f in clip(3)]
    before = network(frames)
    frames[changed] = 1 - frames[changed]
    after = network(frames)
    for a, b in zip(before, after, strict=True):
        assert not torch.equal(a, b)


def test_one_frame_is_a_clip() -> None:
    session = _ClipSession(small())
    session.push(clip(1)[0])
    assert len(session.flush()) == 1
