"""Windows: nothing is lost, places are right, edges are kept apart."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from upframe.systems.mia_vsr.windows import Windows

sizes = st.integers(8, 30)


@given(sizes, sizes, st.sampled_from((4, 8)), st.booleans())
def test_cut_and_join(h: int, w: int, side: int, shifted: bool) -> None:
    windows = Windows(h, w, side, shifted=shifted)
    x = torch.rand(2, 1, h, w, 3)
    cut = windows.cut(x)
    assert cut.shape == (2 * windows.count, side**2, 3)
    assert torch.equal(windows.join(cut), x[:, 0])


@given(sizes, sizes, st.booleans())
def test_rows_name_the_tokens(h: int, w: int, shifted: bool) -> None:
    windows = Windows(h, w, 8, shifted=shifted)
    x = torch.rand(1, 1, h, w, 2)
    flat = torch.cat((x.view(h * w, 2), torch.zeros(1, 2)))
    assert torch.equal(flat[windows.rows], windows.cut(x))


def test_frames_stay_in_order() -> None:
    windows = Windows(16, 16, 8, shifted=True)
    x = torch.rand(2, 3, 16, 16, 2)
    whole = windows.cut(x).view(2, 4, 3, 64, 2)
    for t in range(3):
        alone = windows.cut(x[:, t : t + 1]).view(2, 4, 64, 2)
        assert torch.equal(whole[:, :, t], alone)


def test_opposite_edges_do_not_see_each_other() -> None:
    assert Windows(16, 24, 8, shifted=False).mask(3, torch.float32) is None
    windows = Windows(16, 24, 8, shifted=True)
    mask = windows.mask(3, torch.float32)
    assert mask is not None
    assert mask.shape == (6, 64, 192)
    rows = windows.rows // 24
    columns = windows.rows % 24
    far = (rows[:, :, None] - rows[:, None]).abs() >= 8
    far |= (columns[:, :, None] - columns[:, None]).abs() >= 8
    assert torch.equal(mask, far.repeat(1, 1, 3) * -100.0)
