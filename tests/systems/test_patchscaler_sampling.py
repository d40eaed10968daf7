"""PatchScaler: shortcut, ODE, groups, budget, hysteresis, restoration loss, patches."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from upframe.errors import UsageError
from upframe.planning.tiles import TileGrid
from upframe.systems.patchscaler.patches import cut, join, paint_groups, patch_grid
from upframe.systems.patchscaler.restoration import (
    Coarse,
    GlobalRestoration,
    restoration_loss,
)
from upframe.systems.patchscaler.sampling import (
    Group,
    Grouping,
    noise_schedule,
    shortcut,
    shortcut_gap,
    solve,
)

GROUPING = Grouping((Group(100, 1), Group(400, 4), Group(800, 10)), (0.7, 0.4), 0.5)
confidences = st.lists(st.floats(0, 1), min_size=1, max_size=30)
ratios = st.floats(0, 1)


def of_logits(*logits: float) -> Tensor:
    return torch.tensor(logits, dtype=torch.float64).sigmoid()


def test_the_schedule_is_that_of_stable_diffusion() -> None:
    from diffusers import DDIMScheduler

    reference = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
    ).alphas_cumprod
    ours = noise_schedule()
    assert ours[0] == 1
    torch.testing.assert_close(ours[1:].float(), reference, rtol=1e-4, atol=0)


@pytest.mark.parametrize("t", [1, 200, 500, 800, 1000])
def test_the_shortcut_has_its_mean_and_its_variance(t: int) -> None:
    alpha = noise_schedule()[t]
    noise = torch.randn(200_000, generator=torch.Generator().manual_seed(t)).double()
    drawn = shortcut(torch.full_like(noise, 1.7), noise, alpha)
    spread = math.sqrt(1 - alpha)
    assert drawn.mean().item() == pytest.approx(
        1.7 * math.sqrt(alpha), abs=0.02 * spread
    )
    assert drawn.std().item() == pytest.approx(spread, rel=0.01)


def test_the_shortcut_of_the_truth_is_the_forward_process() -> None:
    """Noising in one go has the marginals of noising step by step."""
    alphas = noise_schedule()
    mean, variance = 1.0, 0.0
    for t in range(1, 401):
        kept = float(alphas[t] / alphas[t - 1])  # 1 - β_t
        mean, variance = mean * math.sqrt(kept), variance * kept + 1 - kept
    zero = torch.zeros((), dtype=torch.float64)
    assert shortcut(zero + 1, zero, alphas[400]).item() == pytest.approx(mean)
    assert shortcut(zero, zero + 1, alphas[400]).item() ** 2 == pytest.approx(variance)


def test_the_gap_is_the_divergence_and_closes_with_noise() -> None:
    alphas = noise_schedule()
    x, y = torch.tensor([0.3, -1.0]).double(), torch.tensor([0.8, 1.0]).double()
    for t in (50, 500):
        alpha = alphas[t]
        spread = (1 - alpha).sqrt()
        wanted = kl_divergence(
            Normal(alpha.sqrt() * x, spread), Normal(alpha.sqrt() * y, spread)
        )
        torch.testing.assert_close(shortcut_gap(x - y, alpha), wanted)
    gaps = shortcut_gap(torch.ones(1000).double(), alphas[1:])
    assert (gaps.diff() < 0).all()
    assert gaps[-1] < 0.01


def test_the_ode_leads_a_gaussian_where_theory_says() -> None:
    """Of N(m, s²) the best prediction and the ODE's solution are known."""
    alphas = noise_schedule()
    m, s, start = 0.4, 0.6, 700

    def best(x: Tensor, t: int) -> Tensor:
        a = float(alphas[t])
        gain = math.sqrt(a) * s**2 / (a * s**2 + 1 - a)
        return m + gain * (x - math.sqrt(a) * m)

    a = float(alphas[start])
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)
    wanted = m + s * (x - math.sqrt(a) * m) / math.sqrt(a * s**2 + 1 - a)

    def gap(steps: int) -> float:
        found = solve(best, x, Group(start, steps).times(), alphas)
        return (found - wanted).abs().max().item()

    assert gap(10) < 0.2 * wanted.abs().max()
    assert gap(40) < gap(10) / 2
    assert gap(160) < gap(40) / 2
    assert gap(160) < 0.01 * wanted.abs().max()


# diffusers turns tensors into arrays in a way that NumPy will drop
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_the_steps_are_those_of_diffusers_solver() -> None:
    from diffusers import DPMSolverMultistepScheduler

    alphas = noise_schedule()
    times = (601, 401, 201, 0)
    reference = DPMSolverMultistepScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="sample",
        final_sigmas_type="zero",
    )
    reference.set_timesteps(timesteps=[t - 1 for t in times[:-1]])

    def predict(x: Tensor, t: int) -> Tensor:
        return torch.sin(3 * x) * (0.5 + t / 1000)

    x = wanted = torch.linspace(-1, 1, 24).reshape(1, 1, 4, 6)
    for t in reference.timesteps.tolist():
        wanted = reference.step(predict(wanted, t + 1), t, wanted).prev_sample
    torch.testing.assert_close(
        solve(predict, x, times, alphas), wanted, rtol=1e-4, atol=1e-4
    )


def test_a_group_calls_the_network_as_often_as_it_says() -> None:
    for group in GROUPING.groups:
        times = group.times()
        assert (times[0], times[-1], len(times)) == (group.start, 0, group.steps + 1)
        assert all(a > b for a, b in pairwise(times))
    assert Group(3, 3).times() == (3, 2, 1, 0)
    with pytest.raises(ValueError, match="do not end at 0"):
        solve(lambda x, _: x, torch.zeros(1), (5, 3), noise_schedule())


def test_thresholds_are_as_in_the_paper() -> None:
    confidence = torch.tensor([1.0, 0.71, 0.699, 0.41, 0.399, 0.0])
    assert GROUPING.assign(confidence).tolist() == [0, 0, 1, 1, 2, 2]
    assert GROUPING.steps(GROUPING.assign(confidence)) == 2 * (1 + 4 + 10)


@settings(max_examples=60, deadline=None)
@given(confidences, ratios, ratios)
def test_a_higher_ratio_never_gives_a_patch_fewer_steps(
    values: list[float], one: float, other: float
) -> None:
    low, high = sorted((one, other))
    confidence = torch.tensor(values)
    few = GROUPING.assign(confidence, keep_ratio=low)
    many = GROUPING.assign(confidence, keep_ratio=high)
    assert (many >= few).all()


@settings(max_examples=60, deadline=None)
@given(confidences, ratios, st.booleans())
def test_the_budget_is_kept_to_less_than_one_patch(
    values: list[float], ratio: float, later: bool
) -> None:
    confidence = torch.tensor(values)
    before = GROUPING.assign(confidence.flip(0)) if later else None
    groups = GROUPING.assign(confidence, before=before, keep_ratio=ratio)
    spent, budget = GROUPING.steps(groups), ratio * len(values) * 10
    assert spent <= max(budget + 1e-6, len(values))
    assert spent > budget - 6 - 1 or spent == 10 * len(values)


@settings(max_examples=60, deadline=None)
@given(confidences, ratios)
def test_the_budget_never_prefers_an_easier_patch(
    values: list[float], ratio: float
) -> None:
    confidence = torch.tensor(values)
    groups = GROUPING.assign(confidence, keep_ratio=ratio)
    # confidences next to 0 and 1 count as equal
    order = confidence.clamp(1e-6, 1 - 1e-6).argsort(stable=True)
    assert (groups[order].diff() <= 0).all()


def test_the_ends_of_the_budget() -> None:
    confidence = torch.rand(20, generator=torch.Generator().manual_seed(0))
    assert GROUPING.assign(confidence, keep_ratio=1.0).tolist() == [2] * 20
    assert GROUPING.assign(confidence, keep_ratio=0.0).tolist() == [0] * 20
    # a ratio that the thresholds themselves spend moves no patch
    plain = GROUPING.assign(confidence)
    share = GROUPING.steps(plain) / (20 * 10)
    assert torch.equal(GROUPING.assign(confidence, keep_ratio=share), plain)
    with pytest.raises(UsageError, match="no share"):
        GROUPING.assign(confidence, keep_ratio=1.2)


@pytest.mark.parametrize("keep_ratio", [None, 0.4])
def test_a_flickering_confidence_does_not_flip_groups(keep_ratio: float | None) -> None:
    generator = torch.Generator().manual_seed(3)
    base = 3 * torch.rand(40, generator=generator, dtype=torch.float64) - 1
    held, free, flips = None, [], 0
    for _ in range(30):
        noise = torch.rand(40, generator=generator, dtype=torch.float64) - 0.5
        confidence = (base + 0.98 * GROUPING.hysteresis * noise).sigmoid()
        now = GROUPING.assign(confidence, before=held, keep_ratio=keep_ratio)
        flips += 0 if held is None else int((now != held).sum())
        held = now
        free.append(GROUPING.assign(confidence, keep_ratio=keep_ratio))
    trembling = sum(int((a != b).sum()) for a, b in pairwise(free))
    assert trembling > 20  # so hysteresis has something to do
    assert flips <= (0 if keep_ratio is None else 2)  # left-over steps find a taker


def test_a_confidence_that_truly_changes_is_followed() -> None:
    bound = math.log(0.7 / 0.3)
    before = torch.tensor([0, 1])
    just = of_logits(bound - 0.49, bound + 0.49)
    assert GROUPING.assign(just, before=before).tolist() == [0, 1]
    clearly = of_logits(bound - 0.51, bound + 0.51)
    assert GROUPING.assign(clearly, before=before).tolist() == [1, 0]
    assert GROUPING.assign(of_logits(-6, 6), before=before).tolist() == [2, 0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"groups": (Group(100, 2), Group(100, 4), Group(800, 10))},
        {"groups": (Group(100, 4), Group(400, 4), Group(800, 10))},
        {"groups": (Group(100, 2), Group(400, 4), Group(1001, 10))},
        {"groups": (Group(1, 2), Group(400, 4), Group(800, 10))},
        {"thresholds": (0.4, 0.7)},
        {"hysteresis": -1.0},
    ],
)
def test_groupings_that_make_no_sense_are_refused(wrong: dict) -> None:  # type: ignore[type-arg]
    with pytest.raises(UsageError):
        Grouping(**wrong)


@pytest.mark.parametrize("error", [0.1, 0.5, 2.0])
def test_the_loss_is_least_where_confidence_is_eta_over_error_squared(
    error: float,
) -> None:
    target = torch.zeros(1, 2, 1, 1)
    eta = 0.1
    best = min(eta / error**2, 1)

    def loss(confidence: float) -> float:
        logit = torch.full((1, 1, 1, 1), confidence, dtype=torch.float64).logit()
        return restoration_loss(Coarse(target + error, logit), target, eta=eta).item()

    grid = [k / 1000 for k in range(1, 1000)]
    assert min(grid, key=loss) == pytest.approx(best, abs=2e-3)
    c = 0.3
    wanted = error + 0.5 * (c * error**2 - eta * math.log(c))
    logit = torch.full((1, 1, 1, 1), c).logit()
    got = restoration_loss(Coarse(target + error, logit), target, weight=0.5, eta=eta)
    assert got.item() == pytest.approx(wanted, rel=1e-5)


def test_the_restoration_module_begins_as_the_identity_and_learns_both() -> None:
    module = GlobalRestoration(3, (4, 6, 8), 1)
    z = torch.randn(1, 3, 7, 9, generator=torch.Generator().manual_seed(0))
    coarse = module(z)
    assert torch.equal(coarse.latent, z)
    assert (coarse.confidence == 0.5).all()
    restoration_loss(coarse, z + 1).backward()  # e² = 1 > 2η: trust is too high
    assert (module.conv_out.bias.grad[:3] < 0).all()
    assert module.conv_out.bias.grad[3] > 0


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 8), (20, 31), (14, 33)])
@pytest.mark.parametrize("overlap", [0, 1, 2, 5])
def test_cut_and_joined_a_map_is_itself(height: int, width: int, overlap: int) -> None:
    x = torch.randn(1, 2, height, width, generator=torch.Generator().manual_seed(1))
    grid = patch_grid(height, width, 8, overlap)
    pieces = cut(x, grid)
    assert pieces.shape == (len(grid), 2, 8, 8)
    torch.testing.assert_close(join(pieces, grid), x, rtol=0, atol=1e-6)
    constant = join(torch.full_like(pieces, 0.3), grid)
    torch.testing.assert_close(
        constant, torch.full_like(constant, 0.3), rtol=0, atol=1e-6
    )


def test_patches_that_differ_fade_into_each_other() -> None:
    grid = patch_grid(8, 12, 8, 4)
    row = join(torch.tensor([0.0, 1.0])[:, None, None, None].expand(2, 1, 8, 8), grid)
    assert (row[..., 1:, :] == row[..., :-1, :]).all()
    steps = row[0, 0, 0].diff()
    assert (steps >= 0).all()
    assert steps.max() < 0.9  # no jump from one to the other


def test_groups_are_painted_where_their_patches_are() -> None:
    grid = patch_grid(8, 16, 8, 0)
    picture = paint_groups(torch.tensor([0, 2]), grid, 3)
    assert picture.shape == (3, 24, 48)
    left, right = picture[..., :24], picture[..., 24:]
    assert (left == left[:, :1, :1]).all()
    assert (right == right[:, :1, :1]).all()
    assert left[1, 0, 0] > right[1, 0, 0]  # yellow and red
    assert isinstance(grid, TileGrid)
