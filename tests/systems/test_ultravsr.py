from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import ultravsr_parts as parts
import upframe
from upframe.errors import RuntimeFailure, WeightsError
from upframe.nn.images import colour_fixes
from upframe.systems import ultravsr
from upframe.systems.diffusion.autoencoder import Autoencoder, AutoencoderConfig
from upframe.systems.ultravsr.backbones import (
    decoder_stages,
    place_in_unet,
    place_in_vae,
    unet_stages,
)
from upframe.systems.ultravsr.model import UltraVSR, restoration_step, sampled_frames
from upframe.systems.ultravsr.rts import RecurrentTemporalShift


def system(seed: int = 0, **settings: Any) -> UltraVSR:
    """Random everywhere, the temporal modules too."""
    arguments = {"text": parts.text(), "scale": 2, **settings}
    model = UltraVSR(parts.unet(seed), parts.vae(seed), parts.alphas(), **arguments)
    for module in model.modules():
        if isinstance(module, RecurrentTemporalShift):
            parts.shaken(module, seed)
    return model.eval()


def clip(frames: int, height: int = 10, width: int = 14) -> Tensor:
    generator = torch.Generator().manual_seed(frames)
    return torch.rand(1, frames, 3, height, width, generator=generator)


HALF = torch.tensor([0.5])


def test_the_building_blocks_have_their_names() -> None:
    module = ultravsr.RecurrentTemporalShift(320)
    assert isinstance(module.RTSConv, ultravsr.RTSConv)
    assert isinstance(module.RTSAtten, ultravsr.RTSAttention)
    assert module(torch.zeros(4, 320, 3, 3), frames=2).shape == (4, 320, 3, 3)


@pytest.mark.parametrize("size", [(8, 8), (5, 7), (2, 2)])
def test_with_fresh_modules_the_unet_is_diffusers(size: tuple[int, int]) -> None:
    unet = parts.unet()
    x, text = torch.randn(3, 4, *size), parts.text().expand(3, -1, -1)
    timestep = torch.tensor([137])
    with torch.no_grad():
        expected = unet(x, timestep, text).sample
        place_in_unet(unet)
        out = unet_stages(unet, timestep)(x, 3, (text,))
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-5)


def test_with_fresh_modules_the_decoder_is_diffusers() -> None:
    vae, z = parts.vae(), torch.randn(2, 4, 3, 5)
    with torch.no_grad():
        expected = vae.decode(z).sample
        place_in_vae(vae)
        out = decoder_stages(vae)(z, 2)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-5)


def test_modules_have_the_places_of_the_paper() -> None:
    model = system()
    names = {
        name.rpartition(".RTS")[0]
        for name, _ in model.named_parameters()
        if ".RTS" in name
    }
    assert names == {
        *(f"unet.video_{way}_RTS_blocks.{i}" for way in ("down", "up") for i in (0, 1)),
        *(f"vae.decoder.video_up_RTS_blocks.{i}" for i in (0, 1)),
    }
    # 4 modules in the UNet, 2 in the decoder, two frames each
    assert unet_stages(model.unet, torch.tensor([0])).delay == 8
    assert decoder_stages(model.vae).delay == 4


def test_the_first_skip_connections_are_not_shifted() -> None:
    model = system()
    seen: list[Tensor] = []
    block = model.unet.up_blocks[-1]
    original = block.forward

    def spy(**given: Any) -> Tensor:
        seen.extend(given["res_hidden_states_tuple"])
        return original(**given)

    block.forward = spy
    x, text = torch.randn(2, 4, 4, 4), parts.text().expand(2, -1, -1)
    with torch.no_grad():
        unet_stages(model.unet, torch.tensor([5]))(x, 2, (text,))
        assert torch.equal(seen[0], model.unet.conv_in(x))


def test_the_step_follows_the_equations() -> None:
    alphas = parts.alphas()
    step = restoration_step(torch.tensor([0.8, 0.1]), alphas)
    torch.testing.assert_close(step.alpha_bar, torch.tensor([0.64, 0.01]))
    for number, d in enumerate((0.64, 0.01)):
        distances = [abs(float(a) - d) for a in alphas]
        assert step.timestep[number] == distances.index(min(distances))
    z, noise = torch.randn(4, 2, 3, 3), torch.randn(4, 2, 3, 3)
    out = step.restore(z, noise)
    torch.testing.assert_close(out[:2], (z[:2] - 0.6 * noise[:2]) / 0.8)
    torch.testing.assert_close(out[2:], (z[2:] - 0.99**0.5 * noise[2:]) / 0.1)


def test_a_step_undoes_diffusion_when_the_noise_is_known() -> None:
    step = restoration_step(torch.tensor([0.3]), parts.alphas())
    clean, noise = torch.randn(1, 4, 5, 5), torch.randn(1, 4, 5, 5)
    d = float(step.alpha_bar[0])
    noisy = d**0.5 * clean + (1 - d) ** 0.5 * noise
    torch.testing.assert_close(step.restore(noisy, noise), clean, rtol=0, atol=1e-5)


@pytest.mark.parametrize("factor", [0.0, 1.0, 7.0])
def test_the_step_stays_on_the_schedule(factor: float) -> None:
    step = restoration_step(torch.tensor([factor]), parts.alphas())
    assert 0.004 < step.alpha_bar[0] < 1
    assert step.timestep[0] in (0, 999)


def test_estimates_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(RuntimeFailure, match="not a number"):
        restoration_step(torch.tensor([float("nan")]), parts.alphas())


def test_which_frames_are_estimated_does_not_depend_on_the_clips_end() -> None:
    assert sampled_frames(1) == [0]
    assert sampled_frames(4) == [0, 2]
    assert sampled_frames(10) == sampled_frames(1000) == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("shape", [(1, 10, 14), (3, 7, 9), (2, 16, 2)])
def test_sizes_and_range(shape: tuple[int, int, int]) -> None:
    frames = clip(*shape)
    with torch.no_grad():
        out = system()(frames, HALF)
    assert out.shape == (1, shape[0], 3, shape[1] * 2, shape[2] * 2)
    assert out.min() >= 0
    assert out.max() <= 1


def test_clips_of_a_batch_are_apart() -> None:
    model = system(estimator=lambda pictures: pictures.mean((1, 2, 3)))
    one, other = clip(3), clip(3).flip(1) * 0.3
    with torch.no_grad():
        together = model(torch.cat((one, other)))
        apart = torch.cat((model(one), model(other)))
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-4)


def test_noise_comes_from_seed_and_frame_number() -> None:
    model = system()
    picture = torch.full((2, 3, 8, 8), 0.5)
    with torch.no_grad():
        z = model.encode(picture, [3, 4], seed=1)
        again = model.encode(picture, [4, 5], seed=1)
        other = model.encode(picture, [3, 4], seed=2)
    assert torch.equal(z[1], again[0])
    assert not torch.equal(z[0], z[1])
    assert not torch.equal(z, other)


def test_colours_are_corrected_by_name() -> None:
    model, frames = system(), clip(2)
    with torch.no_grad():
        outs = {name: model(frames, HALF, colours=name) for name in colour_fixes}
    assert outs.keys() == {"wavelet", "adain", "none"}
    error = {
        n: (o.mean((-2, -1)) - frames.mean((-2, -1))).abs().mean()
        for n, o in outs.items()
    }
    assert error["wavelet"] < error["none"]
    assert error["adain"] < error["none"]


def test_maps_of_the_small_system_keep_channels_last() -> None:
    model = upframe.load("ultravsr-nano")
    layouts = {}

    def look(name: str, out: Tensor) -> None:
        layouts[name] = out.is_contiguous(memory_format=torch.channels_last)

    looked_at = set()
    for name, layer in model.named_modules():
        if isinstance(layer, torch.nn.Conv2d) and "estimator" not in name:
            layer.register_forward_hook(lambda _, __, out, name=name: look(name, out))
            looked_at.add(name)
    with torch.no_grad():
        model(clip(3, 12, 16), HALF)
    # temporal modules compute some of theirs by hand, from parts of the weights
    own = {name for name in looked_at if "RTS" not in name}
    assert own <= layouts.keys()
    assert {name.split(".")[0] for name in own} == {"unet", "vae"}
    assert all(layouts.values())


def test_our_own_autoencoder_fits() -> None:
    own = Autoencoder(AutoencoderConfig((4, 8), latent_channels=4, layers_per_block=1))
    model = UltraVSR(parts.unet(), own, parts.alphas(), text=parts.text(), scale=4)
    with torch.no_grad():
        assert model(clip(2, 5, 6), HALF).shape == (1, 2, 3, 20, 24)
    assert len(own.decoder.get_submodule("video_up_RTS_blocks")._modules) == 2


def test_overflow_is_an_error_that_says_what_to_do() -> None:
    model = system().half()
    model.vae.decoder.conv_out.weight.data *= 1e5
    with torch.no_grad(), pytest.raises(RuntimeFailure, match="float32 or bfloat16"):
        model(clip(1), HALF)


def test_without_an_estimator_a_factor_is_needed() -> None:
    with pytest.raises(RuntimeFailure, match="no estimator"):
        system()(clip(1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": None}, "no embedding of a prompt"),
        ({"text": torch.zeros(1, 3, 5)}, r"\(1, L, 12\)"),
    ],
)
def test_components_that_do_not_fit_are_refused(change: Any, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        system(**change)


def test_other_kinds_of_unet_are_refused() -> None:
    unet = parts.unet()
    config = {**unet.config, "in_channels": 9}
    with pytest.raises(WeightsError, match="9 channels"):
        place_in_unet(SimpleNamespace(config=SimpleNamespace(**config)))
    config = {**unet.config, "addition_embed_type": "text_time"}
    with pytest.raises(WeightsError, match="text_time"):
        place_in_unet(SimpleNamespace(config=SimpleNamespace(**config)))
    own = Autoencoder(AutoencoderConfig((4, 8), latent_channels=7))
    with pytest.raises(WeightsError, match="makes 7"):
        UltraVSR(unet, own, parts.alphas(), text=parts.text())
