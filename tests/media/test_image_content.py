"""Recognising and turning still images."""

from __future__ import annotations

import numpy as np
import pytest

from upframe.media.stills import image_demuxer, is_still, swaps_sides, upright

ONE = 65536


@pytest.mark.parametrize(
    ("head", "demuxer"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "png_pipe"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR....acTL....IDAT", "apng"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR....IDAT..acTL", "png_pipe"),
        (b"\xff\xd8\xff\xe0", "jpeg_pipe"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "webp_pipe"),
        (b"RIFF\0\0\0\0AVI LIST", None),
        (b"II*\0\x08\0\0\0", "tiff_pipe"),
        (b"MM\0*\0\0\0\x08", "tiff_pipe"),
        (b"BM" + bytes(8) + b"6\0\0\0(\0\0\0", "bmp_pipe"),
        (b"BMW is a maker of cars, not of images", None),
        (b"P6\n4 4\n255\n", "ppm_pipe"),
        (b"P5 4 4", "pgm_pipe"),
        (b"GIF89a", "gif"),
        (b"\0\0\0\x20ftypisom", None),
        (b"", None),
    ],
)
def test_demuxer_by_content(tmp_path, head, demuxer):
    path = tmp_path / "a%03d.mp4"
    path.write_bytes(head)
    assert image_demuxer(path) == demuxer
    assert is_still(path) == (demuxer is not None and demuxer.endswith("_pipe"))


def test_motion_jpeg_is_no_still(tmp_path):
    path = tmp_path / "a.mjpeg"
    path.write_bytes(b"\xff\xd8\xff\xe0")
    assert not is_still(path)


def test_missing_files_and_folders_are_no_stills(tmp_path):
    assert not is_still(tmp_path)
    assert not is_still(tmp_path / "missing.png")


@pytest.mark.parametrize(
    ("a", "b", "c", "d"),
    [
        (sx * ONE, 0, 0, sy * ONE) if straight else (0, sx * ONE, sy * ONE, 0)
        for straight in (True, False)
        for sx in (1, -1)
        for sy in (1, -1)
    ],
)
def test_upright_puts_every_pixel_where_the_matrix_says(a, b, c, d):
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    matrix = (a, b, 0, c, d, 0, 0, 0, 1 << 30)
    turned = upright(pixels, matrix)
    # Centred coordinates, doubled so that they are whole numbers.
    for y in range(2):
        for x in range(3):
            u, v = 2 * x - 2, 2 * y - 1
            p, q = (a * u + c * v) // ONE, (b * u + d * v) // ONE
            height, width = turned.shape[:2]
            place = turned[(q + height - 1) // 2, (p + width - 1) // 2]
            assert (place == pixels[y, x]).all()
    assert swaps_sides(matrix) == (a == 0)
    assert turned.flags.c_contiguous
