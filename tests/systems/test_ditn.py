"""DITN: parameter counts and any size; ``tests/golden`` has the parity."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from upframe.systems.ditn.model import DITN


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ({"scale": 1}, 419_767),
        ({"scale": 2}, 424_636),
        ({"scale": 3}, 432_751),
        ({"scale": 4}, 444_112),
        ({"scale": 2, "norm": "layer"}, 367_996),
        ({"scale": 3, "norm": "layer"}, 376_111),
        ({"scale": 4, "norm": "layer"}, 387_472),
        ({"scale": 2, "norm": "layer", "n_ufone": 3}, 1_022_724),
        ({"scale": 3, "norm": "layer", "n_ufone": 3}, 1_030_839),
        ({"scale": 4, "norm": "layer", "n_ufone": 3}, 1_042_200),
    ],
)
def test_parameter_counts(arguments: dict[str, object], count: int) -> None:
    with torch.device("meta"):
        network = DITN(**arguments)  # type: ignore[arg-type]
    assert sum(p.numel() for p in network.parameters()) == count


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4), st.booleans())
def test_any_size(height: int, width: int, scale: int, residual: bool) -> None:
    network = DITN(scale, dim=4, n_itl=1, n_sal=1, residual=residual).eval()
    with torch.inference_mode():
        out = network(torch.rand(1, 2, 3, height, width))
    assert out.shape == (1, 2, 3, scale * height, scale * width)
    assert bool(out.isfinite().all())


def test_frames_are_independent() -> None:
    network = DITN(dim=8, n_itl=1, n_sal=1, norm="layer").eval()
    x = torch.rand(2, 3, 3, 17, 20)
    with torch.inference_mode():
        together = network(x)
        alone = network(x[1, 2][None])
    torch.testing.assert_close(together[1, 2], alone[0])


def test_layer_norm_is_over_channels() -> None:
    network = DITN(dim=8, n_itl=1, n_sal=1, norm="layer")
    norm = network.get_submodule("UFONE.0.ITLs.0.norm1")
    x = torch.randn(2, 8, 4, 5) * 3 + 1
    out = norm(x)
    want = (x - x.mean(1, keepdim=True)) / (
        x.var(1, keepdim=True, unbiased=False) + 1e-5
    ).sqrt()
    torch.testing.assert_close(out, want)


@pytest.mark.parametrize("residual", [False, True])
def test_gradients_reach_every_parameter(residual: bool) -> None:
    network = DITN(2, dim=8, n_itl=1, n_sal=1, residual=residual)
    for name, parameter in network.named_parameters():
        if name.endswith("SDA.scale") or name.startswith("upsample"):
            torch.nn.init.normal_(
                parameter
            )  # zero at first, which hides what is behind
    network(torch.rand(1, 3, 16, 16)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_residual_starts_as_bilinear() -> None:
    network = DITN(4, dim=8, n_itl=1, n_sal=1, residual=True).eval()
    x = torch.rand(1, 3, 16, 24)
    want = torch.nn.functional.interpolate(x, scale_factor=4.0, mode="bilinear")
    torch.testing.assert_close(network(x), want)
