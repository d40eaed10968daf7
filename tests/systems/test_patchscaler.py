"""PatchScaler: sizes, group sampling against patches alone, videos, prompts, errors."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor

import patchscaler_parts as parts
from upframe.datasets.textures import texture_crops
from upframe.errors import RuntimeFailure, UsageError, WeightsError
from upframe.systems.patchscaler.model import (
    Options,
    PatchScaler,
    PatchScalerConfig,
    Restored,
    Session,
    Sizes,
)
from upframe.systems.patchscaler.texture_memory import TextureMemory


def test_the_full_size_adds_up() -> None:
    """The paper prints no count; this is what our full size says it is."""
    sizes, channels = Sizes(), 4
    with torch.device("meta"):
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=channels,
        )
        model = PatchScaler(vae)
    dim = sizes.heads * sizes.head_width
    square = dim * dim + dim
    # self- and cross-attention, feed-forward of four times the width, modulation
    block = 8 * square + (dim * 4 * dim + 4 * dim + 4 * dim * dim + dim) + 6 * dim
    embedding = 2 * channels * 4 * dim + dim
    time = (256 * dim + dim) + square + 6 * square
    output = dim * 4 * channels + 4 * channels + 2 * dim
    dit = sizes.layers * block + embedding + time + output
    assert sum(p.numel() for p in model.dit.parameters()) == dit == 117_792_016

    def conv(a: int, b: int, side: int = 3) -> int:
        return side * side * a * b + b

    widths, blocks = sizes.restoration, sizes.blocks
    grm = conv(channels, widths[0]) + conv(widths[0], channels + 1)
    for width in widths:
        grm += blocks * 2 * conv(width, width)
    for fine, rough in pairwise(widths):
        grm += conv(fine, rough) + conv(rough, fine) + conv(2 * fine, fine, 1)
        grm += blocks * 2 * conv(fine, fine)
    assert sum(p.numel() for p in model.restoration.parameters()) == grm
    prompt = (conv(channels, dim, 4)) + (2 * dim + square) + 2 * dim
    prompt += dim * 2 * dim + 2 * dim + 2 * dim * dim + dim
    assert sum(p.numel() for p in model.texture_encoder.parameters()) == prompt
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained == dit + grm + prompt + dim  # dim: the token for no prompt
    assert not any(p.requires_grad for p in model.vae.parameters())
    assert not any(p.requires_grad for p in model.classifier.parameters())


@pytest.mark.parametrize(("height", "width"), [(1, 3), (8, 8), (13, 19)])
def test_any_frame_comes_out_four_times_larger(height: int, width: int) -> None:
    session = Session(parts.system())
    done = session.push(parts.frame(height, width))
    assert done.image.shape == (3, 4 * height, 4 * width)
    assert 0 <= done.image.min() <= done.image.max() <= 1
    assert done.group_map().shape == done.image.shape
    assert done.groups.shape == done.confidence.shape == (len(done.grid),)


def test_untrained_it_is_the_coarse_latent_decoded() -> None:
    model = parts.system(trained=False)
    y, noise = parts.patches(6), parts.patches(6, seed=5)
    groups = torch.tensor([0, 1, 2, 2, 1, 0])
    with torch.no_grad():
        assert torch.equal(model.sample(y, noise, groups), y)


def test_patches_of_a_group_are_sampled_as_each_alone() -> None:
    model = parts.system()
    y, noise = parts.patches(7), parts.patches(7, seed=5)
    groups = torch.tensor([2, 0, 1, 2, 2, 0, 1])
    with torch.no_grad():
        together = model.sample(y, noise, groups)
        for number in range(7):
            one = slice(number, number + 1)
            alone = model.sample(y[one], noise[one], groups[one])
            torch.testing.assert_close(together[one], alone, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            model.sample(y, noise, groups, batch=2), together, rtol=1e-4, atol=1e-5
        )
        harder = model.sample(y, noise, groups.clamp(min=1))
    changed = (harder - together).abs().amax((1, 2, 3)) > 1e-3
    assert changed.tolist() == (groups == 0).tolist()  # groups matter, others do not


def test_groups_are_batched_and_get_their_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = parts.system()
    seen: list[tuple[int, int]] = []
    predict = model.predict

    def spy(x: Tensor, t: Tensor, y_0: Tensor, prompt: Tensor) -> Tensor:
        seen.append((len(x), int(t[0])))
        return predict(x, t, y_0, prompt)

    monkeypatch.setattr(model, "predict", spy)
    groups = torch.tensor([2, 0, 1, 2, 2, 0, 1])
    with torch.no_grad():
        model.sample(parts.patches(7), parts.patches(7), groups, batch=2)
    simple, medium = [(2, 100)], [(2, 400), (2, 200)]
    hard = [(n, t) for n in (2, 1) for t in (700, 525, 350, 175)]
    assert seen == simple + medium + hard
    assert sum(n for n, _ in seen) == parts.GROUPING.steps(groups)


def test_the_same_noise_whatever_the_chunk_and_other_noise_elsewhere() -> None:
    model = parts.system()
    frames = [parts.frame(seed=n) for n in range(3)]
    whole = Session(model, Options(seed=4, keep_ratio=0.5))
    pictures = [whole.push(f).image for f in frames]
    # with a budget, groups of the frame before count; a scene of its own begins here
    options = Options(seed=4, keep_ratio=1.0, noise="frame")
    late = Session(model, replace(options, first_index=2))
    full = Session(model, options)
    last = [full.push(f).image for f in frames][-1]
    assert torch.equal(late.push(frames[2]).image, last)
    again = Session(model, Options(seed=4, keep_ratio=0.5))
    assert torch.equal(again.push(frames[0]).image, pictures[0])

    def first(**options: Any) -> Tensor:
        session = Session(model, Options(keep_ratio=0.5, **options))
        return session.push(frames[0]).image

    assert not torch.equal(first(seed=5), pictures[0])
    assert torch.equal(first(seed=4, first_index=1), pictures[0])
    own = first(seed=4, noise="frame")
    assert not torch.equal(first(seed=4, noise="frame", first_index=1), own)


def test_more_budget_costs_more_steps_in_every_frame() -> None:
    model = parts.system()
    frame = parts.frame(20, 28)
    steps = []
    for ratio in (0.0, 0.3, 0.6, 1.0):
        done = Session(model, Options(keep_ratio=ratio)).push(frame)
        steps.append(done.steps)
        count = len(done.grid)
        assert max(ratio * 4 * count, count) - 2 < done.steps
        assert done.steps <= max(ratio * 4 * count, count)
    assert steps == sorted(steps)
    assert len(set(steps)) == 4


def restored(model: PatchScaler, frames: list[Tensor], reset: bool) -> list[Restored]:
    session = Session(model, Options())
    out = []
    for frame in frames:
        if reset:
            session.reset()
        out.append(session.push(frame))
    return out


def test_groups_are_held_in_a_trembling_video_but_not_over_a_cut() -> None:
    model = parts.system()
    base = parts.frame(20, 28)
    frames = [base, *(base + 0.02 * parts.frame(20, 28, n) for n in range(2, 8))]
    free = torch.stack([r.confidence for r in restored(model, frames, True)])
    # thresholds amid what the confidences are, a hysteresis as wide as they tremble
    low, high = free[0].quantile(torch.tensor([0.35, 0.65])).tolist()
    tremble = (free.logit() - free[0].logit()).abs().max().item()
    grouping = replace(
        model.config.grouping,
        thresholds=(high, low),
        hysteresis=2 * tremble,
    )
    model.config = replace(model.config, grouping=grouping)
    held = [r.groups for r in restored(model, frames, False)]
    loose = [r.groups for r in restored(model, frames, True)]
    assert all(torch.equal(g, held[0]) for g in held)
    assert any(not torch.equal(g, loose[0]) for g in loose)
    session = Session(model)
    session.push(frames[0])
    other = session.push(parts.frame(8, 8))  # another size is another scene
    assert len(other.groups) == len(other.grid)


def test_a_texture_prompt_matters_and_none_is_a_learned_token() -> None:
    model = parts.system()
    y = parts.patches(3)
    with torch.no_grad():
        assert torch.equal(model.prompt(y), model.no_prompt.expand(3, 1, -1))
        groups = torch.tensor([2, 2, 2])
        without = model.sample(y, y, groups)
        crops = [torch.rand(5, 3, model.crop_size, model.crop_size) for _ in range(2)]
        memory = model.build_memory(crops, 6)
        assert len(memory) == 6
        model.set_memory(memory)
        assert model.prompt(y).shape == (3, 2 * 4, 16)
        assert (model.sample(y, y, groups) - without).abs().max() > 1e-4
        model.set_memory(None)
        assert torch.equal(model.sample(y, y, groups), without)


def test_a_folder_of_pictures_becomes_a_memory(tmp_path: Path) -> None:
    model = parts.system()
    rng = np.random.default_rng(0)
    for number in range(2):
        pixels = rng.integers(0, 256, (70, 100, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    crops = texture_crops([tmp_path], model.crop_size, most=4)
    model.build_memory(map(torch.from_numpy, crops), 5).save(tmp_path / "memory")
    memory = TextureMemory.load(tmp_path / "memory")
    model.set_memory(memory)
    # a crop of the pictures is found again
    first = torch.from_numpy(next(texture_crops([tmp_path], model.crop_size, most=1)))
    with torch.no_grad():
        z = model.encode(first)
        found = memory.find(model.classifier.features(z), 1)
    torch.testing.assert_close(found.values[:, 0], z)


def test_a_memory_of_another_model_is_refused() -> None:
    model, other = parts.system(), parts.system(seed=1)
    crops = [torch.rand(2, 3, model.crop_size, model.crop_size)]
    with pytest.raises(WeightsError, match="another classifier"):
        model.set_memory(other.build_memory(crops, 2))
    wrong = TextureMemory(
        torch.ones(1, 8), torch.ones(1, 4, 4, 4), model.classifier.fingerprint()
    )
    with pytest.raises(WeightsError, match="holds patches"):
        model.set_memory(wrong)


def test_clips_are_scenes_of_their_own() -> None:
    model = parts.system()
    clips = torch.stack([parts.frame(seed=n) for n in range(4)]).unflatten(0, (2, 2))
    out = model(clips)
    assert out.shape == (2, 2, 3, 56, 72)
    session = Session(model)
    for frame, wanted in zip(clips[1], out[1], strict=True):
        assert torch.equal(session.push(frame).image, wanted)


def test_bfloat16_is_close_to_float32() -> None:
    model = parts.system(trained=False)
    frame = parts.frame()
    wanted = Session(model).push(frame)
    memory = model.build_memory([torch.rand(2, 3, 32, 32)], 2)
    half = model.to(torch.bfloat16)
    half.set_memory(memory)  # the fingerprint survives rounding
    got = Session(half).push(frame)
    assert (got.image - wanted.image).abs().max() < 0.05
    assert torch.equal(half.alphas, parts.system().alphas)


def test_diffusers_autoencoder_can_take_the_place_of_ours() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vae = AutoencoderKL(
            block_out_channels=(4, 4, 4),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            norm_num_groups=2,
            latent_channels=4,
        )
        config = PatchScalerConfig(parts.SIZES, parts.GROUPING, 4, 8, 2, 2)
        model = PatchScaler(vae, config).eval()
    picture = torch.rand(1, 3, 40, 48)
    with torch.no_grad():
        z = model.encode(picture)
        wanted = vae.decode(z / vae.config.scaling_factor).sample * 0.5 + 0.5
        torch.testing.assert_close(model.decode(z), wanted)
    assert Session(model).push(parts.frame()).image.isfinite().all()


def test_errors_say_what_is_wrong() -> None:
    model = parts.system()
    with pytest.raises(UsageError, match="no frame"):
        Session(model).push(torch.rand(1, 3, 8, 8))
    with pytest.raises(UsageError, match="no clip"):
        model(torch.rand(3, 8, 8))
    with pytest.raises(RuntimeFailure, match="coarse latent"):
        Session(model).push(torch.full((3, 8, 8), float("nan")))
    with pytest.raises(UsageError, match="do not work"):
        PatchScalerConfig(patch=10)
    with pytest.raises(UsageError, match="do not work"):
        Options(batch=0)
    with pytest.raises(UsageError, match="wavelet, adain, none"):
        Options(colours="blue")
