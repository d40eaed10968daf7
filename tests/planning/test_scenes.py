import numpy as np
import pytest

from upframe.planning.scenes import ContentDetector


def scene(seed, frames, *, height=72, width=128, drift=1):
    """A picture of coloured blocks that moves sideways."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (height // 8, (width + frames * drift) // 8 + 1, 3))
    picture = blocks.repeat(8, 0).repeat(8, 1).astype(np.uint8)
    return [
        np.ascontiguousarray(picture[:, i * drift : i * drift + width])
        for i in range(frames)
    ]


def cuts(frames, **options):
    detector = ContentDetector(**options)
    return [i for i, frame in enumerate(frames) if detector.push(frame)]


def test_a_still_picture_has_no_cut():
    assert cuts(scene(0, 40, drift=0)) == []


def test_hard_cuts_are_found_where_they_are():
    video = scene(0, 20) + scene(1, 30) + scene(2, 16)
    assert cuts(video) == [20, 50]


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (3, 400), (1080, 1920)])
def test_any_picture_size_is_taken(size):
    dark = np.zeros((*size, 3), np.uint8)
    light = np.full((*size, 3), 255, np.uint8)
    assert cuts([dark] * 15 + [light] * 2) == [15]


def test_uint16_and_uint8_agree():
    video = scene(3, 18) + scene(4, 18)
    wide = [frame.astype(np.uint16) * 257 for frame in video]
    assert cuts(wide) == cuts(video) == [18]


def test_black_and_white_films_have_cuts():
    def grey(frames):
        return [frame[..., :1].repeat(3, 2) for frame in frames]

    assert cuts(grey(scene(5, 20)) + grey(scene(6, 20))) == [20]


def test_noise_on_grey_is_no_cut():
    rng = np.random.default_rng(0)
    video = [rng.integers(20, 30, (72, 128, 3)).astype(np.uint8) for _ in range(40)]
    assert cuts(video) == []


def test_a_fade_is_no_cut():
    picture = scene(7, 1)[0]
    video = [(picture * (1 - i / 30)).astype(np.uint8) for i in range(31)]
    assert cuts([picture] * 20 + video) == []


def test_scenes_have_a_minimal_length():
    video = scene(0, 20) + scene(1, 5) + scene(2, 20)
    assert cuts(video) == [20]
    assert cuts(video, min_length=5) == [20, 25]


def test_a_flash_is_one_cut_at_most_and_hides_no_real_one():
    still = scene(8, 30, drift=0)
    flash = [np.full_like(still[0], 255)]
    after = scene(9, 30, drift=0)
    assert cuts(still[:20] + flash + still[:5] + after) == [20, 26]


def test_a_fast_pan_is_not_cut_to_pieces():
    pan = scene(10, 60, drift=40)
    detector = ContentDetector()
    found = [i for i, frame in enumerate(pan) if detector.push(frame)]
    assert len(found) <= 1


def test_another_picture_size_is_a_cut_at_once():
    assert cuts(scene(0, 3) + scene(0, 3, height=64)) == [3]


def test_a_decision_does_not_depend_on_later_frames():
    video = scene(0, 20) + scene(1, 20)
    assert cuts(video[:21]) == cuts(video)[:1]
