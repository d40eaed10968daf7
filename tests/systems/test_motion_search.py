"""The search for motion finds what trying every displacement by itself finds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from upframe.systems.mia_vsr_lite.motion import PATCH, patch_motion

Plane = NDArray[np.float64]


def _around(plane: Plane, top: int, left: int, side: int) -> Plane:
    """A square whose corner may lie outside, where the nearest pixel counts."""
    rows = np.clip(np.arange(top, top + side), 0, plane.shape[0] - 1)
    columns = np.clip(np.arange(left, left + side), 0, plane.shape[1] - 1)
    return plane[np.ix_(rows, columns)]


def _halved(plane: Plane) -> Plane:
    h, w = plane.shape
    return plane.reshape(h // 2, 2, w // 2, 2).mean(axis=(1, 3))


def _coarse(here: Plane, there: Plane, top: int, left: int) -> tuple[int, int]:
    """Of a patch of 4×4 with two pixels around it, as far as they are inside."""
    h, w = here.shape
    rows = slice(max(0, top - 2), min(h, top + 6))
    columns = slice(max(0, left - 2), min(w, left + 6))
    wide = np.pad(there, 4, mode="edge")
    costs = {}
    for dy in range(-4, 5):
        for dx in range(-4, 5):
            moved = wide[4 + dy : 4 + dy + h, 4 + dx : 4 + dx + w]
            apart = np.abs(moved - here)[rows, columns].mean()
            costs[dy, dx] = apart + 1e-3 * (abs(dy) + abs(dx))
    return min(costs, key=costs.__getitem__)


def _fine(
    here: Plane, there: Plane, top: int, left: int, start: tuple[int, int]
) -> tuple[int, int]:
    own = here[top : top + PATCH, left : left + PATCH]
    around = _around(there, top + start[0] - 2, left + start[1] - 2, PATCH + 4)
    costs = {}
    for dy in range(5):
        for dx in range(5):
            apart = np.abs(around[dy : dy + PATCH, dx : dx + PATCH] - own).mean()
            vector = start[0] + dy - 2, start[1] + dx - 2
            costs[vector] = apart + 5e-4 * (abs(vector[0]) + abs(vector[1]))
    return min(costs, key=costs.__getitem__)


@pytest.mark.parametrize(("down", "across"), [(0, 0), (3, -2), (-7, 9)])
def test_every_displacement_by_itself_gives_the_same(down: int, across: int) -> None:
    rng = np.random.default_rng(3)
    pictures = rng.random((2, 40, 56, 3)).astype(np.float32)
    pictures[1] = np.roll(pictures[0], (down, across), axis=(0, 1))
    pictures[1, :, 40:] = rng.random((40, 16, 3))
    here, there = pictures.astype(np.float64).mean(axis=3)
    batch = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    # two pairs at once, the second one the other way
    found = patch_motion(batch, batch.flip(0))
    for pair, (one, other) in enumerate(((here, there), (there, here))):
        small = _halved(one), _halved(other)
        for y in range(40 // PATCH):
            for x in range(56 // PATCH):
                rough = _coarse(*small, 4 * y, 4 * x)
                start = 2 * rough[0], 2 * rough[1]
                wanted = _fine(one, other, PATCH * y, PATCH * x, start)
                assert tuple(found[pair, y, x].tolist()) == wanted
