from __future__ import annotations

import pytest
import torch

from upframe.systems.ultravsr.training.temporal_gan import (
    Kind,
    TemporalPatchGAN,
    discriminator_loss,
    frozen_scores,
    generator_loss,
)

KINDS: tuple[Kind, ...] = ("nsgan", "lsgan", "hinge")


def test_it_has_the_authors_sizes() -> None:
    with torch.device("meta"):
        network = TemporalPatchGAN()
        out = network(torch.zeros(1, 5, 3, 128, 192))
    assert out.shape == (1, 5, 256, 2, 3)
    shapes = [tuple(p.shape[:2]) for p in network.parameters() if p.dim() == 5]
    assert shapes == [
        (64, 3),
        (128, 64),
        (256, 128),
        (256, 256),
        (256, 256),
        (256, 256),
    ]


def test_it_sees_time() -> None:
    torch.manual_seed(0)
    network = TemporalPatchGAN(4).eval()
    clip = torch.rand(1, 5, 3, 32, 32)
    with torch.no_grad():
        assert not torch.allclose(network(clip)[:, 2], network(clip.flip(1))[:, 2])


@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_low_where_they_should_be(kind: Kind) -> None:
    right, wrong = torch.full((3,), 4.0), torch.full((3,), -4.0)
    if kind == "lsgan":
        right, wrong = torch.ones(3), torch.zeros(3)
    assert discriminator_loss(right, wrong, kind) < discriminator_loss(
        wrong, right, kind
    )
    assert generator_loss(right, kind) < generator_loss(wrong, kind)


def test_cross_entropy_is_torchs() -> None:
    x = torch.randn(20)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(x, torch.ones(20))
    torch.testing.assert_close(generator_loss(x, "nsgan"), expected)


def test_it_learns_to_tell_flicker() -> None:
    torch.manual_seed(0)
    network = TemporalPatchGAN(4)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)

    def clips(flicker: float) -> torch.Tensor:
        still = torch.rand(4, 1, 3, 1, 1).expand(4, 4, 3, 8, 8)
        return still + flicker * torch.randn(4, 4, 1, 1, 1)

    for _ in range(30):
        loss = discriminator_loss(network(clips(0.0)), network(clips(0.5)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        assert network(clips(0.0)).mean() > network(clips(0.5)).mean() + 0.5


def test_a_frozen_scores_leaves_the_discriminator_alone() -> None:
    network = TemporalPatchGAN(2)
    clip = torch.rand(1, 2, 3, 8, 8, requires_grad=True)
    generator_loss(frozen_scores(network, clip)).backward()
    assert clip.grad is not None
    assert clip.grad.abs().sum() > 0
    assert all(p.grad is None and p.requires_grad for p in network.parameters())
