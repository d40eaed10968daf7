"""Crops with texture from folders of pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from upframe.datasets.textures import texture_crops
from upframe.errors import InputError


def write(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(picture.astype(np.uint8)).save(path)


def test_the_most_textured_squares_come_first(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    picture = np.full((20, 27, 3), 90)  # two rows of three squares, the rest unused
    picture[:8, 8:16] += rng.integers(0, 20, (8, 8, 1))
    picture[8:16, 16:24] += rng.integers(0, 90, (8, 8, 1))
    write(tmp_path / "a" / "1.png", picture)
    (crops,) = texture_crops([tmp_path / "a"], 8, most=3)
    assert crops.shape == (3, 3, 8, 8)
    assert crops.dtype == np.float32
    wanted = picture[8:16, 16:24].transpose(2, 0, 1) / 255
    np.testing.assert_allclose(crops[0], wanted, atol=1e-6)
    np.testing.assert_allclose(
        crops[1], picture[:8, 8:16].transpose(2, 0, 1) / 255, atol=1e-6
    )
    assert (crops[2] == np.float32(90) / np.float32(255)).all()


def test_folders_in_order_and_small_pictures_passed_over(tmp_path: Path) -> None:
    for name, level in (("b", 10), ("a", 20)):
        write(tmp_path / name / "2.png", np.full((8, 8, 3), level))
        write(tmp_path / name / "1.png", np.full((7, 30, 3), 99))
    levels = [
        round(float(crops[0, 0, 0, 0]) * 255)
        for crops in texture_crops([tmp_path / "b", tmp_path / "a"], 8)
    ]
    assert levels == [10, 20]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder"):
        list(texture_crops([tmp_path / "none"], 8))
