from __future__ import annotations

import pytest
import torch
from torch import Tensor

from upframe.nn.colour import adain, coarse, wavelet


def pictures(frames: int = 2, height: int = 40, width: int = 50) -> Tensor:
    generator = torch.Generator().manual_seed(frames)
    return torch.rand(frames, 3, height, width, generator=generator)


@pytest.mark.parametrize("correct", [adain, wavelet])
def test_a_picture_with_the_right_colours_stays(correct) -> None:
    x = pictures()
    torch.testing.assert_close(correct(x, x), x, rtol=0, atol=1e-5)


@pytest.mark.parametrize("correct", [adain, wavelet])
def test_a_colour_cast_goes_away(correct) -> None:
    x = pictures()
    cast = x * 0.8 + torch.tensor([0.2, -0.1, 0.05])[:, None, None]
    out = correct(cast, x)
    assert (out.mean((-2, -1)) - x.mean((-2, -1))).abs().max() < 0.01


def test_wavelet_keeps_the_detail_of_the_picture() -> None:
    picture, reference = pictures(1), pictures(3)[:1]
    out = wavelet(picture, reference)
    torch.testing.assert_close(
        out - coarse(reference), picture - coarse(picture), rtol=0, atol=1e-5
    )


def test_coarse_equals_one_blur_after_the_other() -> None:
    # the kernel as StableSR writes it, applied to the middle of an impulse
    x = torch.zeros(1, 1, 65, 65)
    x[..., 32, 32] = 1.0
    kernel = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]) / 16
    expected = x
    for step in (1, 2, 4, 8, 16):
        expected = torch.nn.functional.conv2d(
            expected, kernel[None, None], padding=step, dilation=step
        )
    torch.testing.assert_close(coarse(x), expected, rtol=0, atol=1e-6)


def test_adain_takes_mean_and_spread() -> None:
    picture, reference = pictures(2), pictures(3, 20, 30)[:2] * 0.5
    out = adain(picture, reference)
    torch.testing.assert_close(
        out.std((-2, -1)), reference.std((-2, -1)), rtol=0, atol=1e-3
    )


def test_tiny_and_flat_pictures_work() -> None:
    flat = torch.full((1, 3, 2, 3), 0.5)
    for correct in (adain, wavelet):
        assert torch.isfinite(correct(flat, flat + 0.1)).all()


@pytest.mark.parametrize("size", [(40, 50), (3, 70), (1, 1)])
def test_edges_repeat_at_every_level(size: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *size)
    kernel = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]) / 16
    expected = x
    for step in (1, 2, 4, 8, 16):
        expected = torch.nn.functional.conv2d(
            torch.nn.functional.pad(expected, (step,) * 4, mode="replicate"),
            kernel.expand(3, 1, 3, 3),
            groups=3,
            dilation=step,
        )
    torch.testing.assert_close(coarse(x), expected, rtol=0, atol=1e-6)
