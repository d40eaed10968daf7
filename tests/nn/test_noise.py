from __future__ import annotations

import torch

from upframe.nn.noise import frame_noise

EXPECTED = [2.1911273, -0.2825124, 0.3745923]


def test_noise_of_a_frame_is_the_same_in_any_chunk() -> None:
    whole = frame_noise(7, range(10), (4, 3, 5))
    assert torch.equal(whole[4:7], frame_noise(7, range(4, 7), (4, 3, 5)))
    assert torch.equal(whole[9], frame_noise(7, [9], (4, 3, 5))[0])


def test_seeds_and_frames_differ() -> None:
    # also where seed and index change places, or add up to the same
    keys = [(0, 0), (0, 1), (1, 0), (1, 1), (2**63, 5)]
    drawn = [frame_noise(seed, [index], (64,))[0] for seed, index in keys]
    for number, one in enumerate(drawn):
        for other in drawn[:number]:
            assert abs(torch.corrcoef(torch.stack([one, other]))[0, 1]) < 0.5


def test_noise_is_standard_normal() -> None:
    noise = frame_noise(0, range(8), (4, 50, 50))
    assert noise.dtype == torch.float32
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1) < 0.02


def test_noise_stays_what_it_is() -> None:
    # a change here changes every video that was ever made with the same seed
    noise = frame_noise(1234, [56], (3,))[0]
    torch.testing.assert_close(noise, torch.tensor(EXPECTED), rtol=0, atol=1e-6)
