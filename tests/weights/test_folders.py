"""Folders of full-size systems, named as weight files are; tiny random components."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("diffusers")
pytest.importorskip("peft")

import liftvsr_parts
import oasis_parts
import ultravsr_parts
import upframe
from machines import machine
from media_factory import write_clip
from upframe.engine.models import resolve_model
from upframe.errors import UpframeError, WeightsError
from upframe.media.source import FileSource
from upframe.runtimes.registry import choose
from upframe.systems.ultravsr import degradation_estimator
from upframe.systems.ultravsr.adapters import checkpoint
from upframe.weights.folders import describe_folder, find_system, folder_sha256

SYSTEMS = ("oasis", "liftvsr", "ultravsr")
FRAMES = 11


class Brightness(nn.Module):
    """In the place of CLIP-IQA, which is not here."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures.mean((1, 2, 3))


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of each system."""
    place = tmp_path_factory.mktemp("shelf")
    folders = {name: place / f"my-{name}" for name in SYSTEMS}
    oasis_parts.system("global", "frame", "window").save_pretrained(folders["oasis"])
    lift = liftvsr_parts.system()
    lift.save_pretrained(folders["liftvsr"])
    folders["ultravsr"].mkdir()
    widths = (4, 4, 4, 8)  # 8 times smaller, as Stable Diffusion's
    ultravsr_parts.save_base(folders["ultravsr"], widths)
    networks = ultravsr_parts.trained(widths)
    torch.save(checkpoint(*networks), folders["ultravsr"] / "model.pkl")
    return folders


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(degradation_estimator, "ClipIQA", Brightness)


def pixels(path: Path) -> Any:
    source = FileSource(path)
    made = np.stack([frame.pixels for frame in source]).astype(int)
    source.close()
    return made


@pytest.mark.usefixtures("judge")
@pytest.mark.parametrize("name", SYSTEMS)
def test_a_folder_loads_as_a_network(name: str, shelf: dict[str, Path]) -> None:
    network = upframe.load(shelf[name])
    assert type(network).__name__.lower() == name
    assert not network.training
    with torch.no_grad():
        out = network(torch.rand(1, 2, 3, 18, 21))
    assert out.shape == (1, 2, 3, 72, 84)
    half = upframe.load(shelf[name], dtype=torch.bfloat16)
    kinds = [p.dtype for p in half.parameters()]
    assert kinds.count(torch.bfloat16) > len(kinds) / 2


@pytest.mark.parametrize("name", SYSTEMS)
def test_needs_are_known_before_weights_are_read(
    name: str, shelf: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "bare"
    shutil.copytree(shelf[name], folder)
    for part in ("transformer", "vae", "unet", "text_encoder"):
        for file in folder.glob(f"{part}/*.safetensors"):
            file.write_bytes(b"")
    card = describe_folder(folder)
    assert (card.name, card.system, card.scale) == ("bare", name, 4)
    assert card.bytes_per_pixel > 100
    assert card.gflops_per_megapixel > 1
    weights = sum(f.stat().st_size for f in shelf[name].rglob("*.safetensors"))
    assert card.base_bytes - 384 * 2**20 > 0.2 * weights
    # what the plan cuts by
    assert card.segment == {"oasis": 4, "liftvsr": 3, "ultravsr": 1}[name]
    assert (card.tiling == "own") == (name == "ultravsr")


def test_a_model_is_the_content_of_its_folder(
    shelf: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(shelf["oasis"], folder)
    (folder / "notes.md").write_text("mine")
    model = resolve_model("balanced", str(folder))
    assert model.files == {"folder": folder}
    assert model.digest == folder_sha256(shelf["oasis"])
    (folder / "routing.json").write_text("{}")
    assert folder_sha256(folder) != model.digest


@pytest.mark.usefixtures("judge")
@pytest.mark.parametrize("name", SYSTEMS)
def test_a_folder_upscales_a_video(
    name: str, shelf: dict[str, Path], tmp_path: Path
) -> None:
    movie = write_clip(tmp_path / "in.mp4", frames=FRAMES, size=(32, 24))
    given: dict[str, Any] = {"codec": "ffv1", "threads": 1, "memory": 8 << 30}
    out = tmp_path / "out.mkv"
    report = upframe.upscale(movie, out, model=str(shelf[name]), **given)
    assert (report.frames_out, report.width, report.height) == (FRAMES, 128, 96)
    assert report.model == f"my-{name}"
    assert report.precision == "fp32"
    whole = pixels(out)
    assert whole.std() > 3
    again = tmp_path / "again.mkv"
    upframe.upscale(movie, again, model=str(shelf[name]), chunk_frames=4, **given)
    if name == "ultravsr":  # streams: chunks change nothing
        assert np.abs(whole - pixels(again)).max() <= 2
    assert pixels(again).shape == whole.shape


def test_half_precision_is_for_gpus(shelf: dict[str, Path]) -> None:
    gpu = machine(torch=1)
    for name, half in (("oasis", "bf16"), ("liftvsr", "bf16"), ("ultravsr", "fp16")):
        model = resolve_model("balanced", str(shelf[name]))
        assert choose(model.card, model.files, runtimes=gpu).precision == half
        exact = choose(model.card, model.files, precision="fp32", runtimes=gpu)
        assert (exact.device, exact.precision) == ("cuda:0", "fp32")
        with pytest.raises(UpframeError, match="torch on CUDA"):
            choose(model.card, model.files, device="cpu", precision=half, runtimes=gpu)
        plain = choose(model.card, model.files, runtimes=machine())
        assert plain.precision == "fp32"


def test_ultravsr_needs_its_checkpoint_and_its_judge(
    shelf: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "sd"
    shutil.copytree(shelf["ultravsr"], folder)
    with pytest.raises(UpframeError, match="pyiqa"):
        upframe.load(folder)
    shutil.copy(folder / "model.pkl", folder / "other.pth")
    with pytest.raises(WeightsError, match=r"model\.pkl, other\.pth"):
        upframe.load(folder)
    (folder / "model.pkl").unlink()
    (folder / "other.pth").unlink()
    for call in (upframe.load, describe_folder):
        with pytest.raises(WeightsError, match="there is: none"):
            call(folder)


def test_other_folders_are_none(tmp_path: Path) -> None:
    assert find_system(tmp_path) is None
    assert find_system(tmp_path / "absent") is None
    with pytest.raises(WeightsError, match="holds no diffusion system"):
        describe_folder(tmp_path)
    with pytest.raises(WeightsError, match="is a folder"):
        upframe.load(tmp_path)


def test_a_damaged_folder_is_refused(shelf: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(shelf["oasis"], folder)
    (folder / "prompt.safetensors").write_bytes(b"x" * 40)
    with pytest.raises(WeightsError, match="SHA-256"):
        upframe.load(folder)
    shutil.rmtree(folder / "transformer")
    with pytest.raises(WeightsError, match="transformer"):
        describe_folder(folder)
