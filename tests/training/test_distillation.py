from __future__ import annotations

import torch
from torch import Tensor

from upframe.systems.ultravsr.training.distillation import (
    add_noise,
    distillation_losses,
    fake_loss,
)

ALPHAS = torch.cumprod(1 - torch.linspace(0.03, 0.11, 1000) ** 2, 0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Towards:
    """The exact denoiser of a distribution that is one point."""

    def __init__(self, point: Tensor) -> None:
        self.point = point

    def __call__(self, z: Tensor, timestep: Tensor) -> Tensor:
        alpha = ALPHAS[timestep][:, None, None, None]
        return (z - alpha.sqrt() * self.point) / (1 - alpha).sqrt()


def test_noise_is_undone_by_its_own_prediction() -> None:
    x = torch.randn(6, 4, 3, 3)
    noised = add_noise(x, 3, ALPHAS, seeded())
    torch.testing.assert_close(noised.clean(noised.noise), x, rtol=0, atol=1e-3)
    steps = noised.timestep.reshape(2, 3)
    assert (steps == steps[:, :1]).all()
    assert steps[0, 0] != steps[1, 0]
    assert ((steps >= 20) & (steps <= 980)).all()


def test_gradients_lead_to_what_the_real_model_knows() -> None:
    goal = torch.randn(4, 2, 3, 3, generator=seeded(1))
    x = torch.randn(4, 2, 3, 3, generator=seeded(2)).requires_grad_()
    losses = distillation_losses(
        x, 4, Towards(goal), Towards(x.detach()), ALPHAS, seeded()
    )
    (step,) = torch.autograd.grad(losses.content, x)
    expected = (x.detach() - goal) / (x.detach() - goal).abs().mean(
        (1, 2, 3), keepdim=True
    )
    torch.testing.assert_close(step * x.numel(), expected, rtol=0, atol=1e-2)


def test_nothing_is_left_to_learn_where_both_models_agree() -> None:
    x = torch.randn(4, 2, 3, 3).requires_grad_()
    judge = Towards(torch.zeros(4, 2, 3, 3))
    losses = distillation_losses(x, 2, judge, judge, ALPHAS, seeded())
    assert losses.content.detach() < 1e-9
    assert losses.temporal.detach() < 1e-9


def test_the_temporal_part_sees_flicker_and_nothing_else() -> None:
    still = torch.randn(1, 2, 3, 3, generator=seeded(1)).expand(4, -1, -1, -1)

    def temporal(offset: Tensor) -> Tensor:
        x = (still + offset).clone().requires_grad_()
        losses = distillation_losses(
            x, 4, Towards(still), Towards(x.detach()), ALPHAS, seeded()
        )
        (step,) = torch.autograd.grad(losses.temporal, x)
        return step

    # the same error in all frames changes nothing between them
    assert temporal(torch.full((4, 1, 1, 1), 0.5)).abs().max() < 1e-3
    flicker = torch.tensor([0.0, 0.5, 0.0, 0.0])[:, None, None, None]
    step = temporal(flicker)
    assert (step[1] > 0.01).all()
    assert (step[[0, 2]] < 0).all()
    assert step[3].abs().max() < 1e-3


def test_descending_both_losses_reaches_the_goal() -> None:
    goal = torch.randn(3, 2, 2, 2, generator=seeded(1))
    x = torch.randn(3, 2, 2, 2, generator=seeded(2)).requires_grad_()
    optimiser = torch.optim.Adam([x], 0.05)
    generator = seeded()
    for _ in range(120):
        losses = distillation_losses(
            x, 3, Towards(goal), Towards(x.detach()), ALPHAS, generator
        )
        optimiser.zero_grad()
        (losses.content + losses.temporal).backward()
        optimiser.step()
    assert (x.detach() - goal).abs().mean() < 0.1


def test_one_frame_has_no_temporal_part() -> None:
    x = torch.randn(2, 2, 3, 3).requires_grad_()
    judge = Towards(torch.zeros(2, 2, 3, 3))
    losses = distillation_losses(x, 1, judge, Towards(x.detach()), ALPHAS, seeded())
    assert float(losses.temporal) == 0
    assert losses.content.requires_grad


def test_the_fake_model_learns_from_the_latents_without_touching_them() -> None:
    x = torch.randn(4, 2, 3, 3).requires_grad_()
    shift = torch.zeros(1, requires_grad=True)
    exact = Towards(x.detach())

    def fake(z: Tensor, timestep: Tensor) -> Tensor:
        return exact(z, timestep) + shift

    loss = fake_loss(x, 2, fake, ALPHAS, seeded())
    assert loss.detach() < 1e-6
    (fake_loss(x, 2, lambda z, t: fake(z, t) + 1, ALPHAS, seeded())).backward()
    assert x.grad is None
    assert shift.grad is not None
    assert shift.grad > 0
