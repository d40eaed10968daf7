"""MIA-VSR lite files of any size: saved, detected, loaded, and equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lite_networks import clip, lite
from upframe.errors import WeightsError
from upframe.systems.mia_vsr_lite.model import MIAVSRLite
from upframe.systems.registry import detect, find_spec
from upframe.weights.loading import describe_file, load

SIZES: list[dict[str, Any]] = [
    {"dim": 32, "groups": [3], "heads": 1},
    {"dim": 48, "groups": [2, 2], "heads": 2},
    {"dim": 18, "groups": [1, 0, 2], "heads": 3, "mlp_ratio": 1.4},
]


@pytest.mark.parametrize("arguments", SIZES)
def test_any_size_is_found_again(tmp_path: Path, arguments: dict[str, Any]) -> None:
    network = lite(use_mask=True, **arguments)
    path = tmp_path / "w.pth"
    torch.save({"params": network.state_dict()}, path)
    card = describe_file(path)
    assert (card.system, card.scale, card.multiple) == ("mia-vsr-lite", 4, 8)
    assert (card.lookahead, card.masked) == (1, True)
    assert card.context > 0
    assert card.parameters == sum(p.numel() for p in network.parameters())
    for name, value in arguments.items():
        if name != "mlp_ratio":
            assert card.config[name] == value
    loaded = load(path)
    assert isinstance(loaded, MIAVSRLite)
    assert loaded.use_mask
    frames = clip(1, 2, 3, 16, 24)
    with torch.inference_mode():
        assert torch.equal(network(frames), loaded(frames))


def test_the_file_says_whether_masks_are_used(tmp_path: Path) -> None:
    recipe = '{"system": {"name": "mia_vsr_lite", "args": {"use_mask": false}}}'
    path = tmp_path / "w.ckpt"
    torch.save({"recipe": recipe, "params_ema": lite().state_dict()}, path)
    loaded = load(path)
    assert isinstance(loaded, MIAVSRLite)
    assert not loaded.use_mask


def test_work_is_counted() -> None:
    """Against torch's own counter, which leaves out the attention's two products."""
    from torch.utils.flop_counter import FlopCounterMode

    network = lite(dim=32, groups=[3], heads=1)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    spec = detect(shapes)
    assert spec is find_spec("mia_vsr_lite")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(clip(1, 2, 3, 64, 64))
    counted = counter.get_total_flops() / (2 * 64 * 64) / 1e3 + 2 * 2 * 128 * 32 / 1e3
    needs = spec.requirements(spec.infer_config(shapes), shapes)
    assert needs.gflops_per_megapixel == pytest.approx(counted, rel=0.01)


def test_what_fits_no_network_is_said(tmp_path: Path) -> None:
    state = lite().state_dict()
    path = tmp_path / "w.pth"
    for key, value, match in (
        ("groups.0.attn.position_bias", torch.zeros(450, 5), "among"),
        ("groups.0.attn.proj.weight", torch.zeros(3, 3), "instead of"),
    ):
        torch.save({**state, key: value}, path)
        with pytest.raises(WeightsError, match=match):
            load(path)
