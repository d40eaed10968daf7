"""Time in turns, sessions of any kind, memory of another process, and the command."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from upframe.cli.main import main
from upframe.errors import RuntimeFailure, UsageError
from upframe.evaluation.bench import (
    bench,
    moving_texture,
    peak_of_process,
    run_session,
    time_in_turns,
)
from upframe.runtimes.base import FloatFrame
from upframe.weights.card import ModelCard

KEYS = {
    "model", "runtime", "device", "threads", "input", "params_m", "gflops_per_frame",
    "ms_per_frame", "peak_rss_mb", "precision",
}  # fmt: skip
SMALL = {"size": (32, 24), "frames": 2, "threads": 1}


class Late:
    """A runtime that answers two frames late, as temporal models do."""

    name, device = "late", "cpu"
    card = ModelCard(name="late", system="test", scale=1, summary="", licence="")

    def __init__(self, lost: int = 0) -> None:
        self.lost = lost
        self.sessions = 0

    def session(self) -> Late:
        self.sessions += 1
        self.held: list[FloatFrame] = []
        return self

    def push(self, frame: FloatFrame) -> list[FloatFrame]:
        self.held.append(frame)
        return [self.held.pop(0)] if len(self.held) > 2 else []

    def flush(self) -> list[FloatFrame]:
        return self.held[self.lost :]


def test_runs_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []

    def slow_at_first() -> None:
        order.append("a")
        time.sleep(0.2 if len(order) == 1 else 0.001)

    def steady() -> None:
        order.append("b")
        time.sleep(0.02)

    rounds: list[int] = []
    a, b = time_in_turns([slow_at_first, steady], 3, rounds.append)
    assert order == ["a", "b"] * 4
    assert rounds == [0, 1, 2, 3]
    assert 0.001 <= a < 0.1
    assert 0.02 <= b < 0.2


def test_a_slow_round_does_not_count() -> None:
    naps = iter([0, 0, 0.2, 0])
    (seconds,) = time_in_turns([lambda: time.sleep(next(naps))], 3)
    assert seconds < 0.1


def test_a_session_ends_with_what_is_owed() -> None:
    runtime = Late()
    assert run_session(runtime, moving_texture(16, 16, 5)) == 5
    assert runtime.sessions == 1


def test_a_lost_frame_is_an_error() -> None:
    with pytest.raises(RuntimeFailure, match="late made 4 of 5 frames"):
        run_session(Late(lost=1), moving_texture(16, 16, 5))


def test_the_texture_moves_and_is_always_the_same() -> None:
    clip = list(moving_texture(33, 18, 5))
    again = list(moving_texture(33, 18, 5))
    assert [frame.shape for frame in clip] == [(18, 33, 3)] * 5
    assert all(np.array_equal(a, b) for a, b in zip(clip, again, strict=True))
    assert all(frame.min() >= 0 and frame.max() <= 1 for frame in clip)
    # a pixel and a half a frame: three pixels in two frames
    assert np.array_equal(clip[0][:, 3:], clip[2][:, :-3])
    assert np.abs(clip[1] - clip[0]).mean() > 0.01


def test_peak_of_another_process() -> None:
    code = (
        "from upframe.runtimes.devices import peak_memory;"
        "held = b'x' * {}; print(peak_memory())"
    )
    little = peak_of_process([sys.executable, "-c", code.format(1)])
    much = peak_of_process([sys.executable, "-c", code.format(64_000_000)])
    assert 55 < much - little < 80


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(RuntimeFailure, match="no memory left"):
        peak_of_process([sys.executable, "-c", "raise SystemExit('no memory left')"])


def test_costs_of_models() -> None:
    lines: list[str] = []
    bicubic, network = bench(
        ["bicubic", "ditn-s"], **SMALL, rounds=1, progress=lines.append
    )
    assert (bicubic.model, bicubic.runtime) == ("bicubic", "resampling")
    assert bicubic.gflops_per_frame is None
    assert bicubic.params_m == 0
    assert (network.model, network.device, network.threads) == ("ditn-s", "cpu", 1)
    assert network.input == (24, 32)
    assert network.params_m == pytest.approx(0.0995)
    assert network.gflops_per_frame == pytest.approx(204.6 * 24 * 32 / 1e6, abs=1e-3)
    assert network.ms_per_frame > bicubic.ms_per_frame > 0
    # ONNX Runtime and its network come on top
    assert 2000 > network.peak_rss_mb > bicubic.peak_rss_mb + 10 > 20
    assert lines == ["memory of bicubic", "memory of ditn-s", "warm-up", "round 1 of 1"]


def test_what_cannot_be_measured() -> None:
    with pytest.raises(UsageError, match="rounds"):
        bench(["bicubic"], **SMALL, rounds=0)
    with pytest.raises(UsageError, match="frames"):
        bench(["bicubic"], frames=0)
    with pytest.raises(UsageError, match="no model"):
        bench(["nothing"], **SMALL)


def test_masked_models_at_each_keep_ratio(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from lite_networks import lite

    file = tmp_path / "masked.pth"
    torch.save(lite().state_dict(), file)
    costs = bench([str(file), "bicubic"], **SMALL, keep_ratio=[1.0, 0.1], rounds=1)
    assert [cost.keep_ratio for cost in costs] == [1.0, 0.1, None]
    assert [cost.to_dict().get("keep_ratio") for cost in costs] == [1.0, 0.1, None]
    assert set(costs[2].to_dict()) == KEYS
    assert {cost.runtime for cost in costs[:2]} == {"torch"}


def test_keep_ratios_need_a_masked_model() -> None:
    with pytest.raises(UsageError, match="keep ratio"):
        bench(["bicubic"], **SMALL, keep_ratio=[0.5])


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["upframe", "bench", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    assert isinstance(stop.value.code, int)
    return stop.value.code


QUICK = ("--size", "32x24", "--frames", "1", "--rounds", "1", "--threads", "1")


def test_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models = ("--model", "lanczos", "--model", "bicubic", "--json")
    assert _run(monkeypatch, *models, *QUICK) == 0
    said = capsys.readouterr()
    assert said.err == ""
    found = json.loads(said.out)
    assert [set(each) for each in found] == [KEYS, KEYS]
    assert [each["model"] for each in found] == ["lanczos", "bicubic"]
    assert found[0]["input"] == [24, 32]


def test_table_for_people(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(monkeypatch, "--model", "bicubic", *QUICK) == 0
    said = capsys.readouterr()
    assert "32x24, 1 threads" in said.out
    assert "resampling, cpu" in said.out
    assert "round 1 of 1" in said.err


def test_usage_errors_exit_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(monkeypatch, "--size", "large") == 2
    assert "frame size" in capsys.readouterr().err
    assert _run(monkeypatch, "--model", "none") == 2


def test_the_command_needs_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; sys.argv = ['upframe', 'bench', "
        "'--model', 'ditn-s', '--size', '32x24', '--frames', '1', '--rounds', '1', "
        "'--json']; from upframe.cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["runtime"] == "onnx"
