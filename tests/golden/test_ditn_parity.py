"""DITN_Real equals the authors' code at x2, x3 and x4, and so does its LayerNorm."""

from __future__ import annotations

import pytest
import torch

from golden.fixtures import Fixture, limit, sampled
from upframe.systems.ditn.model import DITN

FIXTURE = Fixture("ditn_real")
CASES = [name for name in FIXTURE.cases if name != "layer_norm"]
DTYPES = [torch.float32, torch.float64]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_equals_the_authors_network(case: str, dtype: torch.dtype) -> None:
    network = DITN(**FIXTURE.cases[case]["upframe"]).eval()
    FIXTURE.fill(case, network)
    FIXTURE.check_state(case, network)
    given = FIXTURE.input(case)
    FIXTURE.check_input(case, given)
    with torch.inference_mode():
        out = network.to(dtype)(given.to(dtype))
    step = FIXTURE.cases[case]["steps"]["output"]
    for part, values in sampled(out, step).items():
        assert FIXTURE.error(f"{case}.output.{part}", values) < limit(dtype), part


@pytest.mark.parametrize("dtype", DTYPES)
def test_layer_norm_equals_the_authors(dtype: torch.dtype) -> None:
    dim = FIXTURE.cases["layer_norm"]["upframe"]["dim"]
    network = DITN(dim=dim, n_itl=1, n_sal=1, norm="layer")
    norm = network.get_submodule("UFONE.0.ITLs.0.norm1")
    FIXTURE.fill("layer_norm", norm)
    FIXTURE.check_state("layer_norm", norm)
    given = FIXTURE.input("layer_norm")
    FIXTURE.check_input("layer_norm", given)
    with torch.inference_mode():
        out = norm.to(dtype)(given.to(dtype))
    assert FIXTURE.error("layer_norm.output", out) < limit(dtype)
