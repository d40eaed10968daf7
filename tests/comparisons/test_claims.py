"""The claims of the diffusion systems, measured with tiny random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("PIL")

from benchmarks.diffusion import liftvsr, oasis, patchscaler, run, ultravsr
from benchmarks.diffusion.bench import Bench, memory
from benchmarks.diffusion.findings import Finding, Report, Verdict, at_least, at_most
from benchmarks.diffusion.footage import (
    Eyes,
    Footage,
    as_pictures,
    motion_error,
    over_clips,
    read_footage,
    restored,
    warping,
)
from benchmarks.diffusion.weights import ORIGINS, Weights
from PIL import Image
from safetensors.torch import save_file

import nano_parts
from upframe.errors import InputError, RuntimeFailure, WeightsError
from upframe.evaluation.bench import moving_texture
from upframe.metrics.lpips import FILE, AlexLayers

FRAMES = 5  # two segments of tiny LiftVSR, the second of one frame


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip, 88x72 from 22x18, that moves."""
    place = tmp_path_factory.mktemp("data")
    for side, size in (("gt", (88, 72)), ("lq", (22, 18))):
        folder = place / side / "clip"
        folder.mkdir(parents=True)
        for number, frame in enumerate(moving_texture(*size, FRAMES)):
            Image.fromarray((frame * 255).astype(np.uint8)).save(
                folder / f"{number}.png"
            )
    return place


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Eyes:
    """An LPIPS of random weights, and no DISTS."""
    folder = tmp_path_factory.mktemp("eyes")
    torch.manual_seed(0)
    network = AlexLayers()
    for weight in network.weights():
        weight.data.abs_()
    save_file(network.state_dict(), folder / FILE)
    return Eyes(folder)


@pytest.fixture
def bench(data: Path, eyes: Eyes, tmp_path: Path) -> Bench:
    given = {
        f"{system}-nano": str(nano_parts.save(tmp_path, system))
        for system in nano_parts.CONFIGS
    }
    footage = read_footage(data, FRAMES, (20, 16))
    return Bench(footage, Weights(given, tmp_path / "runs"), rounds=1, eyes=eyes)


def put(bench: Bench, name: str, file: Path) -> Bench:
    """The same with other weights where training leaves them."""
    runs = file.parent / "runs" / name
    runs.mkdir(parents=True)
    file.rename(runs / f"{name}.safetensors")
    return bench


def test_footage_is_the_middle_of_clips(data: Path) -> None:
    (clip,) = read_footage(data, 3, (20, 16))
    assert clip.low.shape == (1, 3, 3, 16, 20)
    assert clip.high.shape == (3, 64, 80, 3)
    with Image.open(data / "gt" / "clip" / "1.png") as picture:
        np.testing.assert_array_equal(clip.high[1], np.asarray(picture)[4:68, 4:84])
    assert len(clip.first(2).motion) == 1
    with pytest.raises(InputError, match="3 frames"):
        read_footage(data, 3, (23, 16))
    with pytest.raises(InputError, match="fewer or smaller"):
        read_footage(data, FRAMES + 1, (20, 16))


def test_scores_of_the_ground_truth_and_of_noise(data: Path) -> None:
    (clip,) = read_footage(data, 3, (20, 16))
    noise = np.random.default_rng(0).integers(0, 256, clip.high.shape, dtype=np.uint8)
    assert motion_error(clip.high, clip) == [0, 0]
    assert min(motion_error(noise, clip)) > 0.1
    assert len(warping(clip.high, clip)) == 2
    assert over_clips([warping(clip.high, clip)]) < over_clips([warping(noise, clip)])
    assert over_clips([[1.0, float("nan"), 3.0], [4.0]]) == 3.0


def test_rts(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"ultravsr-nano-still\.yaml"):
        ultravsr.temporal_modules(bench)
    other = nano_parts.save(tmp_path, "ultravsr")
    put(bench, "ultravsr-nano-still", other)
    nano_parts.save(tmp_path, "ultravsr")
    found = ultravsr.temporal_modules(bench)
    mine, plain = found.rows.values()
    assert mine == plain  # the same weights
    assert not found.verdicts[0].holds
    assert "5 frames of clip, the middle 20x16" in found.protocol


def test_routing(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(oasis, "FRAMES", (2, 3))
    monkeypatch.setattr(oasis, "GRID", (6, 5))
    whole = nano_parts.save(tmp_path, "oasis")
    bench = put(bench, "oasis-nano-global", whole)
    heads = {"heads": ["frame", "window"]}
    routing: dict[str, Any] = {
        "architecture": architecture_of(whole, tmp_path),
        "window": [1, 3, 3],
        "layers": [heads, heads],
    }
    mine = nano_parts.save(tmp_path, "oasis", routing=routing)
    weights = Weights({"oasis-nano": str(mine)}, tmp_path / "runs")
    bench = Bench(bench.footage, weights, rounds=1, eyes=bench.eyes)
    found = oasis.routing(bench, tmp_path / "growth.svg")
    routed, everyone = found.rows.values()
    assert routed["LPIPS"] != everyone["LPIPS"]
    assert routed["s of attention"] > 0
    assert "0% global, 50% frame, 50% window" in found.protocol
    assert (tmp_path / "growth.svg").is_file()
    faster, lost = found.verdicts
    assert "at least 2 times" in faster.text
    assert lost.holds == (routed["LPIPS"] - everyone["LPIPS"] <= 0.005)


def architecture_of(gone: Path, folder: Path) -> str:
    import upframe
    from upframe.systems.oasis.attention import architecture

    file = folder / "runs" / "oasis-nano-global" / "oasis-nano-global.safetensors"
    assert not gone.exists()
    network: Any = upframe.load(file)
    return architecture(network.transformer)


def test_cache(bench: Bench, tmp_path: Path) -> None:
    found = liftvsr.cache(bench)
    assert list(found.rows) == ["with its cache", "cache emptied at each border"]
    kept, emptied = found.rows.values()
    # frame 4 is the only one of its segment, the others know nothing of it
    assert kept["E\\*warp at borders"] != emptied["E\\*warp at borders"]
    assert kept["inside"] == pytest.approx(emptied["inside"], rel=1e-3)
    other = nano_parts.save(tmp_path, "liftvsr")
    put(bench, "liftvsr-nano-no-cache", other)
    nano_parts.save(tmp_path, "liftvsr")
    found = liftvsr.cache(bench)
    assert len(found.rows) == 3
    assert len(found.verdicts) == 2


def test_borders() -> None:
    pairs = [float(n) for n in range(1, 10)]
    assert liftvsr.at_borders(pairs, 4) == [4, 8]
    assert liftvsr.at_borders(pairs, 4, inside=True) == [1, 2, 3, 5, 6, 7, 9]


def test_forgetting_is_what_a_new_clip_knows(bench: Bench) -> None:
    system: Any = bench.weights.network("liftvsr-nano")
    system.config = system.config.model_copy(update={"colours": "none"})
    (clip,) = bench.footage
    whole = liftvsr.forgetful(system, clip)
    np.testing.assert_array_equal(whole[:4], restored(system, clip.first(4)))
    assert (whole[4:] != restored(system, clip)[4:]).any()


def test_token_flow(bench: Bench, tmp_path: Path) -> None:
    plain = dict(nano_parts.LIFTVSR["liftvsr"]) | {"token_flow": False}
    other = nano_parts.save(tmp_path, "liftvsr", liftvsr=plain)
    put(bench, "liftvsr-nano-plain", other)
    nano_parts.save(tmp_path, "liftvsr")  # has the same name
    found = liftvsr.token_flow(bench)
    dynamic, still = found.rows.values()
    assert dynamic != still
    better = dynamic["tOF"] < still["tOF"] or dynamic["E\\*warp"] < still["E\\*warp"]
    assert found.verdicts[0].holds == better
    assert "clip " in found.protocol


def test_groups(bench: Bench) -> None:
    found = patchscaler.groups(bench)
    few, most = found.rows.values()
    assert most["steps/patch"] == 3
    assert 1 <= few["steps/patch"] <= 3
    lost, time = found.verdicts
    assert lost.holds == (few["LPIPS"] - most["LPIPS"] <= 0.01)
    assert time.holds == (few["ms/frame"] <= 0.5 * most["ms/frame"])


def test_prompt(bench: Bench, tmp_path: Path) -> None:
    found = patchscaler.prompt(bench)
    mine, none = found.rows.values()
    assert set(mine) == {"LPIPS"}  # DISTS has no weights here
    assert mine["LPIPS"] != none["LPIPS"]
    assert "5 textures" in found.protocol
    bare = nano_parts.save(tmp_path, "patchscaler", memory=0)
    weights = Weights({"patchscaler-nano": str(bare)})
    with pytest.raises(WeightsError, match="no texture memory"):
        patchscaler.prompt(Bench(bench.footage, weights, eyes=bench.eyes))


def test_memory(data: Path) -> None:
    footage = read_footage(data, 2, (20, 16))
    here = Bench(footage, Weights({"tiny": "bicubic"}), long=(2, 4))
    found = memory(here, "tiny")
    short, long = (found.rows[f"{count} frames"]["MB"] for count in (2, 4))
    assert min(short, long) > 20
    assert found.verdicts[0].holds == (long <= 1.1 * short)
    absent = Bench(footage, Weights({"tiny": "nothing.safetensors"}), long=(2, 4))
    with pytest.raises(RuntimeFailure, match=r"memory\.py failed"):
        memory(absent, "tiny")


def test_missing_weights_say_how_to_train_them(tmp_path: Path) -> None:
    weights = Weights(runs=tmp_path)
    recipes = Path(__file__).parents[2] / "recipes"
    with pytest.raises(WeightsError, match=r"recipes/ultravsr-nano-still\.yaml"):
        weights.source("ultravsr-nano-still")
    for name in ("liftvsr-nano-plain", "oasis-nano-global"):
        with pytest.raises(WeightsError) as error:
            weights.source(name)
        assert f"--set name={name}" in str(error.value)
    for origin in ORIGINS.values():
        file = Path(origin.train.split()[0])
        assert (recipes / file.name).is_file()
    # the stage before is better than nothing
    (tmp_path / "oasis-nano").mkdir()
    (tmp_path / "oasis-nano" / "last.ckpt").touch()
    found = weights.source("oasis-nano-global")
    assert Path(found) == tmp_path / "oasis-nano" / "last.ckpt"


def test_pictures_are_rounded_like_the_engine_does() -> None:
    output = torch.tensor([-1.0, 0.5, 1 / 255, 2.0]).view(1, 4, 1, 1, 1)
    pictures = as_pictures(output.expand(1, 4, 3, 2, 2))
    assert pictures[:, 0, 0, 0].tolist() == [0, 128, 1, 255]


def test_report() -> None:
    finding = Finding(
        "A title",
        "the protocol",
        {"one": {"LPIPS": 0.12345, "n": 3.0}, "two": {"LPIPS": float("nan"), "n": 1.0}},
        [at_most("lost", 0.2, 0.1), at_least("faster by", 12.0, 10, " times")],
    )
    report = Report({"threads": 2}, {"a": finding}, {"b": "no weights"})
    lines = report.to_markdown().splitlines()
    assert lines[:6] == [
        "**A title**",
        "",
        "| | LPIPS | n |",
        "| --- | ---: | ---: |",
        "| one | 0.1235 | 3 |",
        "| two | – | 1 |",
    ]
    assert "- DOES NOT HOLD: lost: 0.2, at most 0.1 wanted" in lines
    assert "- holds: faster by: 12 times, at least 10 times wanted" in lines
    assert "- not measured: b: no weights" in lines
    found = json.loads(report.to_json())
    assert found["findings"]["a"]["rows"]["two"]["LPIPS"] is None
    assert found["findings"]["a"]["verdicts"][1]["holds"] is True


def test_one_command(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fine(bench: Bench) -> Finding:
        assert isinstance(bench.footage[0], Footage)
        return Finding("Fine", "as said", {"x": {"y": 1.0}}, [Verdict("good", True)])

    def absent(bench: Bench) -> Finding:
        raise WeightsError("There are none.", "Train them.")

    monkeypatch.setattr(run, "CLAIMS", {"cache": fine, "prompt": absent})
    page = tmp_path / "page.md"
    page.write_text("Above.\n<!-- begin diffusion -->\nold\n<!-- end diffusion -->\n")
    monkeypatch.setattr(run, "README", page)
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results")
    small = [f"--data={data}", "--frames=2", "--size=20x16", "--threads=1"]
    run.main([*small, "--only=cache"])
    assert "**Fine**" in capsys.readouterr().out
    assert not (tmp_path / "results").exists()
    monkeypatch.setattr(run, "CLAIMS", {"prompt": absent, "cache": fine})
    run.main(small)
    said = capsys.readouterr().out
    text = (tmp_path / "results" / "diffusion.md").read_text()
    assert page.read_text() == (
        f"Above.\n<!-- begin diffusion -->\n\n{text}\n<!-- end diffusion -->\n"
    )
    assert "**Fine**" in said
    assert "left out: prompt: There are none." in said
    found = json.loads((tmp_path / "results" / "diffusion.json").read_text())
    assert list(found["findings"]) == ["cache"]
    assert list(found["missing"]) == ["prompt"]
    assert "- holds: good" in text

    # measured anew, one claim takes the place of what was found; the others stay
    def finer(bench: Bench) -> Finding:
        return Finding("Finer", "as said", {"x": {"y": float("nan")}})

    monkeypatch.setattr(run, "CLAIMS", {"prompt": finer, "cache": absent})
    run.main([*small, "--only=prompt", "--only=cache", "--update"])
    text = (tmp_path / "results" / "diffusion.md").read_text()
    again = json.loads((tmp_path / "results" / "diffusion.json").read_text())
    assert list(again["findings"]) == ["prompt", "cache"]
    assert again["findings"]["cache"] == found["findings"]["cache"]
    assert again["findings"]["prompt"]["rows"] == {"x": {"y": None}}
    assert again["missing"] == {}
    assert text.index("**Finer**") < text.index("**Fine**")
    assert text.count("- measured: ") == 2
    assert text in page.read_text()
    with pytest.raises(SystemExit, match=r"degrade_clips\.py"):
        run.main([f"--data={tmp_path / 'nothing'}"])
