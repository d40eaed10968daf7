"""Convolutions of bytes: what they cost, and that all steps mean the same bytes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lite_networks import clip, lite
from upframe.systems.mia_vsr_lite.convolutions import Convolution, Convolutions
from upframe.systems.mia_vsr_lite.int8 import (
    Bytes,
    Int8Convolution,
    Range,
    observe,
    quantised,
)
from upframe.systems.mia_vsr_lite.model import MIAVSRLite
from upframe.systems.mia_vsr_lite.stream import StreamStep
from upframe.systems.mia_vsr_lite.whole import WholeStep


def _windows(frames: Tensor) -> list[Tensor]:
    """(T, 3, h, w) to what each step sees, (3, h, w, 3)."""
    rows = frames.permute(0, 2, 3, 1).contiguous()
    last = len(rows) - 1
    return [rows[[max(0, i - 1), i, min(last, i + 1)]] for i in range(len(rows))]


def _run_whole(step: WholeStep, frames: Tensor) -> Tensor:
    memory = StreamStep(step.network, convolutions=step.convolutions).start(
        *frames.shape[2:]
    )
    hidden, pictures = memory.hidden, []
    with torch.inference_mode():
        for i, window in enumerate(_windows(frames)):
            picture, hidden = step(window, torch.tensor(i == 0), hidden)
            pictures.append(picture)
    return torch.cat(pictures)


def _run_tiles(step: StreamStep, frames: Tensor, keep: float) -> Tensor:
    memory, pictures = step.start(*frames.shape[2:]), []
    with torch.inference_mode():
        for i, window in enumerate(_windows(frames)):
            first = torch.tensor(i == 0)
            out = step(window, first, first, torch.tensor(keep), memory)
            memory = out.memory
            pictures.append(out.frame)
    return torch.cat(pictures)


def _psnr(one: Tensor, other: Tensor) -> float:
    return float(-10 * (one - other).square().mean().log10())


@pytest.fixture(scope="module")
def network() -> MIAVSRLite:
    made = lite()
    made.conv_last.weight.data *= 0.2  # as much detail as trained ones add
    return made


@pytest.fixture(scope="module")
def convolutions(network: MIAVSRLite) -> Convolutions:
    made = Convolutions(network)
    step = WholeStep(network, made)
    frames = clip(4, 3, 24, 40)
    return quantised(made, observe(made, lambda: _run_whole(step, frames)))


@pytest.mark.parametrize("values", [Range(-0.3, 2.1), Range(0.0, 1.0), Range(-4.0, 0)])
def test_bytes_are_even_steps_with_zero_among_them(values: Range) -> None:
    coding = Bytes(values)
    x = torch.linspace(values.low, values.high, 999)
    step = (values.high - values.low) / 255
    assert (coding.decode(coding.encode(x)) - x).abs().max() <= 0.51 * step
    assert coding.encode(torch.zeros(1)).item() == coding.zero
    assert coding.decode(torch.tensor([coding.zero], dtype=torch.uint8)).item() == 0
    ends = coding.encode(torch.tensor([values.low - 9, values.high + 9]))
    assert ends.tolist() == [0, 255]


def test_a_convolution_of_bytes_is_the_one_in_float() -> None:
    torch.manual_seed(0)
    exact = Convolution(torch.randn(8, 6, 3, 3) * 0.1, torch.randn(8))
    x = torch.rand(2, 6, 12, 10) * 3 - 1
    wanted = exact(x, padding=1)
    limits = Range(wanted.min().item(), wanted.max().item())
    made = Int8Convolution(exact, Bytes(Range(-1.0, 2.0)), Bytes(limits))
    got = made.after.decode(made(made.before.encode(x), padding=1))
    assert (got - wanted).abs().max() < 0.02 * (limits.high - limits.low)
    # a pair of products fits into 16 bits: the same sums without VNNI
    assert int(made.weight.abs().max()) * 255 * 2 < 2**15
    assert int(made.weight.abs().max()) == 64


def test_the_first_convolution_stays_in_float(convolutions: Convolutions) -> None:
    kinds = {
        name: type(module) is Int8Convolution
        for name, module in convolutions.named_modules()
        if isinstance(module, Convolution)
    }
    assert [name for name, whole in kinds.items() if not whole] == ["first"]
    assert len(kinds) == 4 + 2 * 3
    # the state has one meaning, whoever reads it
    assert convolutions.last.before is convolutions.fuse_hidden.before


def test_int8_is_near_float(network: MIAVSRLite, convolutions: Convolutions) -> None:
    frames = clip(4, 3, 24, 40)
    exact = _run_whole(WholeStep(network), frames)
    assert _psnr(_run_whole(WholeStep(network, convolutions), frames), exact) > 40


@pytest.mark.parametrize("keep", [-1.0, 0.4])
def test_tiles_of_bytes_are_equal_to_whole_maps(
    network: MIAVSRLite, convolutions: Convolutions, keep: float
) -> None:
    frames = clip(5, 3, 24, 40)
    tiles = _run_tiles(StreamStep(network, convolutions=convolutions), frames, keep)
    if keep < 0:
        maps = _run_whole(WholeStep(network, convolutions), frames)
    else:
        step = StreamStep(network, whole_maps=0.0, convolutions=convolutions)
        maps = _run_tiles(step, frames, keep)
    # but for roundings that fall the other way
    assert _psnr(tiles, maps) > 60


def test_states_of_bytes_begin_with_the_codes_of_zero(
    network: MIAVSRLite, convolutions: Convolutions
) -> None:
    memory = StreamStep(network, convolutions=convolutions).start(16, 24)
    assert memory.hidden.dtype == memory.detail.dtype == torch.uint8
    for table, coding in (
        (memory.hidden, convolutions.last.before),
        (memory.detail, convolutions.last.after),
        (memory.inputs[0], convolutions.fuse.before),
    ):
        assert (coding.decode(table) == 0).all()
        assert coding.zero > 0
