from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from upframe.systems.autoencoder import Autoencoder, AutoencoderConfig, Posterior

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
