"""How fast a model runs on this machine: measured once, in about a second, and kept.

A few small frames go through the opened model; the time of a larger frame follows by
its pixels. Results are kept in the user's cache folder by all that decides them:
CPU, cores, model, runtime, device, precision, threads and keep ratio. A cache
that is damaged or cannot be written is ignored.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from upframe.nn.resize import imresize
from upframe.planning.estimate import GFLOPS_PER_CORE, network_seconds
from upframe.runtimes.base import FloatFrame, Runtime
from upframe.runtimes.devices import usable_cores
from upframe.weights.card import ModelCard

_SIZES = ((160, 128), (128, 96), (96, 64), (64, 64))
"""Frames (width, height) to measure with: the first that is quick enough."""
_FRAMES = 4
"""In a session."""
_SESSIONS = 3
"""That count; one more prepares the model."""
_MOST_SECONDS = 2.0
"""Nominal time of all sessions; models that take longer are not measured."""
_MOST_AGE = 24 * 3600
"""Seconds after which a measurement is repeated: the machine may have been busy."""
_PAN = 1.5
"""Pixels that the image moves from frame to frame."""


def machine_key() -> dict[str, Any]:
    """What distinguishes this machine's speed from another's."""
    return {"cpu": _cpu_model(), "cores": usable_cores()}


def known_speed(key: Mapping[str, Any]) -> float | None:
    """Seconds per million input pixels that were measured today; None if not."""
    try:
        content = json.loads(_path(key).read_text(encoding="utf-8"))
        seconds = float(content["seconds_per_megapixel"])
        age = time.time() - float(content["measured_at"])
        fits = content["key"] == json.loads(json.dumps(key))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    recent = abs(age) < _MOST_AGE
    return seconds if fits and recent and 0 < seconds < math.inf else None


def measure_speed(
    card: ModelCard, threads: int, open_model: Callable[[], Runtime]
) -> float | None:
    """Time a model.

    Args:
        card: of the model.
        threads: CPU threads of the network.
        open_model: loads the model; called if it can be measured quickly enough.

    Returns:
        Seconds of one pass per million input pixels; None where even the smallest
        frames would take too long.

    Raises:
        UpframeError: the model cannot be loaded or fails.
    """
    size = _affordable(card, threads)
    if size is None:
        return None
    runtime = open_model()
    clip = list(moving_texture(*size, _FRAMES))
    times = [_time_session(runtime, clip) for _ in range(1 + _SESSIONS)][1:]
    return statistics.median(times) / _FRAMES / (math.prod(size) / 1e6)


def remember_speed(key: Mapping[str, Any], seconds: float) -> None:
    """Keep a measurement; nothing happens where the cache cannot be written."""
    path = _path(key)
    content = {
        "key": dict(key),
        "seconds_per_megapixel": seconds,
        "measured_at": time.time(),
    }
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(content, file)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def moving_texture(width: int, height: int, frames: int) -> Iterator[FloatFrame]:
    """A clip (h, w, 3) in [0, 1], the same every time: a soft texture that pans.

    The camera moves by a pixel and a half a frame, so that models that skip static
    blocks find none to skip.
    """
    rng = np.random.default_rng(0)
    wide = width + int(_PAN * frames) + 2
    coarse = rng.random((height // 4 + 2, wide // 4 + 2, 3), np.float32)
    texture = np.clip(imresize(coarse, 4), 0, 1)[:height]
    for number in range(frames):
        left, part = divmod(number * _PAN, 1)
        window = texture[:, int(left) : int(left) + width + 1]
        frame = (1 - part) * window[:, :-1] + part * window[:, 1:]
        yield np.ascontiguousarray(frame, dtype=np.float32)


def _affordable(card: ModelCard, threads: int) -> tuple[int, int] | None:
    passes = _FRAMES * (1 + _SESSIONS)
    for size in _SIZES:
        fits = all(side % card.multiple == 0 for side in size)
        seconds = network_seconds(
            math.prod(size), card.gflops_per_megapixel, GFLOPS_PER_CORE * threads
        )
        if fits and min(size) >= card.min_size and passes * seconds <= _MOST_SECONDS:
            return size
    return None


def _time_session(runtime: Runtime, clip: list[FloatFrame]) -> float:
    session = runtime.session()
    began = time.perf_counter()
    for frame in clip:
        session.push(frame)
    session.flush()
    return time.perf_counter() - began


def _path(key: Mapping[str, Any]) -> Path:
    text = json.dumps(key, sort_keys=True)
    name = hashlib.sha256(text.encode()).hexdigest()[:24]
    return platformdirs.user_cache_path("upframe") / "speed" / f"{name}.json"


def _cpu_model() -> str:
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open() as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
