"""Sessions of the diffusion systems: their own forward, frame by frame, in pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

import nano_parts as parts  # noqa: E402
import upframe  # noqa: E402
from upframe.errors import RuntimeFailure, UsageError  # noqa: E402
from upframe.planning.tiles import plan_tiles  # noqa: E402
from upframe.runtimes.base import FloatFrame, Session, State  # noqa: E402
from upframe.runtimes.registry import open_runtime  # noqa: E402
from upframe.runtimes.tiling import sessions  # noqa: E402
from upframe.runtimes.torch_diffusion import DiffusionRuntime  # noqa: E402
from upframe.weights.loading import describe_file  # noqa: E402

SYSTEMS = tuple(parts.CONFIGS)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nano")
    return {name: parts.save(folder, name) for name in SYSTEMS}


@pytest.fixture(scope="module")
def cards(shelf):
    return {name: describe_file(path) for name, path in shelf.items()}


@pytest.fixture
def opened(shelf, cards):
    def make(name: str, **options) -> DiffusionRuntime:
        files = {"safetensors": shelf[name]}
        runtime = open_runtime(cards[name], files, device="cpu", threads=1, **options)
        assert isinstance(runtime, DiffusionRuntime)
        return runtime

    return make


def pictures(frames: int, height: int = 16, width: int = 20) -> list[FloatFrame]:
    clip = parts.clip(frames, height, width)[0].permute(0, 2, 3, 1)
    return list(clip.contiguous().numpy())


def run(
    session: Session, frames: list[FloatFrame], first: int = 0, state=None
) -> tuple[np.ndarray, State]:
    session.begin(first, state or {})
    done = [picture for frame in frames for picture in session.push(frame)]
    done += session.flush()
    return np.stack(done), session.state()


def whole(path: Path, frames: list[FloatFrame], **options) -> np.ndarray:
    clip = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)[None]
    with torch.no_grad():
        made = upframe.load(path)(clip, **options)[0].clamp(0, 1)
    return made.permute(0, 2, 3, 1).numpy()


def close(one: np.ndarray, other: np.ndarray) -> None:
    np.testing.assert_allclose(one, other, atol=2e-5)


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("size", [(3, 16, 20), (1, 9, 13), (2, 1, 1)])
def test_a_session_gives_what_the_system_gives(name, size, shelf, opened):
    frames = pictures(*size)
    made, _ = run(opened(name).session(), frames)
    assert made.shape == (size[0], 4 * size[1], 4 * size[2], 3)
    close(made, whole(shelf[name], frames))


@pytest.mark.parametrize("name", ["ultravsr", "liftvsr", "patchscaler"])
def test_a_long_clip_equals_the_whole_one(name, shelf, opened):
    frames = pictures(13)
    close(run(opened(name).session(), frames)[0], whole(shelf[name], frames))


def test_chunks_of_oasis_overlap_and_wait_for_no_more_than_two_of_them(opened):
    frames = pictures(23)
    session = opened("oasis").session()
    session.begin(0, {})
    lags, done = [], 0
    for number, frame in enumerate(frames):
        done += len(session.push(frame))
        lags.append(number + 1 - done)
    assert max(lags) <= 2 * 5 + 1
    assert done + len(session.flush()) == 23
    made, _ = run(opened("oasis").session(), frames)
    alone = np.concatenate(
        [run(opened("oasis").session(), [f], n)[0] for n, f in enumerate(frames)]
    )
    assert not np.allclose(made, alone, atol=1e-3)  # frames see each other
    # the frames of a chunk that no other one touches are those of the chunk alone
    chunk, _ = run(opened("oasis").session(), frames[:5])
    close(made[:3], chunk[:3])


@pytest.mark.parametrize("name", SYSTEMS)
def test_pieces_agree_with_the_whole(name, opened, cards):
    """A piece with its context and what the one before left is as good as the whole."""
    card, frames, length = cards[name], pictures(24), 8
    context = card.context
    reference, _ = run(opened(name).session(), frames, first=100)
    made, state = [], {}
    for start in range(0, 24, length):
        first, stop = max(0, start - context), min(24, start + length + context)
        out, state = run(opened(name).session(), frames[first:stop], 100 + first, state)
        made.append(out[start - first :][:length])
    if name == "oasis":  # approximate: its chunks begin elsewhere
        assert np.abs(np.concatenate(made) - reference).mean() < 0.02
    else:
        close(np.concatenate(made), reference)


@pytest.mark.parametrize("name", SYSTEMS)
def test_what_is_left_is_plain_and_leads_on_to_the_bit(name, opened, tmp_path):
    frames = pictures(12)
    _, state = run(opened(name).session(), frames[:8])
    np.savez(tmp_path / "state.npz", **state)
    with np.load(tmp_path / "state.npz", allow_pickle=False) as file:
        stored = dict(file)
    one, _ = run(opened(name).session(), frames[8:], 8, state)
    other, _ = run(opened(name).session(), frames[8:], 8, stored)
    assert np.array_equal(one, other)
    fresh, _ = run(opened(name).session(), frames[8:], 8)
    remembers = name in ("ultravsr", "liftvsr")
    assert np.array_equal(one, fresh) != remembers


def test_groups_of_patches_are_held(opened):
    frames = pictures(2, 40, 40)
    runtime = opened("patchscaler")
    groups = run(runtime.session(), frames[:1])[1]["groups"]
    for forced in (0, 2):
        start = {"groups": np.full_like(groups, forced)}
        _, state = run(runtime.session(), frames[1:], 1, start)
        fresh = run(runtime.session(), frames[1:], 1)[1]["groups"]
        sign = 1 if forced else -1
        assert (sign * (state["groups"] - fresh) >= 0).all()


@pytest.mark.parametrize("name", ["ultravsr", "oasis", "liftvsr"])
def test_noise_depends_on_the_seed_and_the_number_of_the_frame(name, opened):
    frames = pictures(3)
    base, _ = run(opened(name, seed=0).session(), frames)
    assert np.array_equal(base, run(opened(name).session(), frames)[0])
    assert not np.allclose(base, run(opened(name, seed=1).session(), frames)[0])
    assert not np.allclose(base, run(opened(name).session(), frames, first=7)[0])


def test_the_seed_of_patchscaler_counts_too(opened):
    frames = pictures(1)
    one, other = (
        run(opened("patchscaler", seed=n).session(), frames)[0] for n in (0, 5)
    )
    assert not np.allclose(one, other)


def test_seeds_are_checked(opened, cards, shelf):
    for seed in (-1, 2**64):
        with pytest.raises(UsageError, match="seed"):
            opened("oasis", seed=seed)
    ditn = upframe.weights.index.find_card("ditn-s")
    with pytest.raises(UsageError, match="uses no noise"):
        open_runtime(ditn, {}, seed=3)


def test_a_keep_ratio_moves_the_groups(opened):
    frames = pictures(2, 40, 40)
    most, _ = run(opened("patchscaler", keep_ratio=1.0).session(), frames)
    _, state = run(opened("patchscaler", keep_ratio=1.0).session(), frames)
    assert (state["groups"] == 2).all()
    least, state = run(opened("patchscaler", keep_ratio=0.0).session(), frames)
    assert (state["groups"] == 0).all()
    assert not np.allclose(most, least)
    with pytest.raises(UsageError, match="keep ratio"):
        opened("ultravsr", keep_ratio=0.5)


def test_ultravsr_cuts_its_latents_into_tiles(opened, cards):
    frames = pictures(4, 40, 90)
    card, runtime = cards["ultravsr"], opened("ultravsr")
    grid = plan_tiles(90, 40, 64, 40, card.overlap, card.multiple)
    assert not grid.single
    session = sessions(runtime, grid)()
    tiled, _ = run(session, frames)
    reference, _ = run(runtime.session(), frames)
    assert tiled.shape == reference.shape
    assert np.abs(tiled - reference).max() > 0
    assert np.abs(tiled - reference).mean() < 0.01  # normalisation sees a tile alone


@pytest.mark.parametrize("name", SYSTEMS)
def test_values_that_are_no_numbers_are_an_error(name, opened):
    runtime = opened(name)
    with torch.no_grad():
        for value in runtime.network.vae.decoder.parameters():
            value.fill_(float("nan"))
    with pytest.raises(RuntimeFailure, match=r"number|float32"):
        run(runtime.session(), pictures(1))


@pytest.mark.parametrize("name", SYSTEMS)
def test_an_empty_session_gives_nothing(name, opened):
    session = opened(name).session()
    session.begin(0, {})
    assert session.flush() == []
    assert session.state() == {}
