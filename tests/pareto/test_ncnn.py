"""Networks in ncnn's format; for those who have fetched the peers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ncnn")

from benchmarks.pareto.contenders import Contender

from upframe.errors import RuntimeFailure

NEAREST = """7767517
2 2
Input                    in   0 1 data
Interp                   up   1 1 data output 0=1 1=4.0 2=4.0
"""


def contender(folder: Path, text: str) -> Contender:
    param = folder / "x.param"
    param.write_text(text, encoding="ascii")
    param.with_suffix(".bin").write_bytes(b"")
    return Contender("x", "ncnn", str(param), "X")


@pytest.mark.parametrize("size", [(5, 7), (16, 16)])
def test_pictures_keep_their_order(tmp_path: Path, size: tuple[int, int]) -> None:
    runtime = contender(tmp_path, NEAREST).open(1)
    session = runtime.session()
    rng = np.random.default_rng(0)
    for _ in range(3):
        frame = rng.random((*size, 3), np.float32)
        (output,) = session.push(frame)
        large = frame.repeat(4, axis=0).repeat(4, axis=1)
        # ncnn may keep half precision between layers
        np.testing.assert_allclose(output, large, atol=1e-3)
    assert session.flush() == []


def test_a_file_that_is_no_network(tmp_path: Path) -> None:
    with pytest.raises(RuntimeFailure, match="cannot load"):
        contender(tmp_path, "nothing\n").open(1)
