"""Settings and fixtures that all tests share."""

from __future__ import annotations

import os

# before numpy loads: on pictures this small, more threads of BLAS only cost time
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from media_factory import write_clip

settings.register_profile(
    "upframe",
    derandomize=True,
    deadline=None,
    max_examples=25,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)
settings.load_profile("upframe")


@pytest.fixture
def clip(tmp_path: Path) -> Callable[..., Path]:
    """Write a clip into the test's own folder: ``clip("in.mp4", frames=9)``."""

    def make(name: str = "in.mp4", **what: object) -> Path:
        return write_clip(tmp_path / name, **what)  # type: ignore[arg-type]

    return make


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Measured speeds of models neither come from the user's cache nor go there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
