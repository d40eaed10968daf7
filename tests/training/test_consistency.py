"""The short-term temporal loss."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("cv2")

from upframe.training.consistency import warping_loss


def _panned(frames: int = 3, step: int = 2) -> torch.Tensor:
    """(1, T, 3, 64, 64) of a smooth texture that moves by ``step`` pixels a frame."""
    generator = torch.Generator().manual_seed(3)
    wide = torch.rand(1, 3, 24, 48, generator=generator)
    wide = torch.nn.functional.interpolate(wide, scale_factor=4, mode="bicubic")
    wide = wide.clamp(0, 1)
    views = [wide[..., 10:74, 20 + step * i : 84 + step * i] for i in range(frames)]
    return torch.stack(views, dim=1)


def test_what_moves_with_the_original_costs_next_to_nothing() -> None:
    clip = _panned()
    assert clip.std() > 0.1
    assert warping_loss(clip, clip) < 0.01
    assert (clip.diff(dim=1)).abs().mean() > 0.05


def test_a_blur_that_moves_along_costs_as_little() -> None:
    clip = _panned()
    soft = torch.nn.functional.avg_pool2d(clip[0], 5, 1, 2)[None]
    assert warping_loss(soft, clip) < 0.01


def test_flicker_and_a_picture_that_stands_still_cost() -> None:
    clip = _panned()
    calm = warping_loss(clip, clip).item()
    brighter = clip.clone()
    brighter[:, 1] += 0.1
    assert warping_loss(brighter, clip).item() == pytest.approx(calm + 0.1, abs=0.01)
    still = clip[:, :1].expand_as(clip)
    assert warping_loss(still, clip) > 5 * calm


def test_gradient_reaches_both_frames() -> None:
    clip = _panned(frames=2)
    made = (clip + 0.05 * torch.rand_like(clip)).requires_grad_()
    warping_loss(made, clip).backward()
    assert made.grad is not None
    assert (made.grad.abs().sum(dim=(0, 2, 3, 4)) > 0).all()


def test_one_frame_is_refused() -> None:
    clip = _panned(frames=1)
    with pytest.raises(ValueError, match="one frame"):
        warping_loss(clip, clip)
