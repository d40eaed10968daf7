from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from upframe.systems.diffusion.autoencoder import (
    Autoencoder,
    AutoencoderConfig,
    Posterior,
    ToPixels,
    UpConv,
)

TINY = AutoencoderConfig((4, 8, 8), latent_channels=3, layers_per_block=1)


def test_the_default_is_small_and_shrinks_eight_times() -> None:
    with torch.device("meta"):
        network = Autoencoder()
        latents = network.encode(torch.zeros(1, 3, 64, 48)).latent_dist.mean
        picture = network.decode(latents)
    assert latents.shape == (1, 16, 8, 6)
    assert picture.shape == (1, 3, 64, 48)
    count = sum(p.numel() for p in network.parameters())
    assert 900_000 < count < 1_100_000


@pytest.mark.parametrize("patch", [1, 2])
def test_latents_of_a_tile_are_those_of_the_picture(patch: int) -> None:
    torch.manual_seed(0)
    widths = (4, 8, 8)[: 3 if patch == 1 else 2]
    config = AutoencoderConfig(widths, 3, layers_per_block=1, patch=patch)
    assert config.factor == 4
    network = Autoencoder(config).eval()
    for parameter in network.parameters():
        parameter.data.normal_(std=0.2)
    picture = torch.rand(1, 3, 48, 64) * 2 - 1
    with torch.no_grad():
        whole = network.encode(picture).latent_dist.mean
        tile = network.encode(picture[..., 32:]).latent_dist.mean
    torch.testing.assert_close(tile[..., 6:], whole[..., 14:], rtol=0, atol=1e-5)


def test_it_learns() -> None:
    torch.manual_seed(0)
    network = Autoencoder(TINY)
    optimiser = torch.optim.Adam(network.parameters(), 5e-3)
    picture = F.interpolate(torch.rand(2, 3, 3, 3), (16, 16), mode="bilinear") * 2 - 1
    losses = []
    for _ in range(60):
        out, posterior = network(picture)
        loss = (out - picture).square().mean() + 1e-6 * posterior.kl()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]


def test_divergence_is_zero_for_the_standard_normal_alone() -> None:
    zero = torch.zeros(1, 2, 3, 3)
    assert float(Posterior(zero, zero).kl()) == 0.0
    mean, logvar = zero + 0.7, zero - 0.5
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, torch.exp(0.5 * logvar)),
        torch.distributions.Normal(zero, zero + 1),
    ).mean()
    torch.testing.assert_close(Posterior(mean, logvar).kl(), expected)


def test_sides_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="no multiples of 4"):
        Autoencoder(TINY).encode(torch.zeros(1, 3, 16, 18))


@pytest.mark.parametrize("size", [(5, 7), (1, 1), (2, 1)])
def test_enlarging_and_convolving_are_one(size: tuple[int, int]) -> None:
    torch.manual_seed(1)
    x, layer = torch.randn(2, 5, *size), UpConv(5, 3)
    wanted = F.conv2d(
        F.interpolate(x, scale_factor=2.0), layer.weight, layer.bias, padding=1
    )
    out = layer(x)
    torch.testing.assert_close(out, wanted, rtol=0, atol=1e-5)
    gradients = [
        torch.autograd.grad(y.square().sum(), list(layer.parameters()))
        for y in (out, wanted)
    ]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_channels_become_pixels_as_in_torch(layout: torch.memory_format) -> None:
    x = torch.rand(2, 3 * 16, 5, 6).contiguous(memory_format=layout)
    out = ToPixels(4)(x)
    assert torch.equal(out, F.pixel_shuffle(x, 4))
    assert out.is_contiguous()


def test_maps_keep_channels_last() -> None:
    network = Autoencoder(AutoencoderConfig((8, 12), 4, layers_per_block=1, patch=2))
    layouts = []

    def look(layer: object, given: tuple[torch.Tensor], out: torch.Tensor) -> None:
        layouts.append(out.is_contiguous(memory_format=torch.channels_last))

    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(look)
    with torch.no_grad():
        network(torch.rand(1, 3, 16, 24))
    assert len(layouts) == 16
    assert all(layouts)
