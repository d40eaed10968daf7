"""LiftVSR's sessions: segments, cuts, state that goes and comes, memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import liftvsr_parts as parts
from upframe.errors import UsageError
from upframe.systems.diffusion.live_memory import live_bytes
from upframe.systems.liftvsr.stream import Options, Session

# diffusers' sampler on NumPy 2
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)

LENGTH = 3  # of a segment


def run(session: Session, frames: Tensor, *, cuts: tuple[int, ...] = ()) -> Tensor:
    """Push frames one by one and flush."""
    out: list[Tensor] = []
    for n, frame in enumerate(frames):
        out += session.push(frame[None], cut=n in cuts)
    return torch.stack(out + session.flush())


@pytest.mark.parametrize("frames", [1, 3, 7])
def test_a_session_gives_what_the_whole_clip_gives(frames: int) -> None:
    model = parts.system()
    clip = parts.clip(frames)
    with torch.no_grad():
        wanted = model(clip, seed=4, first_index=11)[0]
    options = Options(seed=4, first_index=11)
    assert torch.equal(run(Session(model, options), clip[0]), wanted)
    session = Session(model, options)  # all at once
    assert torch.equal(torch.stack(session.push(clip[0]) + session.flush()), wanted)


def test_a_cut_ends_the_segment_and_empties_the_cache() -> None:
    model = parts.system()
    clip = parts.clip(9)
    got = run(Session(model), clip[0], cuts=(5,))
    with torch.no_grad():
        before = model(clip[:, :5])[0]
        after = model(clip[:, 5:], first_index=5)[0]
    assert torch.equal(got, torch.cat((before, after)))
    without = run(Session(model), clip[0])
    assert torch.equal(without[:3], got[:3])
    assert not torch.equal(without[6:], got[6:])


@pytest.mark.parametrize(
    ("stop", "kind"),
    [
        (0, torch.float32),
        (2, torch.float32),
        (6, torch.float32),
        (7, torch.bfloat16),
    ],
)
def test_a_session_goes_on_from_a_file_to_the_bit(
    stop: int, kind: torch.dtype, tmp_path: Path
) -> None:
    model = parts.system()
    model.transformer.to(kind)
    clip, options = parts.clip(8)[0], Options(seed=3)
    wanted = run(Session(model, options), clip)
    session = Session(model, options)
    done: list[Tensor] = []
    for frame in clip[:stop]:
        done += session.push(frame[None])
    state = session.state()
    save_file(state, tmp_path / "state.safetensors")
    held = load_file(tmp_path / "state.safetensors")
    assert len(held["waiting"]) == stop % LENGTH
    other = Session(model, options)
    other.load_state(held)
    again = other.state()
    assert again.keys() == state.keys()
    assert all(
        torch.equal(again[name], value) and again[name].dtype == value.dtype
        for name, value in state.items()
    )
    rest = run(other, clip[stop:])
    assert torch.equal(torch.stack([*done, *rest]), wanted)


def test_a_cut_after_a_restart_is_a_cut() -> None:
    model = parts.system()
    clip = parts.clip(7)[0]
    wanted = run(Session(model), clip, cuts=(4,))
    session = Session(model)
    done = session.push(clip[:4])
    other = Session(model)
    other.load_state(session.state())
    done += other.push(clip[4:], cut=True) + other.flush()
    assert torch.equal(torch.stack(done), wanted)


def test_the_state_does_not_grow() -> None:
    model = parts.system(steps=1)
    session = Session(model)
    sizes = []
    for n in range(4):
        session.push(parts.clip(LENGTH, seed=n)[0])
        sizes.append(sum(tensor.nbytes for tensor in session.state().values()))
    height, width = 16 * 4 // 16, 20 * 4 // 16  # tokens
    cache = 4 * height * width * parts.CHANNELS * (parts.LAYERS - 1)
    assert sizes == [cache + 8] * 4  # and the number of the next frame


def test_five_times_the_frames_take_the_same_memory() -> None:
    model = parts.system(steps=1)
    frame = parts.clip(1)[0]

    def work(frames: int) -> None:
        session = Session(model)
        for _ in range(frames):
            session.push(frame)
        session.flush()

    assert live_bytes(lambda: work(10 * LENGTH)) == live_bytes(lambda: work(2 * LENGTH))


def test_what_does_not_belong_together_is_refused() -> None:
    model = parts.system()
    session = Session(model)
    session.push(parts.clip(LENGTH)[0])
    state = session.state()
    with pytest.raises(UsageError, match="the first was"):
        session.push(parts.clip(1, 16, 16)[0])
    with pytest.raises(UsageError, match="no frames"):
        session.push(torch.zeros(3, 16, 20))
    with pytest.raises(UsageError, match="model of 0 caches"):
        Session(parts.system(memory=False)).load_state(state)
    fewer = {name: value for name, value in state.items() if name != "cache.1"}
    with pytest.raises(UsageError, match="model of 2 caches"):
        Session(model).load_state(fewer)
    small = {**state, "cache.0": state["cache.0"][:, 1:]}
    with pytest.raises(UsageError, match=r"caches are not \(1, 20, 24\)"):
        Session(model).load_state(small)
    with pytest.raises(UsageError, match="seed of -1"):
        Options(seed=-1)
