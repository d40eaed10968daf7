"""Layers computed again where their input changed: the same numbers, less work."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from upframe.systems.mia_vsr.reuse import Box, Made, cover, recompute


class _Layers(nn.Module):
    """Reaches two places far, enlarges twice, and counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(5, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 8, 3, padding=1)
        self.places = 0

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        self.places += x.shape[-1] * x.shape[-2]
        x = self.second(self.first(torch.cat((x, y), dim=1)).relu())
        return nn.functional.pixel_shuffle(x, 2)


def _maps(h: int, w: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(h)
    return (
        torch.rand(1, 3, h, w, generator=generator).double(),
        torch.rand(1, 2, h, w, generator=generator).double(),
    )


def _layers() -> _Layers:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return _Layers().double()


@pytest.mark.parametrize(
    "places",
    [
        [(0, 0)],
        [(52, 68)],
        [(16, 31), (15, 32)],
        [(3, 20), (40, 2), (41, 66)],
        [(row, 25) for row in range(50)],
    ],
)
def test_only_what_changed_is_computed(places: list[tuple[int, int]]) -> None:
    layers, (x, y) = _layers(), _maps(53, 69)
    with torch.inference_mode():
        before = recompute(layers, (x, y), None, reach=2, scale=2)
        kept = before.result.clone()
        moved, other = x.clone(), y.clone()
        for i, place in enumerate(places):
            (moved, other)[i % 2][(..., *place)] += 1
        layers.places = 0
        made = recompute(layers, (moved, other), before, reach=2, scale=2)
        assert 0 < layers.places < 53 * 69
        wanted = layers(moved, other)
    torch.testing.assert_close(made.result, wanted, atol=1e-12, rtol=0)
    assert torch.equal(before.result, kept), "the last result was overwritten"
    # nothing further than the reach has changed by a bit
    changed = (made.result != kept).any(dim=1)[0].nonzero() // 2
    for place in changed.tolist():
        assert any(
            max(abs(place[0] - row), abs(place[1] - column)) <= 2
            for row, column in places
        )
    again = recompute(layers, (moved.clone(), other.clone()), made, reach=2, scale=2)
    assert again is made


def test_much_change_is_computed_whole() -> None:
    layers, (x, y) = _layers(), _maps(40, 40)
    with torch.inference_mode():
        before = recompute(layers, (x, y), None, reach=2, scale=2)
        layers.places = 0
        made = recompute(layers, (x + 1, y), before, reach=2, scale=2)
        assert layers.places == 40 * 40
        assert torch.equal(made.result, layers(x + 1, y))
    assert isinstance(made, Made)


def test_boxes_hold_all_places_and_lie_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    for share in (0.0, 0.002, 0.02, 0.5):
        places = torch.rand(61, 83, generator=generator) < share
        held = torch.zeros(61, 83, dtype=torch.long)
        for box in cover(places):
            box.of(held).add_(1)
        assert held.max() <= 1
        assert bool((held.bool() | ~places).all())
    assert cover(torch.ones(33, 20, dtype=torch.bool)) == [Box(0, 33, 0, 20)]
    assert cover(torch.zeros(33, 20, dtype=torch.bool)) == []
