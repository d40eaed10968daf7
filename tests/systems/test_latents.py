"""Pictures to latents of unit variance and back, whole latents only."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from upframe.systems.diffusion.autoencoder import Autoencoder, AutoencoderConfig
from upframe.systems.diffusion.latents import decode, encode, fill, trim

FACTOR, SCALING = 4, 0.25


@pytest.fixture(scope="module")
def vae() -> Autoencoder:
    torch.manual_seed(0)
    network = Autoencoder(AutoencoderConfig((4, 8, 8), 3, 1, SCALING)).eval()
    for parameter in network.parameters():
        parameter.data.normal_(std=0.2)
    return network


def test_latents_are_scaled_means_without_gradient(vae: Autoencoder) -> None:
    pictures = torch.rand(2, 3, 8, 12)
    z = encode(vae, pictures)
    mean = vae.encode(pictures * 2 - 1).latent_dist.mean
    assert z.shape == (2, 3, 2, 3)
    assert mean.requires_grad
    assert not z.requires_grad
    torch.testing.assert_close(z, mean.detach() * SCALING, rtol=0, atol=0)


def test_decoding_takes_the_scale_away_again(vae: Autoencoder) -> None:
    z = torch.rand(2, 3, 2, 3)
    wanted = (vae.decode(z / SCALING) + 1) / 2
    torch.testing.assert_close(decode(vae, z), wanted)


def test_the_type_of_the_autoencoder_is_its_own_business(vae: Autoencoder) -> None:
    pictures = torch.rand(1, 3, 8, 8)
    wanted = encode(vae, pictures)
    half = Autoencoder(vae.config).bfloat16().eval()
    half.load_state_dict(vae.state_dict())
    z = encode(half, pictures)
    out = decode(half, z)
    assert (z.dtype, out.dtype) == (torch.float32, torch.float32)
    torch.testing.assert_close(z, wanted, rtol=0, atol=0.02 * float(wanted.abs().max()))


@pytest.mark.parametrize(
    ("least", "size"), [(1, (8, 12)), (3, (12, 12)), (5, (20, 20))]
)
def test_filling_repeats_the_edge(least: int, size: tuple[int, int]) -> None:
    pictures = torch.rand(1, 3, 7, 12)
    filled = fill(pictures, FACTOR, least)
    assert filled.shape[-2:] == size
    assert torch.equal(filled[..., :7, :12], pictures)
    last: Tensor = pictures[..., -1:, :].expand(1, 3, size[0] - 7, 12)
    assert torch.equal(filled[..., 7:, :12], last)


def test_trimming_leaves_whole_latents() -> None:
    pictures = torch.rand(1, 3, 11, 12)
    assert torch.equal(trim(pictures, FACTOR), pictures[..., :8, :])
