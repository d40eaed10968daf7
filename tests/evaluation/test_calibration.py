"""``upframe calibrate``: from clips to a routing file that the model takes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import nano_parts
import oasis_parts as parts
from upframe.cli.main import main
from upframe.errors import InputError, UsageError
from upframe.evaluation.calibration import calibrate
from upframe.systems.oasis.attention import RoutedProcessor, attention_weights
from upframe.systems.oasis.head_routing import Routing
from upframe.systems.oasis.model import OASIS
from upframe.weights.loading import load


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    parts.system("window", "global", "frame").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    for clip, frames in (("a", 9), ("b", 2)):
        (folder / clip).mkdir()
        for number in range(frames):
            picture = rng.integers(0, 256, (16, 20, 3), np.uint8)
            Image.fromarray(picture).save(folder / clip / f"{number}.png")
    return folder


def run(*arguments: object) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["upframe", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
    return int(end.value.code or 0)


def test_the_command_writes_a_file_that_the_model_takes(
    model: Path, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "routing.json"
    asked = (
        "calibrate",
        model,
        "--data",
        clips,
        "-o",
        out,
        "--window",
        "1x3x3",
        "--threads",
        1,
    )
    assert run(*asked, "--local-share", 0.5) == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 1 + parts.LAYERS + 1
    assert shown[-1].split()[:2] == ["all", "50%"]

    routing = Routing.load(out)
    assert routing.window == (1, 3, 3)
    assert routing.share("global") == 0.5
    assert routing.calibration is not None
    assert routing.calibration.clips == ("a", "b")
    assert routing.calibration.tokens == (3, 4, 5)
    system = OASIS.from_pretrained(model, routing=out)
    assert routing.calibration.weights == attention_weights(system.transformer)
    heads = system.transformer.blocks[1].attn1.processor.kinds
    assert heads == routing.layers[1].heads

    assert run(*asked) == 1  # exists
    assert "-y" in capsys.readouterr().err
    assert run(*asked, "-y", "--threshold", 0, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert {head for layer in said["layers"] for head in layer["heads"]} == {"global"}


def test_what_is_measured_is_what_the_layers_compute(model: Path, clips: Path) -> None:
    """The mass of one head, from the attention of the model itself."""
    found = calibrate(
        model, clips / "a", frames=9, queries=10**6, window=(3, 3, 3), threads=1
    )
    system = OASIS.from_pretrained(model)
    system.set_routing(parts.routing(system.transformer, *["global"] * 3))
    seen = []
    block = system.transformer.blocks[0].attn1
    old = block.processor
    block.set_processor(
        RoutedProcessor(
            old.kinds, old.window, old.note, lambda q, k, grid: seen.append((q, k))
        )
    )
    pictures = [np.asarray(Image.open(clips / "a" / f"{i}.png")) for i in range(9)]
    clip = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)[None] / 255
    with torch.inference_mode():
        system.latents(clip)
    q, k = (x[0, 2].double() for x in seen[0])
    attention = (q @ k.T / 16**0.5).softmax(-1).view(3, 20, 3, 20)
    mass = torch.stack([attention[t, :, t].sum(-1) for t in range(3)])
    assert found.layers[0].kl_frame is not None
    wanted = -mass.log().mean().item()
    assert found.layers[0].kl_frame[2] == pytest.approx(wanted, abs=1e-5)


def test_the_routing_of_the_model_does_not_matter(model: Path, clips: Path) -> None:
    """Heads are measured with all of them global, so that it can be repeated."""
    first = calibrate(model, clips, window=(3, 3, 3), threads=1)
    system = OASIS.from_pretrained(model)
    other = model.parent / "other"
    system.set_routing(parts.routing(system.transformer, *["frame"] * 3))
    system.save_pretrained(other)
    assert calibrate(other, clips, window=(3, 3, 3), threads=1) == first


def test_a_weight_file_is_a_model_too(clips: Path, tmp_path: Path) -> None:
    file = nano_parts.save(tmp_path, "oasis")
    found = calibrate(file, clips, window=(1, 3, 3), frames=2, threads=1)
    part = calibrate(file, clips, window=(1, 3, 3), frames=2, patch=8, threads=1)
    assert part.calibration is not None
    assert part.calibration.tokens == (2, 2, 2)
    assert found.calibration is not None
    assert found.calibration.tokens == (2, 4, 5)
    network = load(file)
    assert isinstance(network, OASIS)
    network.set_routing(found)
    with pytest.raises(UsageError, match="is a MIAVSRLite"):
        calibrate("mia-vsr-xs", clips)


def test_few_queries_come_near_all(model: Path, clips: Path) -> None:
    every = calibrate(model, clips, window=(3, 3, 3), threads=1).layers[0].kl_frame
    some = (
        calibrate(model, clips, window=(3, 3, 3), queries=20, threads=1)
        .layers[0]
        .kl_frame
    )
    assert every is not None
    assert some is not None
    assert every != some
    assert some == pytest.approx(every, abs=0.3)


def test_what_makes_no_sense_is_refused(
    model: Path, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match="not by both"):
        calibrate(model, clips, threshold=0.1, local_share=0.1)
    with pytest.raises(UsageError, match="queries=0 is too small"):
        calibrate(model, clips, queries=0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError):
        calibrate(model, tmp_path / "empty")
    asked = ("calibrate", model, "--data", clips, "-o", tmp_path / "r.json")
    assert run(*asked, "--window", "3x9") == 2
    assert run(*asked, "--window", "wide") == 2
    assert run("calibrate", tmp_path, *asked[2:]) == 1
    assert "oasis.json cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "r.json").exists()
