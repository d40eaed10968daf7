from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import ultravsr_parts as parts
from upframe.errors import UsageError, WeightsError
from upframe.systems.ultravsr.adapters import checkpoint
from upframe.systems.ultravsr.memory import plan_memory
from upframe.systems.ultravsr.pretrained import (
    SD21_BASE,
    HubSource,
    from_pretrained,
    locate,
    skeleton,
)
from upframe.systems.ultravsr.stream import Options

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in diffusers' layout, of the classes of the full size."""
    folder = tmp_path_factory.mktemp("base")
    parts.save_base(folder)
    return folder


@pytest.fixture
def broken(saved: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    shutil.copytree(saved, tmp_path / "copy")
    return tmp_path / "copy"


FRAMES = torch.rand(1, 3, 3, 6, 8, generator=torch.Generator().manual_seed(0))
HALF = torch.tensor([0.5])


def test_components_and_checkpoint_become_a_system(saved: Path, tmp_path: Path) -> None:
    networks = parts.trained()
    torch.save(checkpoint(*networks), tmp_path / "model.pkl")
    fresh = from_pretrained(saved)
    model = from_pretrained(saved, tmp_path / "model.pkl")
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert not any("lora" in name for name, _ in model.named_parameters())
    # the same networks, put together by hand and with LoRA still apart
    by_hand = type(model)(
        *networks, model.alphas_cumprod, text=model.text, scale=4
    ).eval()
    with torch.no_grad():
        out, plain = model(FRAMES, HALF), fresh(FRAMES, HALF)
        expected = by_hand(FRAMES, HALF)
    assert out.shape == (1, 3, 3, 24, 32)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-4)
    assert not torch.allclose(out, plain, atol=1e-3)


def test_the_schedule_is_stable_diffusions(saved: Path) -> None:
    torch.testing.assert_close(
        from_pretrained(saved).alphas_cumprod, parts.alphas(), rtol=1e-4, atol=1e-6
    )


def test_the_prompt_matters(saved: Path) -> None:
    one, other = from_pretrained(saved, prompt="a b"), from_pretrained(saved)
    assert one.text is not None
    assert other.text is not None
    assert one.text.shape == (1, 6, parts.TEXT_WIDTH)
    assert not torch.allclose(one.text, other.text)


def test_types(saved: Path, tmp_path: Path) -> None:
    torch.save(checkpoint(*parts.trained()), tmp_path / "model.pkl")
    model = from_pretrained(saved, tmp_path / "model.pkl", dtype=torch.bfloat16)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert model.alphas_cumprod.dtype == torch.float32
    single = from_pretrained(saved, tmp_path / "model.pkl")
    with torch.no_grad():
        out, exact = model(FRAMES, HALF), single(FRAMES, HALF)
    assert out.dtype == torch.float32
    assert (out - exact).abs().mean() < 0.05


def test_memory_is_planned_from_the_configuration_alone(broken: Path) -> None:
    real = plan_memory(from_pretrained(broken), (6, 8), Options(factor=0.5))
    for file in broken.rglob("*.safetensors"):
        file.unlink()
    planned = plan_memory(skeleton(broken), (6, 8), Options(factor=0.5))
    assert (planned.unet, planned.vae) == (real.unet, real.vae)
    # the tiny text encoder reads fewer words than Stable Diffusion's
    assert planned.working >= real.working


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("unet/config.json", "lacks unet/config.json"),
        ("unet/diffusion_pytorch_model.safetensors", "cannot be loaded"),
        ("vae", "lacks vae/config.json"),
        ("scheduler", "lacks scheduler"),
        ("tokenizer", "tokenizer are missing"),
        ("text_encoder/model.safetensors", "text encoder"),
    ],
)
def test_missing_components_are_named(broken: Path, missing: str, message: str) -> None:
    path = broken / missing
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    with pytest.raises(WeightsError, match=message):
        from_pretrained(broken)


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_wrong_components_are_refused(broken: Path) -> None:
    scheduler = broken / "scheduler/scheduler_config.json"
    change(scheduler, prediction_type="v_prediction")
    with pytest.raises(WeightsError, match="v_prediction"):
        from_pretrained(broken)
    change(broken / "unet/config.json", _class_name="UNet3DConditionModel")
    with pytest.raises(WeightsError, match="UNet3DConditionModel"):
        from_pretrained(broken)


def test_checkpoints_that_are_none_are_refused(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    torch.save([1, 2], path)
    with pytest.raises(WeightsError, match="holds a list"):
        from_pretrained(saved, path)
    torch.save({"state_dict_unet": {}}, path)
    with pytest.raises(WeightsError, match="lacks rank_unet"):
        from_pretrained(saved, path)
    path.write_bytes(b"<html>")
    with pytest.raises(WeightsError, match="web page"):
        from_pretrained(saved, path)


def test_sources_are_pinned() -> None:
    assert len(SD21_BASE) >= 2
    with pytest.raises(UsageError, match="no commit"):
        HubSource("owner/name", "main")
    with pytest.raises(UsageError, match="lacks a revision"):
        locate("owner/name")
    with pytest.raises(WeightsError, match="no folder"):
        locate("/nowhere/at/all")


def test_offline_uses_the_cache_and_nothing_else(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="not in the hub's cache"):
        locate(SD21_BASE, offline=True, cache=tmp_path)
    # the second mirror is there, laid out as the hub's client does
    mirror = SD21_BASE[1]
    repo = tmp_path / f"models--{mirror.repo.replace('/', '--')}"
    shutil.copytree(saved, repo / "snapshots" / mirror.revision)
    found = locate(SD21_BASE, offline=True, cache=tmp_path)
    assert found.name == mirror.revision
    model = from_pretrained(SD21_BASE, offline=True, cache=tmp_path)
    assert model.scale == 4
