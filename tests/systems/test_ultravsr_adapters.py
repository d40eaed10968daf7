from __future__ import annotations

from typing import Any

import pytest
import torch

import ultravsr_parts as parts
from upframe.errors import WeightsError
from upframe.systems.ultravsr.adapters import (
    checkpoint,
    load_checkpoint,
    merge_lora,
    prepare_training,
    trainable,
)
from upframe.systems.ultravsr.backbones import (
    SD21_UNET,
    SD21_VAE,
    decoder_stages,
    place_in_unet,
    place_in_vae,
    unet_stages,
)

pytest.importorskip("peft")


def networks(seed: int) -> tuple[Any, Any]:
    unet, vae = parts.unet(seed), parts.vae(seed)
    place_in_unet(unet)
    place_in_vae(vae)
    return unet, vae


def trained(seed: int) -> tuple[Any, Any]:
    """Base weights of seed 0, and everything that is trained random."""
    unet, vae = networks(0)
    prepare_training(unet, vae, rank=2)
    generator = torch.Generator().manual_seed(seed)
    for _, parameter in trainable(unet, vae):
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data.copy_(noise * 0.1)
    return unet, vae


def outputs(unet: Any, vae: Any) -> torch.Tensor:
    generator = torch.Generator().manual_seed(9)
    z = torch.randn(3, 4, 4, 6, generator=generator)
    with torch.no_grad():
        latents = vae.encode(torch.nn.functional.interpolate(z[:, :3], (8, 12)))
        noise = unet_stages(unet, torch.tensor([50]))(
            z + latents.latent_dist.mean, 3, (parts.text().expand(3, -1, -1),)
        )
        return decoder_stages(vae)(noise, 3)


def test_full_size_trains_as_many_parameters_as_the_paper() -> None:
    diffusers = pytest.importorskip("diffusers")
    with torch.device("meta"):
        unet = diffusers.UNet2DConditionModel(**SD21_UNET)
        vae = diffusers.AutoencoderKL(**SD21_VAE)
        assert sum(p.numel() for p in unet.parameters()) == 865_910_724
        assert sum(p.numel() for p in vae.parameters()) == 83_653_863
        place_in_unet(unet)
        place_in_vae(vae)
        prepare_training(unet, vae)
    sizes = {name: parameter.numel() for name, parameter in trainable(unet, vae)}
    assert sum(n for name, n in sizes.items() if "RTS" in name) == 6_056_976
    lora = {name: n for name, n in sizes.items() if "lora" in name}
    assert sum(n for name, n in lora.items() if name.startswith("unet.")) == 4_055_712
    assert sum(n for name, n in lora.items() if name.startswith("vae.")) == 369_356
    assert sum(sizes.values()) == 10_493_884


def test_a_checkpoint_comes_back() -> None:
    first = trained(1)
    content = checkpoint(*first)
    assert content["rank_unet"] == content["rank_vae"] == 2
    assert "conv_in" in content["unet_lora_encoder_modules"]
    assert "conv_in.base_layer.weight" in content["state_dict_unet"]
    assert "quant_conv" in content["vae_lora_modules"]
    assert not any("decoder" in name for name in content["vae_lora_modules"])
    second = networks(0)
    fresh = outputs(*second)
    load_checkpoint(*second, content)
    expected = outputs(*first)
    assert not torch.allclose(fresh, expected, atol=1e-3)
    torch.testing.assert_close(outputs(*second), expected, rtol=0, atol=1e-6)


def test_merging_changes_no_result() -> None:
    unet, vae = trained(2)
    before = outputs(unet, vae)
    merge_lora(unet)
    merge_lora(vae)
    assert not any("lora" in name for name, _ in unet.named_parameters())
    torch.testing.assert_close(outputs(unet, vae), before, rtol=0, atol=1e-4)


def test_gradients_reach_everything_that_is_trained() -> None:
    unet, vae = trained(3)
    z = torch.randn(2, 3, 8, 8)
    latents = vae.encode(z).latent_dist.mean
    stages = unet_stages(unet, torch.tensor([50]))
    noise = stages(latents, 2, (parts.text().expand(2, -1, -1),))
    decoder_stages(vae)(noise, 2).square().sum().backward()
    for name, parameter in trainable(unet, vae):
        assert parameter.grad is not None, name


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("rank_vae", None, "lacks rank_vae"),
        ("rank_unet", -1, "ranks"),
        ("vae_lora_modules", ["encoder.nowhere"], "encoder.nowhere"),
        ("unet_lora_others_modules", "conv", "no list"),
        ("state_dict_vae", {}, "autoencoder: it lacks"),
    ],
)
def test_what_does_not_fit_is_refused(key: str, value: Any, message: str) -> None:
    content = checkpoint(*trained(1))
    content.pop(key)
    if value is not None:
        content[key] = value
    with pytest.raises(WeightsError, match=message):
        load_checkpoint(*networks(0), content)


def test_wrong_and_broken_tensors_are_refused() -> None:
    for damage, message in (
        (lambda x: x[:1], "not the shape"),
        (lambda x: x * float("nan"), "no numbers"),
    ):
        content = checkpoint(*trained(1))
        state = content["state_dict_unet"]
        state["conv_in.base_layer.weight"] = damage(state["conv_in.base_layer.weight"])
        with pytest.raises(WeightsError, match=message):
            load_checkpoint(*networks(0), content)
