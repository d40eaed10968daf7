"""Recurrent models in ONNX Runtime: two graphs and a state.

The graphs are those of ``upframe.export.recurrent``. The state stays in values of ONNX
Runtime, which pass from step to step without copies. A table of which a step updates
some rows is bound as its input and its output at once, so that scattering need not copy
the rest. So a state that was given to a step is overwritten. In int8 it is bytes, and
the metadata of the masked graph says which byte stands for 0.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from upframe.errors import WeightsError
from upframe.runtimes.base import FloatFrame, Marks
from upframe.runtimes.devices import cuda_index
from upframe.runtimes.loaded import LoadedModel
from upframe.runtimes.onnx import failure, load_network
from upframe.runtimes.padding import is_finite, not_finite
from upframe.runtimes.recurrent import WINDOW, RecurrentSession
from upframe.weights.card import ModelCard

State = dict[str, Any]
"""Values of ONNX Runtime, which has no types, by the masked graph's input names, and
spare memory by the names of its outputs."""

_TYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}
_FIXED = ("frames", "first", "refresh", "keep_ratio")
_NEXT = "next_"
_SPARE = "moved_"
_WARPED = ("hidden", "detail")
"""States that a step warps into spare memory (double buffering) and then updates. All
others, except for the statistics of blocks, it updates in place."""
_STATISTICS = "books"
"""Statistics of blocks; graphs of upframe 0.1 have this name for them."""


class OnnxRecurrentRuntime(LoadedModel):
    """A recurrent model in ONNX Runtime.

    Args:
        card: the card of the model.
        whole: ONNX file of the whole step.
        masked: ONNX file of the masked step.
        device: ``cpu``, ``cuda`` or ``cuda:<i>``.
        threads: CPU threads; None for one per physical core.
        keep_ratio: see ``RecurrentSession``.
        precision: of the files.

    Raises:
        WeightsError: a file is missing, damaged, or of another contract.
        DeviceUnavailableError: the device does not exist, or not for this ONNX Runtime.
    """

    name = "onnx"

    def __init__(
        self,
        card: ModelCard,
        whole: Path,
        masked: Path,
        *,
        device: str = "cpu",
        threads: int | None = None,
        keep_ratio: float | None = None,
        precision: str = "fp32",
    ) -> None:
        gpu = cuda_index(device)
        super().__init__(card, "cpu" if gpu is None else f"cuda:{gpu}", precision)
        self._ratio = keep_ratio
        self._whole = load_network(whole, gpu, threads)
        self._masked = load_network(masked, gpu, threads)
        for network, path in ((self._whole, whole), (self._masked, masked)):
            _check_contract(network, path)
        self._states = {
            value.name: (value.shape, _TYPES[value.type])
            for value in self._masked.get_inputs()
            if value.name not in _FIXED
        }
        about = self._masked.get_modelmeta().custom_metadata_map
        self._zeros: dict[str, int] = json.loads(about.get("zeros", "{}"))

    def session(self) -> RecurrentSession:
        """Start a new run of consecutive frames."""
        return RecurrentSession(self.card, self, self._ratio)

    def start(self, height: int, width: int) -> State:
        """Zeros, or what codes them."""
        pixels = height * width
        sides = {"P": pixels + 1, "N": pixels, "V": pixels // WINDOW**2}

        def empty(name: str) -> Any:
            shape, kind = self._states[name]
            whole = [sides.get(side, side) for side in shape]
            return _value(np.full(whole, self._zeros.get(name, 0), kind))

        state = {name: empty(name) for name in self._states}
        return {**state, **{_SPARE + name: empty(name) for name in _WARPED}}

    def whole(
        self, frames: FloatFrame, first: bool, state: State
    ) -> tuple[FloatFrame, State]:
        """See ``Steps``."""
        feed = {
            "frames": _value(frames),
            "first": _value(np.array(first)),
            "hidden": state["hidden"],
        }
        output, hidden = self._run(
            self._whole, ["upscaled", f"{_NEXT}hidden"], feed, {}, frames
        )
        return self._frame(output), {**state, "hidden": hidden}

    def masked(
        self,
        frames: FloatFrame,
        first: bool,
        refresh: bool,
        keep_ratio: float,
        state: State,
    ) -> tuple[FloatFrame, Marks, State]:
        """See ``Steps``."""
        feed = {
            "frames": _value(frames),
            "first": _value(np.array(first)),
            "refresh": _value(np.array(refresh)),
            "keep_ratio": _value(np.array(keep_ratio, np.float32)),
            **{name: state[name] for name in self._states},
        }
        after = dict(state)
        for name in _WARPED:
            after[name], after[_SPARE + name] = state[_SPARE + name], state[name]
        into = {
            _NEXT + name: after[name] for name in self._states if name != _STATISTICS
        }
        into |= {_SPARE + name: after[name] for name in _WARPED}
        names = ["upscaled", "computed", _NEXT + _STATISTICS]
        output, computed, after[_STATISTICS] = self._run(
            self._masked, names, feed, into, frames
        )
        height, width = (side // WINDOW for side in frames.shape[1:3])
        marks: Marks = computed.numpy().reshape(-1, height, width)
        return self._frame(output), marks, after

    def _run(
        self,
        network: onnxruntime.InferenceSession,
        names: list[str],
        feed: dict[str, Any],
        into: dict[str, Any],
        frames: FloatFrame,
    ) -> list[Any]:
        """Run a graph.

        Args:
            network: the graph.
            names: outputs to return.
            feed: inputs.
            into: further outputs, and the values that they are written to.
            frames: for the message, if it fails.
        """
        binding = network.io_binding()
        try:
            for name, value in feed.items():
                binding.bind_ortvalue_input(name, value)
            for name in names:
                binding.bind_output(name)
            for name, value in into.items():
                binding.bind_ortvalue_output(name, value)
            network.run_with_iobinding(binding)
            results: list[Any] = binding.get_outputs()[: len(names)]
        except Exception as error:  # its errors share no base class
            raise failure(error, self.card, frames[0], self.device) from error
        return results

    def _frame(self, value: Any) -> FloatFrame:
        frame: FloatFrame = value.numpy()[0]
        if not is_finite(frame):
            raise not_finite(self.card, self.name)
        return frame


def _value(array: NDArray[Any]) -> Any:
    return onnxruntime.OrtValue.ortvalue_from_numpy(array)


def _check_contract(network: onnxruntime.InferenceSession, path: Path) -> None:
    inputs = {value.name for value in network.get_inputs()}
    outputs = {value.name for value in network.get_outputs()}
    wanted = {_NEXT + name for name in inputs.difference(_FIXED)}
    wanted |= {_SPARE + name for name in _WARPED if _STATISTICS in inputs}
    if not ({"frames", "first", "hidden"} <= inputs and {"upscaled"} <= outputs) or (
        wanted - outputs
    ):
        raise WeightsError(
            f"{path} maps {sorted(inputs)} to {sorted(outputs)}.",
            "It is no step of a recurrent model; make it with: upframe export.",
        )
