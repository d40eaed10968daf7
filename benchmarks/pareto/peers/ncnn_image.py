"""Image networks in ncnn's format, on the CPU."""

from __future__ import annotations

from pathlib import Path

import ncnn
import numpy as np

from upframe.errors import RuntimeFailure
from upframe.runtimes.base import FloatFrame
from upframe.runtimes.loaded import LoadedModel
from upframe.runtimes.sessions import ImageSession
from upframe.weights.card import ModelCard


class NcnnRuntime(LoadedModel):
    """A network with one input ``data`` and one output ``output``, RGB in [0, 1].

    Args:
        card: what it is.
        param: its structure; its weights lie beside it, with the suffix ``.bin``.
        threads: CPU threads.

    Raises:
        RuntimeFailure: ncnn cannot load it.
    """

    name = "ncnn"

    def __init__(self, card: ModelCard, param: Path, threads: int) -> None:
        super().__init__(card)
        self._network = ncnn.Net()
        self._network.opt.use_vulkan_compute = False
        self._network.opt.num_threads = threads
        weights = param.with_suffix(".bin")
        if self._network.load_param(str(param)) or self._network.load_model(
            str(weights)
        ):
            raise RuntimeFailure(f"ncnn cannot load {param}.", "Fetch the peers again.")

    def session(self) -> ImageSession:
        """Start on a new run of frames; nothing is remembered."""
        return ImageSession(self._run)

    def _run(self, frame: FloatFrame, number: int) -> FloatFrame:
        del number
        # a Mat of an array is a view: the array must outlive it
        planes = np.ascontiguousarray(frame.transpose(2, 0, 1))
        extractor = self._network.create_extractor()
        extractor.input("data", ncnn.Mat(planes))
        failed, output = extractor.extract("output")
        if failed:
            raise RuntimeFailure(f"ncnn failed on {self.card.name}.", "Fetch it again.")
        image = np.array(output).transpose(1, 2, 0)
        return np.ascontiguousarray(image.clip(0, 1))
