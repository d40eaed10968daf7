"""A system that another package adds: found, trained, run, scored, exported."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy_system
from PIL import Image

import upframe
from media_factory import write_clip
from upframe.errors import UsageError, WeightsError
from upframe.evaluation.evaluate import evaluate
from upframe.export.onnx import export_model
from upframe.media.probe import probe
from upframe.systems import registry
from upframe.training.loop import train
from upframe.training.recipe import Recipe

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-system.md"


def install(folder: Path, entries: str) -> None:
    """What pip leaves of a package with entry points."""
    info = folder / "toy_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-package\n")
    (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{entries}\n")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that packages can be installed into."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    registry.forget_entry_points()
    yield folder
    registry.forget_entry_points()


@pytest.fixture
def toy(package: Path) -> None:
    install(package, "toy = toy_system:SPEC")


def recipe(folder: Path, steps: int = 2) -> Recipe:
    images = folder / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    for number in range(2):
        pixels = rng.integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(images / f"{number}.png")
    tree: dict[str, Any] = {
        "name": "toy",
        "system": {"name": "toy", "args": {"width": 4, "scale": 2}},
        "data": {"train": images, "cache": folder / "cache", "patch": 8, "batch": 2},
        "optimiser": {"steps": steps, "warmup": 1},
        "runs": folder / "runs",
    }
    return Recipe.model_validate(tree)


@pytest.mark.usefixtures("toy")
def test_it_trains_upscales_is_scored_and_exported(tmp_path: Path) -> None:
    plan = recipe(tmp_path)
    train(plan)
    weights = plan.folder / "last.ckpt"
    network = upframe.load(weights)
    assert isinstance(network, toy_system.Toy)
    torch.manual_seed(plan.seed)
    start = toy_system.Toy(4)
    assert not torch.equal(network.toy_last.weight, start.toy_last.weight)

    clip, out = tmp_path / "in.mp4", tmp_path / "out.mp4"
    write_clip(clip, frames=3, size=(64, 48))
    report = upframe.upscale(clip, out, model=str(weights))
    assert (report.frames_in, report.frames_out) == (3, 3)
    video = probe(out).video
    assert (video.width, video.height) == (128, 96)

    (tmp_path / "gt").mkdir()
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(tmp_path / "gt/a.png")
    scores = evaluate(model=str(weights), data=tmp_path / "gt", protocol="sisr")
    assert scores.mean["psnr"] > 10

    export = export_model(str(weights), tmp_path / "onnx")
    assert export.path.is_file()
    assert export.difference is not None
    assert export.difference < 1e-4
    with pytest.raises(UsageError, match="no export in int8"):
        export_model(str(weights), tmp_path / "onnx", int8=True)


@pytest.mark.usefixtures("toy")
def test_its_card_is_made_from_the_spec(tmp_path: Path) -> None:
    path = tmp_path / "toy.pth"
    torch.save(toy_system.Toy(6, scale=3).state_dict(), path)
    model = upframe.engine.models.resolve_model("balanced", str(path))
    assert (model.card.system, model.card.scale) == ("toy", 3)
    assert model.card.config == {"width": 6, "scale": 3}
    assert model.card.summary == "Toy x3 from toy.pth"


def test_without_the_package_it_is_unknown(package: Path) -> None:
    with pytest.raises(WeightsError, match="no system 'toy'"):
        registry.find_spec("toy")


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ("broken = no_such_package:SPEC", "ModuleNotFoundError"),
        ("broken = toy_system:absent", "AttributeError"),
        ("broken = toy_system:Toy", "is no SystemSpec"),
        ("broken = upframe.systems.ditn.spec:SPEC", "another system named ditn"),
    ],
)
def test_a_broken_entry_point_is_reported_and_the_rest_goes_on(
    package: Path, entries: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    install(package, f"{entries}\ntoy = toy_system:SPEC")
    assert registry.find_spec("toy") is toy_system.SPEC
    assert registry.find_spec("ditn") is registry.all_specs()[0]
    assert list(registry.broken_entry_points()) == ["broken"]
    assert reason in registry.broken_entry_points()["broken"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert reason in caplog.text


def test_the_page_shows_this_very_system() -> None:
    code = Path(inspect.getfile(toy_system)).read_text()
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert code in blocks
    assert len(code.splitlines()) < 80


def test_all_entries_of_our_specs_exist() -> None:
    """Those that need diffusers or training's packages are installed in tests."""
    from upframe.systems.spec import Lazy

    def entries(thing: Any) -> Iterator[Lazy]:
        if isinstance(thing, Lazy):
            yield thing
        elif isinstance(thing, tuple):
            for part in thing:
                yield from entries(part)
        elif hasattr(thing, "__dataclass_fields__"):
            for name in thing.__dataclass_fields__:
                yield from entries(getattr(thing, name))

    found = [entry for spec in registry.all_specs() for entry in entries(spec)]
    assert len(found) > 20
    assert all(callable(entry.load()) for entry in found)


def test_finding_systems_imports_no_torch() -> None:
    import subprocess

    code = (
        "import sys, upframe.systems.registry as r; r.all_specs(); r.training_tasks();"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
