import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from upframe.planning.tiles import Blender, Tile, blend, plan_tiles


@st.composite
def grids(draw, largest=90):
    multiple = draw(st.sampled_from([1, 1, 2, 4, 8]))
    overlap = draw(st.integers(0, 16))
    least = -(-(overlap + multiple) // multiple) * multiple
    side = st.integers(1, largest)
    tile = st.integers(least, least + 40)
    return plan_tiles(
        draw(side), draw(side), draw(tile), draw(tile), overlap, multiple
    ), multiple


@given(grids())
def test_tiles_cover_the_picture_and_stay_inside(case):
    grid, _ = case
    covered = np.zeros((grid.height, grid.width), bool)
    for tile in grid:
        assert tile.x >= 0
        assert tile.y >= 0
        assert tile.x + tile.width <= grid.width
        assert tile.y + tile.height <= grid.height
        covered[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width] = True
    assert covered.all()


@given(grids())
def test_tiles_are_equal_share_the_overlap_and_keep_the_multiple(case):
    grid, multiple = case
    for starts, side, size in (
        (grid.xs, grid.tile_width, grid.width),
        (grid.ys, grid.tile_height, grid.height),
    ):
        assert list(starts) == sorted(set(starts))
        if len(starts) == 1:
            assert side == size
            continue
        assert side % multiple == 0
        assert all(start % multiple == 0 for start in starts)
        steps = np.diff(starts)
        assert (side - steps >= grid.overlap).all()


@given(grids(), st.integers(1, 4))
def test_weights_sum_to_one(case, scale):
    grid, _ = case
    weights = grid.weights(scale)
    for profiles, starts, size in (
        (weights.rows, grid.ys, grid.height),
        (weights.columns, grid.xs, grid.width),
    ):
        total = np.zeros(size * scale)
        for profile, start in zip(profiles, starts, strict=True):
            assert (profile >= 0).all()
            total[start * scale : start * scale + len(profile)] += profile
        np.testing.assert_allclose(total, 1, atol=1e-6)


@settings(deadline=None)
@given(grids(), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_blending_enlarged_content_gives_it_back(case, scale, seed):
    grid, _ = case
    rng = np.random.default_rng(seed)
    picture = rng.random((grid.height, grid.width, 3), np.float32)

    def enlarge(frame):
        return frame.repeat(scale, 0).repeat(scale, 1)

    joined = blend(grid, scale, ((t, enlarge(t.crop(picture))) for t in grid))
    np.testing.assert_allclose(joined, enlarge(picture), rtol=0, atol=1e-6)


@settings(deadline=None)
@given(grids(), st.integers(1, 3))
def test_margins_of_inner_edges_do_not_count(case, scale):
    grid, _ = case
    assume(not grid.single)

    def spoiled(tile):
        pixels = np.full((tile.height * scale, tile.width * scale, 1), np.nan)
        margin = grid.margin * scale
        top = margin if tile.y > 0 else 0
        left = margin if tile.x > 0 else 0
        bottom = pixels.shape[0] - (margin if tile.y + tile.height < grid.height else 0)
        right = pixels.shape[1] - (margin if tile.x + tile.width < grid.width else 0)
        pixels[top:bottom, left:right] = 0.5
        return pixels.astype(np.float32)

    joined = blend(grid, scale, ((tile, spoiled(tile)) for tile in grid))
    np.testing.assert_allclose(joined, 0.5, atol=1e-6)


def test_tiles_shrink_to_what_their_number_needs():
    grid = plan_tiles(720, 100, 512, 512, overlap=16, multiple=8)
    assert (grid.tile_width, grid.tile_height) == (368, 100)
    assert grid.xs == (0, 352)


@given(grids())
def test_planning_again_with_the_tile_found_changes_nothing(case):
    grid, multiple = case
    again = plan_tiles(
        grid.width,
        grid.height,
        grid.tile_width,
        grid.tile_height,
        grid.overlap,
        multiple,
    )
    assert again == grid


def test_a_picture_that_fits_is_one_tile_and_not_copied():
    grid = plan_tiles(33, 21, 64, 64, overlap=16, multiple=8)
    pixels = np.zeros((42, 66, 3), np.float32)
    assert list(grid) == [Tile(0, 0, 33, 21)]
    assert blend(grid, 2, [(Tile(0, 0, 33, 21), pixels)]) is pixels


def test_a_tile_no_larger_than_the_overlap_is_refused():
    with pytest.raises(ValueError, match="too small"):
        plan_tiles(100, 100, 16, 16, overlap=16)


def test_sizes_without_pixels_are_refused():
    with pytest.raises(ValueError, match="positive"):
        plan_tiles(0, 100, 16, 16, overlap=4)


def test_missing_repeated_and_misshapen_tiles_are_refused():
    grid = plan_tiles(40, 20, 24, 24, overlap=4)
    first, second = grid
    pixels = np.zeros((20, 22, 3), np.float32)
    assert (first.height, first.width) == pixels.shape[:2]
    blender = Blender(grid, 1)
    blender.add(first, pixels)
    assert not blender.complete
    with pytest.raises(ValueError, match="missing"):
        blender.result()
    with pytest.raises(ValueError, match="added before"):
        blender.add(first, pixels)
    with pytest.raises(ValueError, match="shape"):
        blender.add(second, pixels[1:])
