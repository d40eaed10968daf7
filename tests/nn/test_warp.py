"""Warping by whole pixels, in patches, at borders, and along two flows."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from upframe.nn.warp import flow_warp, follow, patch_flow, patch_warp


def _flow(h: int, w: int, across: float, down: float) -> torch.Tensor:
    return (
        torch.tensor([float(across), float(down)]).view(1, 2, 1, 1).expand(1, 2, h, w)
    )


@given(st.integers(-3, 3), st.integers(-3, 3))
def test_a_flow_points_to_where_pixels_are_taken_from(across: int, down: int) -> None:
    x = torch.rand(1, 2, 12, 20)
    flow = _flow(12, 20, across, down)
    wanted = torch.roll(x, (-down, -across), dims=(2, 3))
    for moved in (flow_warp(x, flow), patch_warp(x, flow)):
        torch.testing.assert_close(
            moved[..., 3:-3, 3:-3], wanted[..., 3:-3, 3:-3], atol=1e-4, rtol=0
        )


def test_the_outside_is_zero_or_the_border() -> None:
    x = torch.rand(1, 1, 10, 10) + 1
    far = _flow(10, 10, 40, 0)
    assert not flow_warp(x, far).any()
    assert not patch_warp(x, far).any()
    border = flow_warp(x, far, padding="border")
    torch.testing.assert_close(border, x[..., -1:].expand_as(x))


def test_patches_move_rigidly() -> None:
    flow = torch.randn(2, 2, 21, 30)
    mean = patch_flow(flow, 8)
    assert mean.shape == flow.shape
    for top, left in ((0, 0), (8, 16)):
        patch = (..., slice(top, top + 8), slice(left, left + 8))
        expected = flow[patch].mean((2, 3), keepdim=True).expand(2, 2, 8, 8)
        torch.testing.assert_close(mean[patch], expected)


def test_half_precision_tells_pixels_apart() -> None:
    x = torch.arange(1500.0).expand(1, 1, 2, 1500).half()
    moved = flow_warp(x, _flow(2, 1500, 1, 0).half())
    assert moved.dtype == torch.float16
    torch.testing.assert_close(moved[..., :-1], x[..., 1:], atol=1, rtol=1e-3)


def test_following_two_flows_adds_them_where_they_are_constant() -> None:
    walked = follow(_flow(12, 12, 2, 1), _flow(12, 12, -1, 3))
    torch.testing.assert_close(walked[..., :8, :8], _flow(8, 8, 1, 4))
