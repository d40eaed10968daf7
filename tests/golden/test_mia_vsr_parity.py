"""MIA-VSR and SpyNet equal the authors' code, with and without masks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from golden.fixtures import Fixture, limit, names_sha256, sampled
from upframe.systems.mia_vsr.model import MIAVSR
from upframe.weights.loading import describe_file, load

FIXTURE = Fixture("mia_vsr")
CASES = list(FIXTURE.cases)
RUNS = [
    pytest.param("square", torch.float32, id="square"),
    pytest.param("odd", torch.float32, id="odd"),
    pytest.param("square", torch.float64, id="square-exact"),
    pytest.param("odd", torch.float64, id="odd-exact", marks=pytest.mark.slow),
]


def _network(case: str) -> MIAVSR:
    network = MIAVSR(**FIXTURE.cases[case]["upframe"]).eval()
    FIXTURE.fill(case, network)
    return network


def _clip(case: str) -> Tensor:
    """A still frame of noise; boxes of other frames are pasted into it."""
    noise = FIXTURE.input(case)
    clip = noise[:, :1].repeat(1, noise.shape[1], 1, 1, 1)
    for t, s, y0, y1, x0, x1 in FIXTURE.cases[case]["input"]["boxes"]:
        clip[:, t, :, y0:y1, x0:x1] = noise[:, s, :, y0:y1, x0:x1]
    FIXTURE.check_input(case, clip)
    return clip


def _check(case: str, output: str, actual: Tensor) -> None:
    step = FIXTURE.cases[case]["steps"][output]
    for part, values in sampled(actual, step).items():
        error = FIXTURE.error(f"{case}.{output}.{part}", values)
        assert error < limit(actual.dtype), (output, part, error)


@pytest.mark.parametrize("case", CASES)
def test_names_and_values_are_the_authors(case: str, tmp_path: Path) -> None:
    network = _network(case)
    FIXTURE.check_state(case, network)
    path = tmp_path / "authors.safetensors"
    save_file(network.state_dict(), path)
    assert (
        describe_file(path).config["heads"] == FIXTURE.cases[case]["upframe"]["heads"]
    )
    FIXTURE.check_state(case, load(path))


@pytest.mark.parametrize(("case", "dtype"), RUNS)
def test_masked(case: str, dtype: torch.dtype) -> None:
    with torch.inference_mode():
        restored = _network(case).to(dtype).restore(_clip(case).to(dtype))
    _check(case, "masked", restored.frames)
    torch.testing.assert_close(
        restored.keep_ratios.float(),
        FIXTURE.wanted[f"{case}.kept.fraction"],
        atol=1e-6,
        rtol=0,
    )


@pytest.mark.parametrize("case", CASES)
def test_masks_are_the_authors(case: str) -> None:
    masks = _network(case).masks(_clip(case))
    calls: list[Tensor] = []
    for name, mask in masks.items():
        visits = mask[0].flip(0) if name.startswith("backward") else mask[0]
        calls += visits[1:].flatten(0, 1)  # the first visit computes everything
    kept = torch.stack(calls)
    for part, axis in (("rows", 2), ("columns", 1)):
        counted = kept.sum(axis).to(torch.uint8)
        assert torch.equal(counted, FIXTURE.wanted[f"{case}.kept.{part}"]), part


@pytest.mark.parametrize(("case", "dtype"), RUNS)
def test_unmasked(case: str, dtype: torch.dtype) -> None:
    network = _network(case).to(dtype)
    network.use_mask = False
    with torch.inference_mode():
        restored = network.restore(_clip(case).to(dtype))
    _check(case, "unmasked", restored.frames)
    assert len(restored.keep_ratios) == 0


@pytest.mark.parametrize(("case", "dtype"), RUNS)
def test_flow(case: str, dtype: torch.dtype) -> None:
    frames = _clip(case).to(dtype)
    with torch.inference_mode():
        flow = _network(case).to(dtype).spynet(frames[:, 0], frames[:, 1])
    _check(case, "flow", flow)


def test_the_full_size_has_the_names_of_the_authors_files() -> None:
    # of the 1690 lines of the released REDS weights
    wanted = "b4e6d4cf1203fad42dfba3eae796952c811a0f44a50b03c4287ef41579015d2d"
    with torch.device("meta"):
        assert names_sha256(MIAVSR().state_dict()) == wanted
