"""Measuring and choosing what each head sees, and the file that keeps it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from upframe.errors import UsageError, WeightsError
from upframe.systems.oasis.head_routing import (
    Calibration,
    LayerRouting,
    Routing,
    choose_heads,
    pattern_divergence,
    spread_queries,
    threshold_for,
)
from upframe.systems.oasis.routed_attention import Grid, HeadKind, Window, pattern_mask

GRID, WINDOW = Grid(3, 4, 5), Window(3, 3, 3)


def tokens(heads: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 2, heads, GRID.tokens, 8, generator=generator)
    return q, k


@pytest.mark.parametrize("logits_at_once", [1, 1000, 2**23])
def test_it_is_the_divergence_by_its_definition(logits_at_once: int) -> None:
    q, k = tokens()
    everything = torch.arange(GRID.tokens)
    got = pattern_divergence(q, k, GRID, WINDOW, everything, logits_at_once)
    logits = (q.double() @ k.double().transpose(-2, -1)) / 8**0.5
    whole = logits.softmax(-1)
    kinds: tuple[HeadKind, ...] = ("frame", "window")
    for kind, values in zip(kinds, got, strict=True):
        mask = pattern_mask(kind, GRID, WINDOW)
        part = logits.masked_fill(~mask, -torch.inf).softmax(-1)
        terms = torch.where(mask, part * (part / whole).log(), 0.0)
        torch.testing.assert_close(
            values, terms.sum(-1).mean((0, 2)), atol=1e-6, rtol=0
        )


def test_heads_that_are_local_are_found() -> None:
    """Three heads: one looks at its frame, one around itself, one anywhere."""
    n = GRID.tokens
    place = torch.arange(n)
    frame = torch.nn.functional.one_hot(place // 20, n).float() * 6
    where = torch.stack((place // 20, place % 20 // 5, place % 5), dim=-1).float()
    near = torch.exp(-torch.cdist(where, where).square()) * 9
    anywhere = torch.zeros(n, n)
    q = torch.stack((frame, near, anywhere))[None]
    found = pattern_divergence(q, q, GRID, WINDOW, place)
    kinds = choose_heads(found[None], 0.25)[0].heads
    assert kinds == ("frame", "window", "global")
    # uniform attention: the mass inside is the share of the tokens inside
    assert found[0, 2] == pytest.approx(torch.tensor(3.0).log().item())
    inside = pattern_mask("window", GRID, WINDOW).double().mean(-1)
    assert found[1, 2].item() == pytest.approx(-inside.log().mean().item())


def test_few_queries_stand_for_all() -> None:
    assert spread_queries(5, 9).tolist() == [0, 1, 2, 3, 4]
    assert spread_queries(100, 4).tolist() == [12, 37, 62, 87]
    assert len(set(spread_queries(32_400, 1000).tolist())) == 1000


def test_the_threshold_decides_and_a_share_finds_it() -> None:
    found = torch.tensor([[[0.1, 0.9, 2.0], [0.3, 0.2, 3.0]], [[0.5] * 3, [0.4] * 3]])
    kinds = [layer.heads for layer in choose_heads(found, 0.25)]
    assert kinds == [("frame", "window", "global"), ("global",) * 3]
    half = threshold_for(found, 0.5)  # 0.1 0.2 0.4 0.4 0.4 2.0
    assert half == pytest.approx(0.4)
    assert threshold_for(found, 2 / 6) == pytest.approx(0.2)
    assert threshold_for(found, 0) == 0
    everything = choose_heads(found, threshold_for(found, 1))
    assert all("global" not in layer.heads for layer in everything)
    for wrong in (-0.1, 1.1):
        with pytest.raises(UsageError, match="share"):
            threshold_for(found, wrong)
    for wrong in (-0.1, float("nan")):
        with pytest.raises(UsageError, match="threshold"):
            choose_heads(found, wrong)


def some_routing() -> Routing:
    return Routing(
        architecture="a" * 64,
        window=(3, 9, 9),
        layers=choose_heads(torch.tensor([[[0.1, 0.9], [0.3, 0.7]]]), 0.25),
        calibration=Calibration(
            weights="b" * 64,
            clips=("one", "two"),
            tokens=(3, 4, 5),
            queries=60,
            threshold=0.25,
        ),
    )


def test_the_file_keeps_everything(tmp_path: Path) -> None:
    routing = some_routing()
    routing.save(tmp_path / "routing.json")
    assert Routing.load(tmp_path / "routing.json") == routing
    assert routing.share("frame") == 0.5
    assert routing.layers[0].share("window") == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 2}, "version"),
        ({"window": [3, 8, 9]}, "centre"),
        ({"layers": []}, "layers"),
        ({"layers": [{"heads": ["global", "local"]}]}, "heads"),
        ({"layers": [{"heads": ["global"], "kl_frame": [0.1, 0.2]}]}, "one divergence"),
        ({"other": 1}, "other"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    path = tmp_path / "routing.json"
    path.write_text(json.dumps({**some_routing().model_dump(), **change}))
    with pytest.raises(WeightsError, match=said):
        Routing.load(path)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="upframe calibrate"):
        Routing.load(tmp_path / "none.json")


def test_a_mass_above_one_is_no_measurement() -> None:
    with pytest.raises(ValidationError):
        LayerRouting(heads=("frame",), kl_frame=(-0.5,), kl_window=(0.0,))
