"""LiftVSR's training: what is trained, the loss, times of segments."""

from __future__ import annotations

import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor

import liftvsr_parts as parts
from upframe.systems.liftvsr.training.objective import (
    Segment,
    add_noise,
    draw_times,
    predict_noise,
)
from upframe.systems.liftvsr.transformer import LiftTransformer

ALPHAS = DPMSolverMultistepScheduler().alphas_cumprod


def noise_loss(
    transformer: LiftTransformer,
    clean: Tensor,
    condition: Tensor,
    noise: Tensor,
    times: Tensor,
    prompt: Tensor,
) -> Tensor:
    """Mean squared error of the predicted noise, the paper's loss."""
    segments = [
        Segment(add_noise(z, drawn, own), given, own)
        for z, given, drawn, own in zip(
            clean.unbind(1),
            condition.unbind(1),
            noise.unbind(1),
            times.unbind(1),
            strict=True,
        )
    ]
    predicted = predict_noise(transformer, segments, prompt)
    return (torch.stack(predicted, dim=1) - noise).square().mean()


def material(segments: int = 2) -> tuple[torch.Tensor, ...]:
    """Clean latents, condition, noise."""
    generator = torch.Generator().manual_seed(0)
    shape = (1, segments, 3, 4, 4, 6)
    clean, condition, noise = (torch.randn(shape, generator=generator) for _ in "abc")
    return clean, condition, noise


def test_segments_have_times_of_their_own() -> None:
    times = draw_times(50, 2, torch.Generator().manual_seed(0))
    assert times.shape == (50, 2)
    assert times.min() >= 0
    assert times.max() <= 999
    assert (times[:, 0] != times[:, 1]).float().mean() > 0.9
    assert times.float().std(dim=0).min() > 200


def test_the_loss_is_that_of_each_segment_with_the_cache_before_it() -> None:
    network = parts.transformer()
    clean, condition, noise = material()
    times, prompt = torch.tensor([[300, 800]]), torch.zeros(1, 1, 10)
    with torch.no_grad():
        got = noise_loss(network, clean, condition, noise, times, prompt)
        wanted, cache = [], ()
        for n in (0, 1):
            level = ALPHAS[times[0, n]]
            z = level.sqrt() * clean[:, n] + (1 - level).sqrt() * noise[:, n]
            out, cache = network(
                z, condition[:, n], times[:, n], prompt, cache, remember=True
            )
            wanted.append((out[:, :, :4] - noise[:, n]).square().mean())
    torch.testing.assert_close(got, torch.stack(wanted).mean())


def test_gradients_reach_all_that_is_trained_and_nothing_else() -> None:
    network = parts.transformer().train()
    clean, condition, noise = material(3)  # the update's gate is used by the third
    times, prompt = torch.tensor([[300, 800, 5]]), torch.zeros(1, 1, 10)
    given = (network, clean, condition, noise, times, prompt)
    noise_loss(*given).backward()
    grads = {}
    for name, parameter in network.named_parameters():
        frozen = name.startswith("pixart.") and "lora_" not in name
        assert parameter.requires_grad != frozen
        if frozen:
            assert parameter.grad is None
        else:
            assert parameter.grad is not None, name
            grads[name] = parameter.grad.clone()
            parameter.grad = None
    still = {name for name, grad in grads.items() if not grad.any()}
    assert not still
    network.pixart.enable_gradient_checkpointing()
    noise_loss(*given).backward()
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(
                parameter.grad, grads[name], rtol=1e-4, atol=1e-6
            )


def test_an_untrained_network_learns() -> None:
    network = parts.transformer(trained=False).train()
    clean, condition, noise = material()
    times, prompt = torch.tensor([[300, 800]]), torch.zeros(1, 1, 10)
    optimiser = torch.optim.Adam(
        [p for p in network.parameters() if p.requires_grad], lr=1e-2
    )
    losses = []
    for _ in range(8):
        loss = noise_loss(network, clean, condition, noise, times, prompt)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
