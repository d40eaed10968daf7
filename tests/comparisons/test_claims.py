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
from benchmarks.diffusion.bench import Bench, means, memory
from benchmarks.diffusion.clips import (
    CroppedClip,
    Perceptual,
    as_frames,
    by_source,
    motion_error,
    over_pairs,
    read_cropped,
    restored,
    warping,
)
from benchmarks.diffusion.report import (
    RULES,
    Report,
    Result,
    Verdict,
    beyond,
    lower,
    no_worse,
    ratio_at_least,
    ratio_at_most,
)
from benchmarks.diffusion.steps import SeveralSteps
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
    """A clip, 88x72, that moves."""
    place = tmp_path_factory.mktemp("data")
    folder = place / "gt" / "clip"
    folder.mkdir(parents=True)
    for number, frame in enumerate(moving_texture(88, 72, FRAMES)):
        Image.fromarray((frame * 255).astype(np.uint8)).save(folder / f"{number}.png")
    return place


@pytest.fixture(scope="module")
def perceptual(tmp_path_factory: pytest.TempPathFactory) -> Perceptual:
    """An LPIPS of random weights, and no DISTS."""
    folder = tmp_path_factory.mktemp("perceptual")
    torch.manual_seed(0)
    network = AlexLayers()
    for weight in network.weights():
        weight.data.abs_()
    save_file(network.state_dict(), folder / FILE)
    return Perceptual(folder)


@pytest.fixture
def bench(data: Path, perceptual: Perceptual, tmp_path: Path) -> Bench:
    given = {
        f"{system}-nano": str(nano_parts.save(tmp_path, system))
        for system in nano_parts.CONFIGS
    }
    clips = read_cropped(data, FRAMES, (20, 16))[:1]
    weights = Weights(given, tmp_path / "runs")
    return Bench(clips, weights, rounds=1, perceptual=perceptual)


def put(bench: Bench, name: str, file: Path) -> Bench:
    """The same with other weights where training leaves them."""
    runs = file.parent / "runs" / name
    runs.mkdir(parents=True)
    file.rename(runs / f"{name}.safetensors")
    return bench


def test_clips_are_cropped_in_the_middle_and_compressed(data: Path) -> None:
    clip, worse = read_cropped(data, 3, (20, 16))
    assert [clip.name, worse.name] == ["clip-crf23", "clip-crf30"]
    assert clip.source == worse.source == "clip"
    assert clip.low.shape == (1, 3, 3, 16, 20)
    assert not torch.equal(clip.low, worse.low)
    assert clip.high.shape == (3, 64, 80, 3)
    with Image.open(data / "gt" / "clip" / "1.png") as frame:
        np.testing.assert_array_equal(clip.high[1], np.asarray(frame)[4:68, 4:84])
    assert len(clip.first(2).motion) == 1
    with pytest.raises(InputError, match="3 frames"):
        read_cropped(data, 3, (23, 16))
    with pytest.raises(InputError, match="fewer or smaller"):
        read_cropped(data, FRAMES + 1, (20, 16))


def test_scores_of_the_ground_truth_and_of_noise(data: Path) -> None:
    clip, _ = read_cropped(data, 3, (20, 16))
    noise = np.random.default_rng(0).integers(0, 256, clip.high.shape, dtype=np.uint8)
    assert motion_error(clip.high, clip) == [0, 0]
    assert min(motion_error(noise, clip)) > 0.1
    assert len(warping(clip.high, clip)) == 2
    assert over_pairs(warping(clip.high, clip)) < over_pairs(warping(noise, clip))
    assert over_pairs([1.0, float("nan"), 3.0]) == 2.0


def test_a_subset_is_a_clip_at_all_crfs(data: Path) -> None:
    clips = read_cropped(data, 2, (20, 16))
    assert by_source(clips, [1.0, 4.0].__getitem__) == {"clip": 2.5}
    assert means({"LPIPS": {"a": 1.0, "b": 2.0}}) == {"LPIPS": 1.5}


def test_a_verdict_is_beyond_two_deviations() -> None:
    assert beyond([1.0, 1.1, 0.9])
    assert not beyond([1.0, 1.1, 0.1])
    assert not beyond([1.0, 1.0])  # too few
    assert not beyond([0.0, 0.0, 0.0])
    assert not beyond([1.0, 1.0, float("nan")])
    mine = {"a": 0.40, "b": 0.50, "c": 0.60}
    better = {"a": 0.50, "b": 0.61, "c": 0.69}
    verdict = lower("LPIPS", mine, better, "the other")
    assert verdict.holds
    assert verdict.text == "LPIPS lower than the other: by 0.1 ± 0.01 over 3"
    assert not lower("LPIPS", mine, better, "the other", margin=0.1).holds
    assert not lower("LPIPS", better, mine, "the other").holds
    # by the mean alone it would hold
    uneven = {"a": 0.39, "b": 0.49, "c": 0.90}
    assert not lower("LPIPS", mine, uneven, "the other").holds
    assert no_worse("LPIPS", better, mine, "the other", 0.2).holds
    assert not no_worse("LPIPS", better, mine, "the other", 0.1).holds
    assert no_worse("LPIPS", mine, mine, "itself", 0.005).holds
    times = {"1": 10.0, "2": 11.0, "3": 10.5}
    unit = dict.fromkeys(times, 1.0)
    assert ratio_at_least("faster", times, unit, 9).holds
    assert not ratio_at_least("faster", times, unit, 10).holds
    assert ratio_at_most("time", unit, times, 0.5).holds
    assert not ratio_at_most("time", times, unit, 10.6).holds


def test_rts(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"ultravsr-nano-still\.yaml"):
        ultravsr.temporal_modules(bench)
    other = nano_parts.save(tmp_path, "ultravsr")
    put(bench, "ultravsr-nano-still", other)
    nano_parts.save(tmp_path, "ultravsr")
    found = ultravsr.temporal_modules(bench)
    mine, plain = found.rows.values()
    assert mine == plain  # the same weights
    assert not found.holds
    assert len(found.verdicts) == 3
    assert "5 frames of clip-crf23, the middle 20x16" in found.protocol


def test_one_step_is_the_first_of_several(bench: Bench) -> None:
    system: Any = bench.weights.network("ultravsr-nano")
    (clip,) = bench.clips
    single = restored(SeveralSteps(system, 1), clip)
    apart = np.abs(single.astype(int) - restored(system, clip))
    assert apart.max() <= 1
    calls: list[int] = []
    step = system.restore

    def counted(z: torch.Tensor, at: Any, frames: int) -> torch.Tensor:
        calls.append(int(at.timestep))
        restored_latent: torch.Tensor = step(z, at, frames)
        return restored_latent

    system.restore = counted
    several = restored(SeveralSteps(system, 4), clip)
    assert len(calls) == 4
    assert calls == sorted(set(calls), reverse=True)
    assert (several != single).any()


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
    bench = Bench(bench.clips, weights, rounds=1, perceptual=bench.perceptual)
    found = oasis.routing(bench, tmp_path / "growth.svg")
    routed, same, trained = found.rows.values()
    assert routed["LPIPS"] != same["LPIPS"]
    # the same decoder for all, and here the same weights as well
    assert same["LPIPS"] == pytest.approx(trained["LPIPS"], abs=1e-3)
    assert routed["s of attention"] > 0
    assert min(row["ms/frame"] for row in found.rows.values()) > 0
    assert "0% global, 50% frame, 50% window" in found.protocol
    assert "with the decoder of oasis-nano" in found.protocol
    assert (tmp_path / "growth.svg").is_file()
    assert len(found.verdicts) == 5
    assert "whole system faster" in found.verdicts[0].text


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


def test_without_the_cache_a_segment_is_a_new_clip(bench: Bench) -> None:
    system: Any = bench.weights.network("liftvsr-nano")
    system.config = system.config.model_copy(update={"colours": "none"})
    (clip,) = bench.clips
    whole = liftvsr.without_cache(system, clip)
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
    assert [v.text.partition(" lower")[0] for v in found.verdicts] == [
        "tOF",
        "E\\*warp",
    ]
    assert not found.holds  # one clip is no spread
    assert "clip " in found.protocol


def test_groups(bench: Bench) -> None:
    found = patchscaler.groups(bench)
    coarse, few, most = found.rows.values()
    assert (coarse["steps/patch"], most["steps/patch"]) == (0, 3)
    assert 1 <= few["steps/patch"] <= 3
    assert coarse["LPIPS"] != few["LPIPS"]
    assert [v.text.partition(":")[0] for v in found.verdicts] == [
        "LPIPS lower than coarse alone",
        "LPIPS lost against most steps for all",
        "time over the most steps",
    ]


def test_the_coarse_restoration_alone_is_what_is_decoded(bench: Bench) -> None:
    system: Any = bench.weights.network("patchscaler-nano")
    (clip,) = bench.clips
    options = patchscaler.Options()
    coarse = patchscaler.sample(system, clip, options=options, coarse=True).frames
    again = patchscaler.sample(system, clip, options=options).frames
    assert (coarse != again).any()
    # a Patch-DiT that adds nothing gives the coarse latent
    torch.nn.init.zeros_(system.dit.proj_out.weight)
    torch.nn.init.zeros_(system.dit.proj_out.bias)
    idle = patchscaler.sample(system, clip, options=options).frames
    assert np.abs(idle.astype(int) - coarse).max() <= 1


def test_prompt(bench: Bench, tmp_path: Path) -> None:
    found = patchscaler.prompt(bench)
    mine, none = found.rows.values()
    assert set(mine) == {"LPIPS"}  # DISTS has no weights here
    assert mine["LPIPS"] != none["LPIPS"]
    assert "5 textures" in found.protocol
    bare = nano_parts.save(tmp_path, "patchscaler", memory=0)
    weights = Weights({"patchscaler-nano": str(bare)})
    with pytest.raises(WeightsError, match="no texture memory"):
        patchscaler.prompt(Bench(bench.clips, weights, perceptual=bench.perceptual))


def test_memory(data: Path) -> None:
    clips = read_cropped(data, 2, (20, 16))
    here = Bench(clips, Weights({"tiny": "bicubic"}), rounds=1, long=(2, 4))
    found = memory(here, "tiny")
    short, long = (found.rows[f"{count} frames"]["MB"] for count in (2, 4))
    assert min(short, long) > 20
    assert "4 frames over 2" in found.verdicts[0].text
    assert not found.holds  # one round is no spread
    absent = Bench(clips, Weights({"tiny": "nothing.safetensors"}), long=(2, 4))
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


def test_frames_are_rounded_like_the_engine_does() -> None:
    output = torch.tensor([-1.0, 0.5, 1 / 255, 2.0]).view(1, 4, 1, 1, 1)
    frames = as_frames(output.expand(1, 4, 3, 2, 2))
    assert frames[:, 0, 0, 0].tolist() == [0, 128, 1, 255]


def test_report() -> None:
    result = Result(
        "A title",
        "the protocol",
        {"one": {"LPIPS": 0.12345, "n": 3.0}, "two": {"LPIPS": float("nan"), "n": 1.0}},
        [Verdict("lost: 0.2", False), Verdict("faster by: 12 times", True)],
    )
    report = Report({"threads": 2}, {"a": result}, {"b": "no weights"})
    lines = report.to_markdown().splitlines()
    assert lines[:6] == [
        "**A title**: DOES NOT HOLD",
        "",
        "| | LPIPS | n |",
        "| --- | ---: | ---: |",
        "| one | 0.1235 | 3 |",
        "| two | – | 1 |",
    ]
    assert "- DOES NOT HOLD: lost: 0.2" in lines
    assert "- holds: faster by: 12 times" in lines
    assert "- not measured: b: no weights" in lines
    found = json.loads(report.to_json())
    assert found["results"]["a"]["rows"]["two"]["LPIPS"] is None
    assert found["results"]["a"]["verdicts"][1]["holds"] is True
    assert found["results"]["a"]["rules"] == RULES


def test_results_of_the_old_rules_are_no_verdicts(tmp_path: Path) -> None:
    old = {
        "title": "Old",
        "protocol": "as it was",
        "rows": {"x": {"y": 1.0}},
        "verdicts": [{"text": "better", "holds": True}],
        "measured": "CPU, 2026-11-21",
    }
    file = tmp_path / "diffusion.json"
    file.write_text(json.dumps({"settings": {}, "findings": {"standing": old}}))
    report = Report({}, {}).with_earlier(file, ["comparison"])
    (result,) = report.results.values()
    assert not result.holds
    text = report.to_markdown()
    assert "**Old**: measured before the rules of 2026-11-28" in text
    assert "- yes, without spread: better" in text
    file.write_text(report.to_json())
    assert Report({}, {}).with_earlier(file, ["comparison"]) == report


def test_one_command(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fine(bench: Bench) -> Result:
        assert isinstance(bench.clips[0], CroppedClip)
        return Result("Fine", "as said", {"x": {"y": 1.0}}, [Verdict("good", True)])

    def absent(bench: Bench) -> Result:
        raise WeightsError("There are none.", "Train them.")

    monkeypatch.setattr(run, "CLAIMS", {"cache": fine, "prompt": absent})
    page = tmp_path / "page.md"
    page.write_text("Above.\n<!-- begin diffusion -->\nold\n<!-- end diffusion -->\n")
    monkeypatch.setattr(run, "README", page)
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results")
    small = [f"--data={data}", "--frames=2", "--size=20x16", "--threads=1"]
    run.main([*small, "--only=cache"])
    assert "**Fine**: holds" in capsys.readouterr().out
    assert not (tmp_path / "results").exists()
    monkeypatch.setattr(run, "CLAIMS", {"prompt": absent, "cache": fine})
    run.main(small)
    said = capsys.readouterr().out
    text = (tmp_path / "results" / "diffusion.md").read_text()
    assert page.read_text() == (
        f"Above.\n<!-- begin diffusion -->\n\n{text}\n<!-- end diffusion -->\n"
    )
    assert "**Fine**: holds" in said
    assert "left out: prompt: There are none." in said
    found = json.loads((tmp_path / "results" / "diffusion.json").read_text())
    assert list(found["results"]) == ["cache"]
    assert list(found["missing"]) == ["prompt"]
    assert "- holds: good" in text

    # measured anew, one claim takes the place of what was found; the others stay
    def finer(bench: Bench) -> Result:
        return Result("Finer", "as said", {"x": {"y": float("nan")}})

    monkeypatch.setattr(run, "CLAIMS", {"prompt": finer, "cache": absent})
    run.main([*small, "--only=prompt", "--only=cache", "--update"])
    text = (tmp_path / "results" / "diffusion.md").read_text()
    again = json.loads((tmp_path / "results" / "diffusion.json").read_text())
    assert list(again["results"]) == ["prompt", "cache"]
    assert again["results"]["cache"] == found["results"]["cache"]
    assert again["results"]["prompt"]["rows"] == {"x": {"y": None}}
    assert again["missing"] == {}
    assert text.index("**Finer**") < text.index("**Fine**")
    assert text.count("- measured: ") == 2
    assert text in page.read_text()
    with pytest.raises(SystemExit, match="There are no clips"):
        run.main([f"--data={tmp_path / 'nothing'}"])
