"""MIA-VSR lite to ONNX: a step as a graph with the state as inputs and outputs.

Two graphs make a model:

* ``<name>.onnx``, the whole step: ``frames`` (3, H, W, 3), the previous, current and
  next frame in [0, 1] with H and W multiples of 8 (the current one again where there is
  none), ``first`` (bool: there is no previous frame) and ``hidden`` (H * W + 1, C;
  zeros at first) to ``upscaled`` (1, 4H, 4W, 3), clipped to [0, 1], and
  ``next_hidden``.
* ``<name>.masked.onnx``, the step that skips windows: also ``refresh`` (bool: compute
  all windows, as the first step must), ``keep_ratio`` (the largest share of windows to
  compute; below 0 all that are not static) and, beside ``hidden``, what
  ``upframe.systems.mia_vsr_lite.stream.Memory`` holds, zeros at first; also gives
  ``computed`` (1 + groups, windows), ``next_`` of each state, and ``moved_hidden`` and
  ``moved_detail``, which may be given the memory of ``next_hidden`` and
  ``next_detail``; then nothing is copied. So may the inputs ``input_<i>``,
  ``delta_<i>`` and ``norm_<i>`` be given that of their ``next_``.

In int8 (``<name>.int8.onnx`` and ``<name>.int8.masked.onnx``) ``hidden``, ``detail``
and ``input_<i>`` are bytes, and what stands for zeros is another number for each: the
metadata ``zeros`` holds it as JSON, by name.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from upframe.export.calibration_clip import Clip, calibration_clips
from upframe.systems.mia_vsr_lite.convolutions import Convolutions
from upframe.systems.mia_vsr_lite.int8 import observe, quantised
from upframe.systems.mia_vsr_lite.model import MIAVSRLite
from upframe.systems.mia_vsr_lite.stream import Memory, StreamStep
from upframe.systems.mia_vsr_lite.whole import WholeStep

_SIZES = ((16, 24), (48, 40), (64, 72))
"""Heights and widths at which an export is compared with torch."""
_RATIOS = (1.0, 1.0, 0.5, 0.1, -1.0)
"""Keep ratios of the steps that are compared; the first two compute everything."""
_MOVED = ("moved_hidden", "moved_detail")


def masked_path(path: Path) -> Path:
    """Where the step that skips windows lies beside the whole step."""
    return path.with_name(f"{path.stem}.masked{path.suffix}")


class _Flat(nn.Module):
    """The masked step with its memory as single tensors."""

    def __init__(self, step: StreamStep, memory: Memory) -> None:
        super().__init__()
        self.step = step
        self.pairs, self.residuals = len(memory.inputs), len(memory.deltas)

    def forward(
        self,
        frames: Tensor,
        first: Tensor,
        refresh: Tensor,
        keep_ratio: Tensor,
        *state: Tensor,
    ) -> tuple[Tensor, ...]:
        hidden, detail, block_stats, *rest = state
        inputs, rest = rest[: self.pairs], rest[self.pairs :]
        deltas, norms = rest[: self.residuals], rest[self.residuals :]
        memory = Memory(
            hidden, detail, block_stats, tuple(inputs), tuple(deltas), tuple(norms)
        )
        out = self.step(frames, first, refresh, keep_ratio, memory)
        return (out.frame, out.computed, *out.moved, *_flat(out.memory))


def _flat(memory: Memory) -> tuple[Tensor, ...]:
    return (
        memory.hidden,
        memory.detail,
        memory.block_stats,
        *memory.inputs,
        *memory.deltas,
        *memory.norms,
    )


def _names(memory: Memory) -> list[str]:
    tables = {"input": memory.inputs, "delta": memory.deltas, "norm": memory.norms}
    numbered = [
        f"{name}_{i}" for name, some in tables.items() for i in range(len(some))
    ]
    # "books" are the statistics of blocks, as graphs of 0.1 name them
    return ["hidden", "detail", "books", *numbered]


def export_steps(network: MIAVSRLite, path: Path, opset: int) -> float:
    """Write both graphs of a network and compare them with torch in ONNX Runtime.

    Args:
        network: in eval mode, float32, on the CPU.
        path: file of the whole step; the other's is :func:`masked_path`.
        opset: of ONNX.

    Returns:
        The largest difference of a frame to torch, of a range of 1, over some sizes
        and steps of clips that move in part.
    """
    step, whole = StreamStep(network), WholeStep(network)
    _write_both(step, whole, path, opset)
    return max(
        float(np.abs(got - want).max())
        for size in _SIZES
        for got, want in _outputs(step, whole, path, size)
    )


def export_int8(network: MIAVSRLite, path: Path, opset: int) -> tuple[float, float]:
    """Write both graphs with convolutions in int8, and compare them.

    The ranges of values are those of synthetic clips (``calibration_clip``), so that
    the graphs are a function of the weights alone.

    Args:
        network: in eval mode, float32, on the CPU.
        path: file of the whole step; the other's is :func:`masked_path`.
        opset: of ONNX.

    Returns:
        The lowest PSNR, in dB, of a frame to what torch computes of the same bytes,
        over the steps that :func:`export_steps` compares; and that of both steps to the
        network in float, over all frames of the synthetic clips.
    """
    convolutions = Convolutions(network)
    calibrated = WholeStep(network, convolutions)
    clips = calibration_clips()

    def run() -> list[NDArray[np.float32]]:
        return [_run_whole(calibrated, clip) for clip in clips]

    exact: list[NDArray[np.float32]] = []
    ranges = observe(convolutions, lambda: exact.extend(run()))
    quantised(convolutions, ranges)
    step = StreamStep(network, convolutions=convolutions)
    whole = WholeStep(network, convolutions)
    _write_both(step, whole, path, opset)
    agreement = min(
        _psnr(got, want)
        for size in _SIZES
        for got, want in _outputs(step, whole, path, size)
    )
    fidelity = _psnr(np.concatenate(run()), np.concatenate(exact))
    return agreement, fidelity


def _run_whole(step: WholeStep, clip: Clip) -> NDArray[np.float32]:
    """(T, h, w, 3) to (T, 4h, 4w, 3)."""
    count, height, width = clip.shape[:3]
    hidden = (
        StreamStep(step.network, convolutions=step.convolutions)
        .start(height, width)
        .hidden
    )
    outputs = []
    with torch.inference_mode():
        for i in range(count):
            frames = clip[[max(0, i - 1), i, min(count - 1, i + 1)]]
            output, hidden = step(
                torch.from_numpy(frames), torch.tensor(i == 0), hidden
            )
            outputs.append(output.numpy())
    return np.concatenate(outputs)


def _psnr(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(-10 * np.log10(max(np.square(one - other).mean(), 1e-12)))


def _write_both(step: StreamStep, whole: WholeStep, path: Path, opset: int) -> None:
    memory = step.start(48, 64)
    names = _names(memory)
    # the last row stands for what is outside
    zeros = {n: int(x[-1, 0]) for n, x in zip(names, _flat(memory), strict=True)}
    zeros = {name: zero for name, zero in zeros.items() if zero}
    frames, no = torch.rand(3, 48, 64, 3), torch.tensor(False)
    pixels = {name: {0: "P"} for name in names}
    pixels |= {"detail": {0: "N"}, "books": {1: "V"}}
    size = {"frames": {1: "H", 2: "W"}}
    _write(
        whole,
        (frames, no, memory.hidden),
        path,
        (["frames", "first", "hidden"], ["upscaled", "next_hidden"]),
        {**size, "hidden": pixels["hidden"]},
        opset,
        zeros,
    )
    _write(
        _Flat(step, memory),
        (frames, no, no, torch.tensor(0.5), *_flat(memory)),
        masked_path(path),
        (
            ["frames", "first", "refresh", "keep_ratio", *names],
            ["upscaled", "computed", *_MOVED, *(f"next_{name}" for name in names)],
        ),
        {**size, **pixels},
        opset,
        zeros,
    )


def _write(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    path: Path,
    names: tuple[list[str], list[str]],
    free: dict[str, dict[int, str]],
    opset: int,
    zeros: dict[str, int],
) -> None:
    import onnx

    with warnings.catch_warnings():
        # The exporter by tracing is deprecated; the other one, as of torch 2.13, asks
        # for the number of windows to be known.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            inputs,
            str(path),
            dynamo=False,
            opset_version=opset,
            input_names=names[0],
            output_names=names[1],
            dynamic_axes=free,
        )
    model = onnx.load(str(path))
    for node in model.graph.node:
        node.doc_string = ""
    if zeros:
        onnx.helper.set_model_props(model, {"zeros": json.dumps(zeros)})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def _outputs(
    step: StreamStep, whole: WholeStep, path: Path, size: tuple[int, int]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Output frames of both graphs, each with that of torch."""
    sessions = [
        onnxruntime.InferenceSession(str(p), providers=["CPUExecutionProvider"])
        for p in (path, masked_path(path))
    ]
    rng = np.random.default_rng(0)
    clip = rng.integers(0, 256, (len(_RATIOS) + 2, *size, 3)).astype(np.float32) / 255
    # the upper half is static
    clip[1:, : size[0] // 2] = clip[0, : size[0] // 2]
    memory = step.start(*size)
    names = _names(memory)
    theirs = {name: x.numpy() for name, x in zip(names, _flat(memory), strict=True)}
    for i, ratio in enumerate(_RATIOS):
        frames = clip[i : i + 3]
        first = np.array(i == 0)
        feed = {"frames": frames, "first": first}
        (got, *_) = sessions[0].run(None, {**feed, "hidden": memory.hidden.numpy()})
        masked, *after = sessions[1].run(
            ["upscaled", *(f"next_{name}" for name in names)],
            {
                **feed,
                "refresh": first,
                "keep_ratio": np.array(ratio, np.float32),
                **theirs,
            },
        )
        theirs = dict(zip(names, after, strict=True))
        with torch.inference_mode():
            x, start = torch.from_numpy(frames), torch.tensor(i == 0)
            want, _ = whole(x, start, memory.hidden)
            out = step(x, start, start, torch.tensor(ratio), memory)
        memory = out.memory
        yield got, want.numpy()
        yield masked, out.frame.numpy()
