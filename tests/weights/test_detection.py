"""Dummy networks over a grid of sizes: saved, detected, loaded, and equal."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import upframe
from upframe.errors import WeightsError
from upframe.systems.ditn.model import DITN, Norm
from upframe.systems.mia_vsr_lite.model import MIAVSRLite
from upframe.systems.registry import all_specs, detect, find_spec
from upframe.weights.loading import describe_file, load

GRID = list(
    itertools.product(
        (1, 2, 3, 4),
        ((1, 1, 1), (2, 0, 1), (0, 2, 2), (1, 3, 3)),
        (("tanh", False), ("layer", True)),
    )
)
PICTURE = torch.rand(2, 3, 17, 24, generator=torch.Generator().manual_seed(0))


def _shapes(network: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


@pytest.mark.parametrize(("scale", "depths", "variant"), GRID)
def test_any_size_is_found_again(
    tmp_path: Path,
    scale: int,
    depths: tuple[int, int, int],
    variant: tuple[Norm, bool],
) -> None:
    n_itl, n_sal, n_ufone = depths
    norm, residual = variant
    network = DITN(scale, 12, n_itl, n_sal, n_ufone, 1.5, norm, residual=residual)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    path = tmp_path / "my weights.safetensors"
    save_file(network.state_dict(), path)
    card = describe_file(path)
    assert (card.name, card.system, card.scale) == ("my weights", "ditn", scale)
    assert card.config == {
        "scale": scale,
        "dim": 12,
        "n_itl": n_itl,
        "n_sal": n_sal,
        "n_ufone": n_ufone,
        "expansion": 1.5,
        "norm": norm,
        "residual": residual,
    }
    with torch.inference_mode():
        assert torch.equal(load(path)(PICTURE), network.eval()(PICTURE))


@pytest.mark.parametrize(("dim", "hidden"), [(49, 50), (11, 40), (7, 3), (60, 120)])
def test_an_expansion_survives_the_rounding_of_its_quotient(
    dim: int, hidden: int
) -> None:
    network = DITN(2, dim=dim, n_itl=1, n_sal=1, expansion=(hidden + 0.5) / dim)
    config = find_spec("ditn").infer_config(_shapes(network))
    assert _shapes(DITN(**config)) == _shapes(network)


def test_a_checkpoint_of_training_tells_its_patch(tmp_path: Path) -> None:
    network = DITN(2, dim=8, n_itl=1, n_sal=1, patch=6).eval()
    recipe = '{"system": {"name": "ditn", "args": {"dim": 99, "patch": 6}}}'
    path = tmp_path / "last.ckpt"
    torch.save({"recipe": recipe, "params_ema": network.state_dict()}, path)
    assert (describe_file(path).multiple, describe_file(path).config["dim"]) == (6, 8)
    with torch.inference_mode():
        assert torch.equal(load(path)(PICTURE), network(PICTURE))
    nonsense = recipe.replace("6}", '"six"}')
    torch.save({"recipe": nonsense, "params_ema": network.state_dict()}, path)
    with pytest.raises(WeightsError, match="patch = 'six'"):
        load(path)


def test_numbers_from_the_shapes(tmp_path: Path) -> None:
    network = DITN()
    path = tmp_path / "real.pth"
    torch.save(network.state_dict(), path)
    card = describe_file(path)
    assert card.parameters == 444_112
    # torch's own counter says 938.76
    assert card.gflops_per_megapixel == pytest.approx(938.8, rel=2e-3)
    assert (card.multiple, card.min_size, card.overlap) == (8, 16, 48)
    assert 2500 < card.bytes_per_pixel < 4000


def test_every_system_is_found_by_name_and_only_by_its_own_keys() -> None:
    for spec in all_specs():
        assert find_spec(spec.name) is spec
    assert detect({"body.0.weight": (8, 3, 3, 3)}) is None
    assert detect({}) is None
    with pytest.raises(WeightsError, match="no system 'edsr'"):
        find_spec("edsr")


def test_loading_leaves_the_seed_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    upframe.load("ditn-s")
    assert torch.equal(torch.rand(4), expected)


def test_arguments_that_no_shape_tells_come_from_the_files_metadata(
    tmp_path: Path,
) -> None:
    path = tmp_path / "dense.safetensors"
    network = MIAVSRLite(dim=8, groups=[1], heads=1, use_mask=False)
    state = {k: v.contiguous() for k, v in network.state_dict().items()}
    save_file(state, path, metadata={"config": '{"use_mask": false}'})
    assert describe_file(path).config["use_mask"] is False
    for broken in ("{}", "{", "[]", "1"):
        save_file(state, path, metadata={"config": broken})
        assert "use_mask" not in describe_file(path).config
