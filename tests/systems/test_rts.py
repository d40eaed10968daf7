from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from upframe.systems.ultravsr.rts import (
    RecurrentTemporalShift,
    RTSAttention,
    RTSConv,
    ShiftStream,
)


def shaken(module: nn.Module, seed: int = 0) -> nn.Module:
    """Random parameters everywhere, since fresh modules end in zeros."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return module.eval()


def clip(frames: int, channels: int = 32, size: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(frames)
    return torch.randn(frames, channels, size, size + 1, generator=generator)


def test_the_middle_third_does_not_count() -> None:
    unit = shaken(RTSConv(60))
    assert isinstance(unit, RTSConv)
    x = clip(3, 60)
    with torch.no_grad():
        before = unit(x, frames=3)
        unit.conv1.weight[2:4] += 1.0
        after = unit(x, frames=3)
        unit.conv1.weight[0] += 1.0
        outer = unit(x, frames=3)
    assert torch.equal(before, after)
    assert not torch.allclose(after, outer)


@pytest.mark.parametrize(
    ("channels", "expected"),
    [(320, 58778), (640, 240752), (1280, 1001178), (512, 158812), (256, 34368)],
)
def test_parameters_are_the_papers(channels: int, expected: int) -> None:
    with torch.device("meta"):
        module = RecurrentTemporalShift(channels)
    assert sum(p.numel() for p in module.parameters()) == expected


@pytest.mark.parametrize("channels", [4, 16, 32, 64, 96])
def test_narrow_maps_get_both_units(channels: int) -> None:
    module = shaken(RecurrentTemporalShift(channels))
    x = clip(3, channels)
    with torch.no_grad():
        changed = x.clone()
        changed[0] += 1.0
        last = module(x, frames=3)[2], module(changed, frames=3)[2]
    assert not torch.equal(*last)  # two frames away: through both units


def test_a_fresh_module_changes_nothing() -> None:
    x = clip(4)
    with torch.no_grad():
        assert torch.equal(RecurrentTemporalShift(32)(x, frames=2), x)


def test_clips_of_a_batch_are_apart() -> None:
    module = shaken(RecurrentTemporalShift(32))
    x = clip(6)
    with torch.no_grad():
        together = module(x, frames=3)
        apart = torch.cat([module(x[:3], frames=3), module(x[3:], frames=3)])
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-5)


def test_attention_sees_both_neighbours_and_not_further() -> None:
    unit = shaken(RTSAttention(96))
    x = clip(5, 96).requires_grad_()
    unit(x, frames=5)[2].sum().backward()
    assert x.grad is not None
    seen = x.grad.abs().sum(dim=(1, 2, 3)) > 0
    assert seen.tolist() == [False, True, True, True, False]


@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_a_stream_equals_the_whole(sizes: list[int]) -> None:
    module = shaken(RecurrentTemporalShift(24))
    assert isinstance(module, RecurrentTemporalShift)
    x = clip(sum(sizes), 24, 3)
    stream = ShiftStream(module)
    with torch.no_grad():
        parts = [stream.push(chunk) for chunk in x.split(sizes)]
        given_back = sum(len(part) for part in parts if part is not None)
        assert given_back == max(0, len(x) - RecurrentTemporalShift.reach)
        parts.append(stream.flush())
        whole = module(x, frames=len(x))
    out = torch.cat([part for part in parts if part is not None])
    torch.testing.assert_close(out, whole, rtol=0, atol=1e-5)


def test_a_stream_can_be_used_again_and_may_be_empty() -> None:
    module = shaken(RecurrentTemporalShift(24))
    assert isinstance(module, RecurrentTemporalShift)
    stream = ShiftStream(module)
    assert stream.flush() is None
    with torch.no_grad():
        for frames in (3, 1):
            x = clip(frames, 24, 3)
            parts = [stream.push(x), stream.flush()]
            out = torch.cat([part for part in parts if part is not None])
            torch.testing.assert_close(out, module(x, frames), rtol=0, atol=1e-5)


def test_a_wrong_number_of_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="no whole clips of 3"):
        RecurrentTemporalShift(24)(clip(4, 24), frames=3)
