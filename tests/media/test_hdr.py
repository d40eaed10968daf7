"""Static HDR metadata goes along with every encoder that has words for it."""

from __future__ import annotations

import pytest

from media_factory import describe
from upframe.engine.files import upscale

_MASTERING = (
    "log-level=error:master-display="
    "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    ":max-cll=1000,400"
)


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
def test_mastering_metadata(clip, tmp_path, codec):
    path = clip(
        "in.mkv",
        frames=2,
        size=(64, 64),
        codec="libx265",
        pix_fmt="yuv420p10le",
        matrix="bt2020",
        primaries="bt2020",
        transfer="pq",
        color_range="tv",
        options={"x265-params": _MASTERING},
    )
    upscale(path, tmp_path / "out.mkv", model="bicubic", scale=2, codec=codec)
    source, out = describe(path), describe(tmp_path / "out.mkv")
    assert (out.bits, out.frames[0].transfer) == (10, 16)
    wanted = {"MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"}
    assert wanted <= {name for name, _ in source.frames[0].side_data}
    assert wanted <= {name for name, _ in out.frames[0].side_data}
