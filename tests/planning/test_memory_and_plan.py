import json
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upframe.errors import UsageError
from upframe.planning.memory import choose_queue, choose_tile, parse_size
from upframe.planning.plan import Computer, Kept, Source, make_plan
from upframe.planning.sizes import resolve_size
from upframe.planning.tiles import plan_tiles
from upframe.weights.card import ModelCard

GIB = 2**30


def card(**changes):
    values = {
        "name": "net-s",
        "system": "net",
        "scale": 4,
        "summary": "a network",
        "licence": "Apache-2.0",
        "bytes_per_pixel": 2000,
        "gflops_per_megapixel": 300.0,
        **changes,
    }
    return ModelCard(**values)


cards = st.builds(
    card,
    multiple=st.sampled_from([1, 4, 8]),
    overlap=st.integers(0, 40),
    min_size=st.sampled_from([1, 16]),
    scale=st.integers(1, 4),
)
sides = st.integers(1, 3000)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GiB", 2 * GIB),
        ("800MB", 800 * 10**6),
        ("1.5g", 1_500_000_000),
        ("512 kib", 512 * 1024),
        ("1000", 1000),
        ("7b", 7),
        (12, 12),
    ],
)
def test_memory_sizes_are_read(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1", "1XB", "2ib", "0", "GiB", 0, -5])
def test_texts_that_are_no_memory_size_are_refused(text):
    with pytest.raises(UsageError) as caught:
        parse_size(text)
    assert caught.value.advice


@given(sides, sides, cards)
def test_with_room_the_picture_is_not_cut(width, height, model):
    choice = choose_tile(width, height, model, 10**15)
    assert (choice.width, choice.height, choice.warning) == (width, height, "")


@settings(deadline=None)
@given(sides, sides, cards, st.integers(0, GIB))
def test_a_tile_fits_the_budget_or_warns_and_can_be_planned(
    width, height, model, budget
):
    choice = choose_tile(width, height, model, budget)
    assert (choice.bytes <= budget) == (choice.warning == "")
    assert choice.width >= min(width, 64)
    assert choice.height >= min(height, 64)
    grid = plan_tiles(
        width, height, choice.width, choice.height, model.overlap, model.multiple
    )
    assert (grid.tile_width, grid.tile_height) == (choice.width, choice.height)


@given(st.integers(1, 10**9), st.integers(1, 10**9), st.integers(-GIB, 10**12))
def test_queues_are_bounded(size_in, size_out, budget):
    length = choose_queue(size_in, size_out, budget)
    assert 1 <= length <= 16
    assert length == 1 or length * (size_in + size_out) <= budget


@settings(deadline=None)
@given(sides, sides, cards, st.integers(GIB // 4, 16 * GIB))
def test_a_plan_keeps_the_budget_or_says_so(width, height, model, budget):
    target = resolve_size(width, height, Fraction(1), model.scale)
    plan = make_plan(Source(width, height, 100), model, target, budget_bytes=budget)
    assert plan.memory_bytes <= budget or plan.warnings


def test_less_memory_means_more_tiles_and_never_less_work():
    source = Source(1280, 720, 100)
    target = resolve_size(1280, 720, Fraction(1), 4)
    plans = [
        make_plan(source, card(), target, budget_bytes=budget)
        for budget in (8 * GIB, 5 * GIB // 2, 2 * GIB)
    ]
    assert plans[0].tiles.single
    assert len(plans[0].tiles) < len(plans[1].tiles) <= len(plans[2].tiles)
    assert plans[0].tiles.area <= plans[1].tiles.area <= plans[2].tiles.area
    assert plans[0].seconds_per_frame <= plans[2].seconds_per_frame


def test_a_measured_speed_and_cores_shorten_the_time():
    source = Source(180, 144, 100)
    target = resolve_size(180, 144, Fraction(1), 4)
    rough = make_plan(source, card(), target, budget_bytes=GIB)
    slow = make_plan(
        source,
        card(),
        target,
        budget_bytes=GIB,
        computer=Computer(seconds_per_megapixel=30.0),
    )
    fast = make_plan(
        source,
        card(),
        target,
        budget_bytes=GIB,
        computer=Computer(cores=4, threads=4, seconds_per_megapixel=1.0),
    )
    assert fast.seconds < slow.seconds / 4
    assert (rough.cost.measured, slow.cost.measured) == (False, True)
    assert "rough" in rough.describe()
    assert "measured here" in fast.describe()
    assert slow.cost.network == pytest.approx(30 * 180 * 144 / 1e6)


def test_the_plan_says_where_and_how_the_network_runs():
    source = Source(180, 144, 100)
    target = resolve_size(180, 144, Fraction(1), 4)
    computer = Computer("torch", "cuda:0", "fp16", cores=8, threads=3)
    plan = make_plan(source, card(), target, budget_bytes=GIB, computer=computer)
    assert (plan.runtime, plan.device, plan.precision) == ("torch", "cuda:0", "fp16")
    assert "torch on cuda:0, 3 threads" in plan.describe()


@given(st.integers(1, 3000), st.integers(1, 300))
def test_chunk_lengths_that_are_named_are_kept_to_whole_segments(frames, segment):
    source = Source(180, 144, 100)
    target = resolve_size(180, 144, Fraction(1), 4)
    model = card(segment=segment)
    plan = make_plan(source, model, target, budget_bytes=GIB, chunk_frames=frames)
    assert frames <= plan.chunk_length < frames + segment
    assert plan.chunk_length % segment == 0


def test_a_measurement_changes_the_time_and_nothing_else():
    """Chunks decide pixels at their borders: the same command, the same chunks."""
    source = Source(640, 360, 5000)
    target = resolve_size(640, 360, Fraction(1), 4)
    plans = [
        make_plan(
            source,
            card(context=8, lookahead=1),
            target,
            budget_bytes=4 * GIB,
            computer=Computer(cores=2, threads=2, seconds_per_megapixel=speed),
        )
        for speed in (None, 0.01, 100.0)
    ]
    assert len({plan.chunk_length for plan in plans}) == 1
    assert len({plan.tiles for plan in plans}) == 1
    assert len({plan.seconds for plan in plans}) == 3


def test_a_resumed_run_keeps_chunks_and_tiles_whatever_memory_is_free_now():
    source = Source(1280, 720, 5000)
    target = resolve_size(1280, 720, Fraction(1), 4)
    first = make_plan(source, card(), target, budget_bytes=2 * GIB, chunk_frames=37)
    assert not first.tiles.single
    kept = Kept(37, first.tiles.tile_width, first.tiles.tile_height)
    again = make_plan(source, card(), target, budget_bytes=16 * GIB, kept=kept)
    assert again.chunk_length == 37
    assert again.tiles == first.tiles


def test_a_plan_is_json_and_text():
    source = Source(720, 576, None, deep=True, sar=Fraction(16, 15))
    target = resolve_size(720, 576, source.sar, 4, height_only=1080)
    plan = make_plan(source, card(context=8), target, budget_bytes=GIB // 2)
    values = json.loads(json.dumps(plan.to_dict()))
    assert values["sar"] == "16:15"
    assert values["source"]["frames"] is None
    assert values["seconds"] is None
    assert values["tiles"]["columns"] * values["tiles"]["rows"] == len(plan.tiles)
    assert values["resized"] is True
    text = plan.describe()
    for part in ("720x576", "1350x1080", "net-s", "16-bit", "8 frames of context"):
        assert part in text


def test_describe_names_the_length_where_it_is_known():
    source = Source(180, 144, 50_000)
    target = resolve_size(180, 144, Fraction(1), 4)
    text = make_plan(source, card(), target, budget_bytes=GIB).describe()
    assert "50000 frames" in text
    assert "whole frame" in text
    assert " h " in text
    assert "warning" not in text


def test_a_size_beyond_the_model_is_pointed_out():
    target = resolve_size(180, 144, Fraction(1), 4, scale=6.0)
    plan = make_plan(Source(180, 144, 1), card(), target, budget_bytes=GIB)
    assert plan.resized
    assert any("interpolated" in warning for warning in plan.warnings)


def test_a_model_that_cannot_cut_is_whole_or_refused():
    whole = card(tiling="none")
    choice = choose_tile(640, 480, whole, 2 * GIB)
    assert (choice.width, choice.height) == (640, 480)
    with pytest.raises(UsageError, match=r"net-s needs about 6\d\d MiB .* cannot cut"):
        choose_tile(640, 480, whole, GIB // 2)
    assert choose_tile(640, 480, card(), GIB // 2).width < 640


def test_a_plan_counts_the_libraries_of_a_model():
    source, target = Source(180, 144, 9), resolve_size(180, 144, Fraction(1), 4)
    plans = [
        make_plan(source, card(base_bytes=size), target, budget_bytes=GIB)
        for size in (0, 10**8)
    ]
    assert plans[1].memory_bytes - plans[0].memory_bytes == 10**8
