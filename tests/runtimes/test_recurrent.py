"""Sessions of MIA-VSR lite: torch and ONNX Runtime, whole and masked, any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from lite_networks import clip, lite  # noqa: E402
from upframe.errors import RuntimeFailure, UsageError, WeightsError  # noqa: E402
from upframe.export.onnx import export_recurrent  # noqa: E402
from upframe.export.recurrent import masked_path  # noqa: E402
from upframe.planning.tiles import plan_tiles  # noqa: E402
from upframe.runtimes.registry import open_runtime  # noqa: E402
from upframe.runtimes.tiling import TiledSession  # noqa: E402
from upframe.systems.mia_vsr_lite.blocks import SETTLE  # noqa: E402
from upframe.weights.loading import describe_file  # noqa: E402

_PLAIN = '{"system": {"args": {"use_mask": false}}}'


def _files(folder: Path, masks: bool):
    network = lite(use_mask=masks)
    path = folder / "w.ckpt"
    recipe = {} if masks else {"recipe": _PLAIN}
    torch.save({**recipe, "params": network.state_dict()}, path)
    export_recurrent(network, folder / "w.onnx")
    files = {"onnx": folder / "w.onnx", "onnx-masked": folder / "w.masked.onnx"}
    assert masked_path(files["onnx"]) == files["onnx-masked"]
    return network, describe_file(path), {**files, "ckpt": path}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return _files(tmp_path_factory.mktemp("plain"), masks=False)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    return _files(tmp_path_factory.mktemp("learned"), masks=True)


def _frames(count=6, height=24, width=40):
    return clip(count, 3, height, width).permute(0, 2, 3, 1).contiguous().numpy()


def _run(session, frames):
    outputs = [out for frame in frames for out in session.push(frame)]
    return np.stack([*outputs, *session.flush()])


def _open(files, runtime, keep=None):
    _, card, paths = files
    return open_runtime(card, paths, runtime=runtime, threads=1, keep_ratio=keep)


@pytest.mark.parametrize("runtime", ["torch", "onnx"])
def test_everything_computed_is_the_network(plain, runtime):
    frames = _frames()
    made = _run(_open(plain, runtime, keep=1.0).session(), frames)
    with torch.inference_mode():
        whole = plain[0](torch.from_numpy(frames).permute(0, 3, 1, 2)[None])[0]
    wanted = whole.clamp(0, 1).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(made, wanted, atol=1e-4)


@pytest.mark.parametrize("keep", [None, 0.4, 0.0])
@pytest.mark.parametrize("masks", [False, True])
def test_runtimes_agree(plain, learned, keep, masks):
    files = learned if masks else plain
    frames = _frames(7, 21, 30)
    sessions = [_open(files, name, keep).session() for name in ("torch", "onnx")]
    one, other = (_run(session, frames) for session in sessions)
    assert one.shape == (7, 84, 120, 3)
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_outputs_come_one_push_late(plain):
    session = _open(plain, "onnx").session()
    counts = [len(session.push(frame)) for frame in _frames(3)]
    assert counts == [0, 1, 1]
    assert len(session.flush()) == 1
    assert session.flush() == []


def test_masks_are_told(plain):
    frames = _frames(6)
    session = _open(plain, "onnx", keep=0.2).session()
    marks = [session.computed for frame in frames if session.push(frame)]
    assert [m.shape for (m,) in marks] == [(3, 3, 5)] * 5
    assert [m[0].sum() for (m,) in marks] == [15, 4, 4, 4, 4]


@pytest.mark.parametrize("runtime", ["torch", "onnx"])
def test_a_scene_at_rest_costs_nothing_and_wakes(plain, runtime, monkeypatch):
    frames = np.repeat(_frames(1), SETTLE + 6, axis=0)
    frames[-2, 3, 30] = 1 - frames[-2, 3, 30]
    opened = _open(plain, runtime)
    steps = []
    masked = type(opened).masked

    def counted(self, *arguments):
        steps.append(len(steps))
        return masked(self, *arguments)

    monkeypatch.setattr(type(opened), "masked", counted)
    session = opened.session()
    pictures = _run(session, frames)
    # until all is at rest, once to see that, and from the frame before the change on
    assert len(steps) == SETTLE + 1 + 3
    assert np.array_equal(pictures[SETTLE], pictures[SETTLE - 1])
    assert not np.array_equal(pictures[-2], pictures[-3])


def test_whole_and_masked_steps_follow_each_other(plain):
    """A clip that moves, then stands still but for a corner, then moves again."""
    moving = np.random.default_rng(0).random((4, 48, 64, 3)).astype(np.float32)
    still = np.repeat(moving[-1:], 5, axis=0)
    still[::2, :8, :8] = 0
    frames = np.concatenate([moving, still, moving])
    made = _run(_open(plain, "onnx").session(), frames)
    wanted = _run(_open(plain, "torch", keep=1.0).session(), frames)
    # nothing has come to rest yet in five frames, so nothing was left out
    np.testing.assert_allclose(made[:8], wanted[:8], atol=1e-4)
    error = np.square(made - wanted).mean(axis=(1, 2, 3)).max()
    assert -10 * np.log10(error) > 45


def test_tiles_of_clips(plain):
    frames = _frames(3, 96, 160)
    runtime = _open(plain, "onnx", keep=1.0)
    grid = plan_tiles(160, 96, 96, 96, 32, 8)
    tiled = _run(TiledSession(runtime, grid), frames)
    whole = _run(runtime.session(), frames)
    assert tiled.shape == whole.shape
    assert np.abs(tiled - whole).mean() < 0.01


def test_keep_ratios_that_make_no_sense(plain):
    with pytest.raises(UsageError, match="1\\.5"):
        _open(plain, "onnx", keep=1.5)
    _, card, paths = plain
    with pytest.raises(UsageError, match="no keep ratio"):
        open_runtime(card.model_copy(update={"masked": False}), paths, keep_ratio=0.5)


def test_a_graph_that_is_no_step(plain, network):
    _, card, paths = plain
    with pytest.raises(WeightsError, match="no step"):
        open_runtime(card, {**paths, "onnx-masked": network}, runtime="onnx")


def test_a_step_of_an_earlier_contract(plain, tmp_path):
    """Without the memory that a step moves its state into, it would fail at work."""
    import onnx

    _, card, paths = plain
    model = onnx.load(str(paths["onnx-masked"]))
    kept = [value for value in model.graph.output if value.name != "moved_hidden"]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    onnx.save(model, str(tmp_path / "old.onnx"))
    with pytest.raises(WeightsError, match="upframe export"):
        open_runtime(
            card, {**paths, "onnx-masked": tmp_path / "old.onnx"}, runtime="onnx"
        )


def test_sessions_do_not_share_their_state(plain):
    """States are written over, each session's its own."""
    frames = _frames(6)
    runtime = _open(plain, "onnx", keep=0.4)
    alone = _run(runtime.session(), frames)
    one, other = runtime.session(), runtime.session()
    both = [(one.push(frame), other.push(frame[::-1].copy())) for frame in frames]
    made = [out for outputs, _ in both for out in outputs] + one.flush()
    np.testing.assert_array_equal(np.stack(made), alone)


@pytest.mark.parametrize("runtime", ["torch", "onnx"])
def test_nan_is_told(plain, runtime):
    session = _open(plain, runtime).session()
    frame = np.full((16, 16, 3), np.nan, np.float32)
    session.push(frame)
    with pytest.raises(RuntimeFailure, match="NaN"):
        session.flush()
