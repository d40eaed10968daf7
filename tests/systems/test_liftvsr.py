"""LiftVSR: sizes, the start from PixArt, sampling, segments, files, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, PixArtTransformer2DModel
from torch import Tensor

import liftvsr_parts as parts
from upframe.errors import RuntimeFailure, UsageError, WeightsError
from upframe.systems.diffusion.components import file_sha256
from upframe.systems.liftvsr.components import (
    PIXART_XL_2,
    fill_added,
    sampling_times,
)
from upframe.systems.liftvsr.files import ADDED, CONFIG, LiftVSRConfig
from upframe.systems.liftvsr.model import LiftVSR
from upframe.systems.liftvsr.transformer import LiftTransformer, noise_levels

# diffusers' sampler on NumPy 2
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def given(clips: int = 2, frames: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Latents, condition, timestep, prompt."""
    shape = (clips, frames, 4, 6, 8)
    times = torch.tensor([700, 20])[:clips]
    return normal(*shape), normal(*shape, seed=1), times, normal(1, 3, 10, seed=2)


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_full_size_is_pixart_and_the_additions() -> None:
    with torch.device("meta"):
        pixart = PixArtTransformer2DModel(**PIXART_XL_2)
        d, text, rank, heads, hidden = 1152, 4096, 16, 16, 16
        linear = d * d + d
        feed_forward = (d * 4 * d + 4 * d) + (4 * d * d + d)
        block = 8 * linear + feed_forward + 6 * d  # two attentions, modulation
        inputs = (4 * 4 * d + d) + (256 * d + d + linear) + 6 * linear
        captions = text * d + d + linear
        outputs = (d * 32 + 32) + 2 * d
        assert count(pixart) == inputs + captions + 28 * block + outputs
        assert count(pixart) == 610_856_096  # 0.6 billion
        network = LiftTransformer(pixart, segment=8, factor=8, rank=rank)
    lora = 28 * rank * (8 * 2 * d + 2 * (d + 4 * d))
    condition = 4 * 4 * d + 4  # and what it implies of the noise
    flow = (
        (2 * d // heads * hidden + hidden)
        + (hidden * hidden * 25 + hidden)
        + (hidden * 2 * 9 + 2)
    ) * heads
    attention = 2 * d + 4 * linear + flow + heads * 15
    attention += 2 * d + (d * 2 * d + 2 * d) + (2 * d * d + d)
    memory = 2 * d + 3 * linear + flow + heads + (2 * d * heads + heads)
    branches = 27 * (attention + memory + linear)
    added = lora + condition + branches
    assert (lora, condition, branches) == (13_418_496, 18_436, 439_311_600)
    assert count(network) == 610_856_096 + added == 1_063_604_628
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == added


@pytest.mark.parametrize("changed", [{}, {"sample_size": 128}])
@pytest.mark.parametrize("rank", [0, 2])
def test_untrained_it_is_pixart_on_each_frame(
    changed: dict[str, Any], rank: int
) -> None:
    pixart = parts.pixart(**changed)
    z, condition, times, prompt = given()
    picture = {"resolution": None, "aspect_ratio": None}
    if changed:  # PixArt at 1024 is told the picture's size
        size, ratio = torch.tensor([48.0, 64.0]), torch.tensor([48 / 64])
        picture = {"resolution": size.repeat(6, 1), "aspect_ratio": ratio.repeat(6, 1)}
    with torch.no_grad():
        wanted = pixart(
            z.flatten(0, 1),
            prompt.expand(6, -1, -1),
            times.repeat_interleave(3),
            picture,
            return_dict=False,
        )[0]
        network = LiftTransformer(pixart, segment=8, factor=8, rank=rank).eval()
        got, cache = network(z, condition, times, prompt, remember=True)
        again, _ = network(z, condition, times, prompt, cache)
    assert len(cache) == parts.LAYERS - 1
    assert torch.equal(got.flatten(0, 1), wanted)
    assert torch.equal(again.flatten(0, 1), wanted)  # with a cache, too


def test_untrained_it_is_pixart_in_half_precision() -> None:
    pixart = parts.pixart().to(torch.bfloat16)
    z, condition, times, prompt = given()
    with torch.no_grad():
        wanted = pixart(
            z.flatten(0, 1).bfloat16(),
            prompt.expand(6, -1, -1).bfloat16(),
            times.repeat_interleave(3),
            return_dict=False,
        )[0]
        network = LiftTransformer(pixart, segment=8, factor=8, rank=2).eval()
        assert {p.dtype for p in network.parameters()} == {torch.bfloat16}
        got, _ = network(z, condition, times, prompt)
    assert torch.equal(got.flatten(0, 1), wanted)


def test_trained_it_uses_condition_frames_and_cache() -> None:
    network = parts.transformer()
    z, condition, times, prompt = given()
    with torch.no_grad():
        base, cache = network(z, condition, times, prompt, remember=True)
        assert base.shape == (2, 3, 8, 6, 8)
        other, _ = network(z, condition + 1, times, prompt)
        assert (other - base).abs().max() > 1e-3
        late = z.clone()
        late[:, 2] += 1  # another frame changes this one
        assert (network(late, condition, times, prompt)[0] - base)[
            :, 0
        ].abs().max() > 1e-4
        read, kept = network(z, condition, times, prompt, cache)
        assert (read - base).abs().max() > 1e-4
        assert kept is cache  # nothing is written unless asked for


def test_clips_do_not_know_of_each_other() -> None:
    network = parts.transformer()
    z, condition, times, prompt = given()
    with torch.no_grad():
        both, cache = network(z, condition, times, prompt, remember=True)
        both, _ = network(z, condition, times, prompt, cache)
        one = slice(1, 2)
        alone, own = network(z[one], condition[one], times[one], prompt, remember=True)
        alone, _ = network(z[one], condition[one], times[one], prompt, own)
    torch.testing.assert_close(alone, both[one], rtol=0, atol=1e-5)


def test_merged_lora_gives_the_same() -> None:
    network = parts.transformer()
    z, condition, times, prompt = given()
    base = {name: value.clone() for name, value in network.base_state().items()}
    with torch.no_grad():
        wanted, cache = network(z, condition, times, prompt, remember=True)
        network.merge()
        got, merged = network(z, condition, times, prompt, remember=True)
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5)
    for a, b in zip(merged, cache, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)
    after = network.base_state()
    assert after.keys() == base.keys() == parts.pixart().state_dict().keys()
    changed = [n for n in base if not torch.equal(base[n], after[n])]
    assert len(changed) == 10 * parts.LAYERS  # so LoRA did something, everywhere
    assert not any("lora" in name for name, _ in network.named_parameters())


def test_steps_are_even_and_end_before_zero() -> None:
    assert sampling_times(4, 999) == [999, 749, 499, 249]
    assert sampling_times(1, 300) == [300]
    with pytest.raises(UsageError, match="no 3 times"):
        sampling_times(3, 1)


def test_a_perfect_prediction_is_sampled_to_the_clean_latents(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    system = parts.system(steps=4)
    clean, condition = normal(1, 3, 4, 6, 8), normal(1, 3, 4, 6, 8, seed=1)
    levels = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0)  # PixArt's
    asked = []

    def perfect(z: Tensor, _: Tensor, time: Tensor, *__: Any, remember: bool) -> Any:
        asked.append((int(time[0]), remember))
        level = levels[time[0]]
        noise = (z - level.sqrt() * clean) / (1 - level).sqrt()
        return torch.cat((noise, normal(1, 3, 4, 6, 8, seed=9)), dim=2), ()

    monkeypatch.setattr(system.transformer, "forward", perfect)
    out, _ = system.sample(condition, normal(1, 3, 4, 6, 8, seed=2))
    torch.testing.assert_close(out, clean, rtol=0, atol=1e-3)
    # asymmetric: the last step alone writes
    assert asked == [(999, False), (749, False), (499, False), (249, True)]


def test_all_steps_read_the_cache_of_the_segment_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    system = parts.system(steps=3)
    network, read = system.transformer.forward, []

    def watch(*args: Any, **how: Any) -> Any:
        read.append(args[4])
        return network(*args, **how)

    monkeypatch.setattr(system.transformer, "forward", watch)
    shape = (1, 3, 4, 4, 6)
    with torch.no_grad():
        _, first = system.sample(normal(*shape), normal(*shape, seed=1))
        _, second = system.sample(normal(*shape), normal(*shape, seed=1), first)
    assert all(cache == () for cache in read[:3])
    assert all(all(map(torch.equal, cache, first)) for cache in read[3:])
    assert not torch.equal(second[0], first[0])


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 16, 16), (4, 17, 23)])
def test_any_clip_comes_out_four_times_larger(
    frames: int, height: int, width: int
) -> None:
    system = parts.system()
    with torch.no_grad():
        out = system(parts.clip(frames, height, width))
    assert out.shape == (1, frames, 3, 4 * height, 4 * width)
    assert out.min() >= 0
    assert out.max() <= 1


def tiled(**config: Any) -> LiftVSR:
    """Tiles of 8 latents."""
    system = parts.system(colours="none", **config)
    pixart = parts.pixart(sample_size=8)
    pixart.load_state_dict(system.transformer.base_state())
    made = LiftVSR(pixart, system.vae, system.config)
    fill_added(made.transformer, system.transformer.added_state())
    return made.eval()


def test_large_pictures_are_seen_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    system = tiled()
    network, seen = system.transformer.forward, []

    def watch(z: Tensor, *args: Any, **how: Any) -> Any:
        seen.append(tuple(z.shape[-2:]))
        return network(z, *args, **how)

    monkeypatch.setattr(system.transformer, "forward", watch)
    shape = (1, 2, 4, 10, 20)
    condition, noise = normal(*shape), normal(*shape, seed=1)
    with torch.no_grad():
        out, cache = system.sample(condition, noise)
        # in the second step the tile beside it knows, the first tile does not
        condition[..., 16:] += 1
        other, _ = system.sample(condition, noise)
    assert out.shape == shape
    assert len(system.tiles(10, 20)) == 6
    assert set(seen) == {(6, 8)}
    assert [held.shape[1] for held in cache] == [6 * 3 * 4] * 2
    assert system.cached_tokens(80, 160) == system.cached_tokens(79, 153) == 72
    assert torch.equal(out[..., :6], other[..., :6])
    assert not torch.equal(out[..., 16:], other[..., 16:])


def test_tiles_have_caches_of_their_own() -> None:
    system = tiled(steps=1)
    shape = (1, 2, 4, 8, 20)
    one, two, noise = (normal(*shape, seed=n) for n in range(3))
    with torch.no_grad():
        _, cache = system.sample(one, noise)
        wanted, _ = system.sample(two, noise, cache)
        one[..., 16:] += 1
        _, changed = system.sample(one, noise)
        got, _ = system.sample(two, noise, changed)
    assert torch.equal(got[..., :8], wanted[..., :8])
    assert not torch.equal(got[..., 16:], wanted[..., 16:])


def test_a_gain_of_one_says_what_is_to_be_added_to_the_condition() -> None:
    system = parts.system(trained=False, steps=3, colours="none")
    with torch.no_grad():
        system.transformer.gain.fill_(1)
        for weight in system.transformer.pixart.proj_out.parameters():
            weight.zero_()
        condition = normal(1, 2, 4, 6, 8)
        out, _ = system.sample(condition, normal(1, 2, 4, 6, 8, seed=1))
    torch.testing.assert_close(out, condition, rtol=0, atol=1e-3)


def test_noise_levels_are_those_of_the_sampler() -> None:
    levels = DPMSolverMultistepScheduler().alphas_cumprod
    torch.testing.assert_close(noise_levels(), levels)


def test_segments_know_of_those_before_through_the_cache_alone() -> None:
    for memory in (True, False):
        system = parts.system(memory=memory, colours="none")
        frames = parts.clip(6)
        other = frames.clone()
        other[:, 0] = 1 - other[:, 0]
        with torch.no_grad():
            gap = (system(frames) - system(other))[:, 3:].abs().max()
        assert (gap > 1e-5) == memory


def test_noise_belongs_to_the_seed_and_the_number_of_the_frame() -> None:
    system = parts.system()
    frames = parts.clip(3)
    with torch.no_grad():
        one = system(frames, seed=1)
        assert torch.equal(system(frames, seed=1), one)
        assert not torch.equal(system(frames, seed=2), one)
        assert not torch.equal(system(frames, seed=1, first_index=7), one)


def test_a_folder_comes_back_as_it_was(tmp_path: Path) -> None:
    system = parts.system(token_flow=False)
    frames = parts.clip(4)
    system.save_pretrained(tmp_path)
    pin = file_sha256(tmp_path / CONFIG)
    loaded = LiftVSR.from_pretrained(tmp_path, pin=pin)
    state, own = loaded.state_dict(), system.state_dict()
    assert state.keys() == own.keys()
    assert all(torch.equal(state[name], value) for name, value in own.items())
    assert loaded.config.token_flow is False
    plain = PixArtTransformer2DModel.from_pretrained(tmp_path / "transformer")
    original = parts.pixart().state_dict()
    assert all(torch.equal(v, original[n]) for n, v in plain.state_dict().items())
    with torch.no_grad():
        wanted = system(frames)
        # weights of a file lie elsewhere in memory, which can change how sums round
        torch.testing.assert_close(loaded(frames), wanted, rtol=0, atol=1e-5)
        system.merge()
        system.save_pretrained(tmp_path / "merged")
        merged = LiftVSR.from_pretrained(tmp_path / "merged")
        assert merged.config.rank == 0
        torch.testing.assert_close(merged(frames), wanted, rtol=0, atol=1e-4)
    path = tmp_path / ADDED
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(WeightsError, match="SHA-256 differs"):
        LiftVSR.from_pretrained(tmp_path)


def test_training_begins_with_a_folder_of_pixart(tmp_path: Path) -> None:
    parts.pixart().save_pretrained(tmp_path / "transformer")
    parts.autoencoder().save_pretrained(tmp_path / "vae")
    pins = {
        name: file_sha256(tmp_path / name)
        for name in ("transformer/config.json", "vae/config.json")
    }
    system = LiftVSR.from_pixart(tmp_path, config=LiftVSRConfig(rank=2), pins=pins)
    state = system.transformer.base_state()
    original = parts.pixart().state_dict()
    assert all(torch.equal(state[n], v) for n, v in original.items())
    trained = [n for n, p in system.named_parameters() if p.requires_grad]
    assert {n.split(".")[1] for n in trained} == {
        "pixart",
        "condition",
        "gain",
        "branches",
    }
    assert all("lora_" in n for n in trained if ".pixart." in n)


def test_components_that_do_not_fit_are_refused() -> None:
    vae = parts.autoencoder()
    with pytest.raises(WeightsError, match="latents of 3 channels"):
        LiftVSR(parts.pixart(in_channels=3), vae)
    with pytest.raises(WeightsError, match="gives 5 channels"):
        LiftVSR(parts.pixart(out_channels=5), vae)
    with pytest.raises(WeightsError, match="one block"):
        LiftVSR(parts.pixart(num_layers=1), vae)
    with pytest.raises(WeightsError, match=r"prompt is \(1, 2, 3\)"):
        LiftVSR(parts.pixart(), vae, prompt=torch.zeros(1, 2, 3))


def test_what_was_added_to_another_network_is_refused(tmp_path: Path) -> None:
    parts.system().save_pretrained(tmp_path)
    path = tmp_path / CONFIG
    config = LiftVSRConfig.model_validate_json(path.read_bytes())
    path.write_text(config.model_copy(update={"rank": 3}).model_dump_json())
    with pytest.raises(WeightsError, match="does not fit the transformer"):
        LiftVSR.from_pretrained(tmp_path)
    path.write_text(LiftVSRConfig().model_dump_json())
    with pytest.raises(WeightsError, match="names no files"):
        LiftVSR.from_pretrained(tmp_path)
    path.unlink()
    with pytest.raises(WeightsError, match="cannot be read"):
        LiftVSR.from_pretrained(tmp_path)


def test_what_is_no_number_is_said() -> None:
    system = parts.system()
    with torch.no_grad():
        system.transformer.branches[0].join.bias[0] = torch.nan  # type: ignore[union-attr,index]
        with pytest.raises(RuntimeFailure, match="noise is not a number"):
            system(parts.clip(1))
    with pytest.raises(UsageError, match="no clip"):
        system(torch.zeros(3, 16, 16))
