"""SpyNet: trained weights find a known motion; any size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from material import reference
from upframe.nn.flow import SpyNet
from upframe.weights.loading import read_state


def test_trained_weights_find_a_shift() -> None:
    weights = reference("weights/spynet/spynet_from_BasicVSR_Vimeo90K_BIx4.pth")
    network = SpyNet()
    network.load_state_dict(
        {k.removeprefix("spynet."): v for k, v in read_state(weights).items()}
    )
    picture = Image.open(reference("data/sisr/Set5/butterfly.png")).convert("RGB")
    x = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 255
    x = torch.nn.functional.avg_pool2d(x, 2)
    here, there = x[..., 10:106, 10:122], x[..., 8:104, 13:125]
    with torch.inference_mode():
        flow = network(here, there)[..., 16:-16, 16:-16].mean((0, 2, 3))
    # what is at p here lies three pixels left of and two below p there
    assert flow.tolist() == pytest.approx([-3, 2], abs=0.3)


@pytest.mark.parametrize("size", [(33, 64), (64, 77)])
def test_any_size(size: tuple[int, int]) -> None:
    network = SpyNet()
    with torch.inference_mode():
        flow = network(torch.rand(2, 3, *size), torch.rand(2, 3, *size))
    assert flow.shape == (2, 2, *size)
    assert bool(flow.isfinite().all())
