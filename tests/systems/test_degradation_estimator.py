from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch

from upframe.errors import UpframeError
from upframe.systems.ultravsr.degradation_estimator import ClipIQA, DegradationEstimator


def test_any_size_gives_one_number_per_picture() -> None:
    network = DegradationEstimator().eval()
    with torch.no_grad():
        for size in ((2, 2), (17, 31), (64, 48)):
            out = network(torch.rand(3, 3, *size))
            assert out.shape == (3,)
            assert ((out > 0) & (out < 1)).all()


def test_it_is_small() -> None:
    count = sum(p.numel() for p in DegradationEstimator().parameters())
    assert 100_000 < count < 150_000


def test_it_learns_to_tell_noise() -> None:
    torch.manual_seed(0)
    network = DegradationEstimator(8)
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(60):
        strength = torch.rand(8)
        x = torch.full((8, 3, 16, 16), 0.5) * torch.rand(8, 1, 1, 1)
        x = x + strength[:, None, None, None] * 0.2 * torch.randn_like(x)
        loss = (network(x) - (1 - strength)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    x = torch.full((1, 3, 16, 16), 0.4)
    with torch.no_grad():
        clean = network(x)
        noisy = network(x + 0.18 * torch.randn_like(x))
    assert clean > noisy + 0.4


def test_clip_iqa_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(UpframeError, match="pip install pyiqa"):
        ClipIQA()


def test_clip_iqa_is_asked_as_pyiqa_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def create_metric(name: str, device: torch.device) -> object:
        asked.append((name, device))
        return lambda pictures: pictures.mean((1, 2, 3))[:, None] + 0.6

    fake = SimpleNamespace(create_metric=create_metric)
    monkeypatch.setitem(sys.modules, "pyiqa", fake)
    out = ClipIQA()(torch.tensor([0.1, 0.9])[:, None, None, None].expand(2, 3, 4, 4))
    torch.testing.assert_close(out, torch.tensor([0.7, 1.0]))
    assert asked == [("clipiqa", torch.device("cpu"))]
