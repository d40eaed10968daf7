from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_networks import build_network


@pytest.fixture(scope="session")
def network(tmp_path_factory) -> Path:
    return build_network(tmp_path_factory.mktemp("onnx") / "tiny.onnx")


@pytest.fixture
def frame():
    return np.random.default_rng(1).random((40, 56, 3), np.float32)
