"""MIA-VSR files of any size: saved, detected, loaded, and equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from upframe.errors import WeightsError
from upframe.systems.mia_vsr.model import MIAVSR
from upframe.systems.registry import detect, find_spec
from upframe.weights.loading import describe_file, load

SIZES: list[dict[str, Any]] = [
    {"mid_channels": 8, "embed_dim": 12, "depths": [2, 1], "heads": [2, 3]},
    {"mid_channels": 4, "embed_dim": 10, "depths": [1], "heads": [1], "window": 4},
    {
        "mid_channels": 16,
        "embed_dim": 11,
        "depths": [1] * 3,
        "heads": [11, 1, 1],
        "mlp_ratio": 1.3,
    },
]


@pytest.mark.parametrize("arguments", SIZES)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_any_size_is_found_again(
    tmp_path: Path, arguments: dict[str, Any], suffix: str
) -> None:
    network = MIAVSR(**arguments).eval()
    path = tmp_path / f"w{suffix}"
    if suffix == ".pth":
        torch.save({"params": network.state_dict()}, path)
    else:
        save_file(network.state_dict(), path)
    card = describe_file(path)
    assert (card.system, card.scale, card.min_size) == ("mia-vsr", 4, 16)
    assert card.parameters == sum(p.numel() for p in network.parameters())
    for name, value in arguments.items():
        if name != "mlp_ratio":
            assert card.config[name] == value
    loaded = load(path)
    assert isinstance(loaded, MIAVSR)
    assert not loaded.training
    state = loaded.state_dict()
    for key, tensor in network.state_dict().items():
        assert torch.equal(state[key], tensor), key
    frames = torch.rand(1, 2, 3, 64, 64)
    with torch.inference_mode():
        mine, _ = network.features(frames)
        theirs, _ = loaded.features(frames)
    assert torch.equal(mine[0], theirs[0])


def test_the_authors_size() -> None:
    with torch.device("meta"):
        state = MIAVSR().state_dict()
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    spec = detect(shapes)
    assert spec is find_spec("mia-vsr")
    assert spec.infer_config(shapes) == {
        "mid_channels": 64,
        "embed_dim": 120,
        "depths": [6] * 4,
        "heads": [6] * 4,
        "window": 8,
        "mlp_ratio": 2.0,
    }
    needs = spec.requirements(spec.infer_config(shapes), shapes)
    # torch's own counter says 50916 for three frames, which have two thirds of the
    # flows that a long clip has for each frame
    assert needs.gflops_per_megapixel == pytest.approx(51_400, rel=0.01)


def test_the_file_says_whether_masks_are_used(tmp_path: Path) -> None:
    network = MIAVSR(**SIZES[0])
    recipe = '{"system": {"name": "mia-vsr", "args": {"use_mask": false}}}'
    path = tmp_path / "w.ckpt"
    torch.save({"recipe": recipe, "params_ema": network.state_dict()}, path)
    loaded = load(path)
    assert isinstance(loaded, MIAVSR)
    assert not loaded.use_mask


def test_what_fits_no_network_is_said(tmp_path: Path) -> None:
    state = MIAVSR(**SIZES[0]).state_dict()
    path = tmp_path / "w.pth"
    first = "patch_align.backward_1.layers.0.residual_group.blocks.0.attn."
    for key, value, match in (
        ("relative_position_index", torch.zeros(60, 180), "not square"),
        ("relative_position_bias_table", torch.zeros(675, 5), "among"),
        ("proj.weight", torch.zeros(3, 3), "instead of"),
    ):
        torch.save({**state, first + key: value}, path)
        with pytest.raises(WeightsError, match=match):
            load(path)
