"""Single images and folders of them: opened by content, whatever their name."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from e2e_support import assert_complains, upscale
from media_factory import describe, write_images

ASKEW = [(n, turned) for n in range(1, 9) for turned in (n > 4,)]


def still(path: Path, suffix: str = "png") -> Path:
    """One image with number 0 under any name."""
    codec, pix_fmt = {"png": ("png", "rgb24"), "jpg": ("mjpeg", "yuvj420p")}[suffix]
    write_images(
        path.parent, frames=1, name=lambda i: path.name, codec=codec, pix_fmt=pix_fmt
    )
    return path


def quadrants(width: int = 48, height: int = 32) -> np.ndarray:
    """Four grey levels, so that every turn and mirroring shows."""
    image = np.empty((height, width, 3), np.uint8)
    for row, column, level in ((0, 0, 20), (0, 1, 90), (1, 0, 160), (1, 1, 230)):
        image[
            row * height // 2 : (row + 1) * height // 2,
            column * width // 2 : (column + 1) * width // 2,
        ] = level
    return image


def corners(path: Path) -> tuple[tuple[int, int], list[int]]:
    """Size (width, height), and the level in each quadrant, row by row."""
    with av.open(str(path)) as container:
        image = next(container.decode(video=0)).to_ndarray(format="gray")
    height, width = image.shape
    return (width, height), [
        int(image[height * y // 4, width * x // 4]) for y in (1, 3) for x in (1, 3)
    ]


@pytest.mark.parametrize(
    "name", ["photo.jpg", "photo.jpeg", "PHOTO.JPG", "photo", "photo.png", "x.mp4"]
)
def test_one_jpeg_under_any_name(tmp_path, name):
    path = still(tmp_path / name, "jpg")
    upscale(path, tmp_path / "out.png")
    assert describe(tmp_path / "out.png").numbers == [0]


@pytest.mark.parametrize(
    "name",
    ["a%03d.png", "a[1].png", "a*.png", "a?.png", "100%.png", "a%d.jpg", "[b]*%5d.jpg"],
)
def test_names_that_look_like_patterns(tmp_path, name):
    path = still(tmp_path / name, name[-3:])
    still(tmp_path / "a001.png")  # what the pattern would match
    upscale(path, tmp_path / "out.png")
    assert describe(tmp_path / "out.png").size == (96, 64)


def test_a_folder_of_names_that_look_like_patterns(tmp_path):
    names = ["a%03d.png", "b[1].png", "c*.png"]
    write_images(tmp_path / "in", frames=3, name=names.__getitem__)
    upscale(tmp_path / "in", tmp_path / "out.mkv")
    assert describe(tmp_path / "out.mkv").numbers == [0, 1, 2]


def test_a_folder_of_different_kinds_keeps_each_image_right(tmp_path):
    write_images(tmp_path / "in", frames=1, name=lambda i: "0.png")
    write_images(
        tmp_path / "in",
        frames=2,
        name=lambda i: f"{i + 1}.jpg",
        codec="mjpeg",
        pix_fmt="yuvj444p",
    )
    upscale(tmp_path / "in", tmp_path / "out")
    patches = describe(tmp_path / "out").patches
    assert np.abs(patches - patches[0]).max() < 4


def test_the_default_name_of_an_image(cli, tmp_path):
    path = still(tmp_path / "photo.jpg", "jpg")
    assert cli(path, "--model", "bicubic", "--scale", "2").code == 0
    assert (tmp_path / "photo_96x64.png").is_file()


@pytest.mark.parametrize(("progressive", "mode"), [(False, "L"), (True, "RGB")])
def test_progressive_and_grey_jpeg(tmp_path, progressive, mode):
    image = pytest.importorskip("PIL.Image")
    picture = image.fromarray(quadrants()).convert(mode)
    picture.save(tmp_path / "in.jpg", progressive=progressive, quality=95)
    upscale(tmp_path / "in.jpg", tmp_path / "out.png")
    size, levels = corners(tmp_path / "out.png")
    assert size == (96, 64)
    assert np.allclose(levels, [20, 90, 160, 230], atol=3)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize(("orientation", "turned"), ASKEW)
def test_a_rotated_photograph_comes_out_upright(tmp_path, suffix, orientation, turned):
    image = pytest.importorskip("PIL.Image")
    ops = pytest.importorskip("PIL.ImageOps")
    tags = image.Exif()
    tags[0x0112] = orientation
    path = tmp_path / f"in.{suffix}"
    image.fromarray(quadrants()).save(path, exif=tags, quality=95)
    upscale(path, tmp_path / "out.png")
    size, levels = corners(tmp_path / "out.png")
    upright = np.asarray(ops.exif_transpose(image.open(path)).convert("L"))
    assert size == ((64, 96) if turned else (96, 64))
    height, width = upright.shape
    assert np.allclose(
        levels,
        [upright[height * y // 4, width * x // 4] for y in (1, 3) for x in (1, 3)],
        atol=3,
    )


def test_text_named_like_a_photograph_is_refused(cli, tmp_path):
    (tmp_path / "photo.jpg").write_text("Dear diary, this is no photograph.\n" * 9)
    ran = cli(tmp_path / "photo.jpg", "-o", tmp_path / "out.png", "--model", "bicubic")
    assert_complains(ran, "photo.jpg", "no media file")


def test_an_animated_png_stays_a_video(clip, tmp_path):
    path = clip("in.png", format="apng", codec="apng", pix_fmt="rgb24", frames=5)
    upscale(path, tmp_path / "out.mkv")
    assert describe(tmp_path / "out.mkv").numbers == list(range(5))
