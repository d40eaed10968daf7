"""Small ONNX models and cards for the tests of the runtimes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from upframe.weights.card import ModelCard

RADIUS = 3
"""Input pixels around its own that ``build_network`` looks at, with three layers."""


def card(**changes):
    values = {
        "name": "tiny",
        "system": "tiny",
        "scale": 2,
        "summary": "a network for tests",
        "licence": "Apache-2.0",
        **changes,
    }
    return ModelCard(**values)


def build_network(
    path: Path, *, scale=2, layers=3, bad=None, output="upscaled"
) -> Path:
    """Write a small ONNX image model: 3x3 convolutions, then depth to space.

    ``bad`` replaces one weight, for example by NaN.
    """
    rng = np.random.default_rng(0)
    nodes = [helper.make_node("Transpose", ["frames"], ["x0"], perm=[0, 3, 1, 2])]
    constants, name, channels = [], "x0", 3
    for layer in range(layers):
        last = layer == layers - 1
        wide = 3 * scale * scale if last else 8
        weight = rng.standard_normal((wide, channels, 3, 3)).astype(np.float32)
        weight /= np.float32(channels * 9) ** 0.5
        if bad is not None and last:
            weight[0, 0, 1, 1] = bad
        constants.append(numpy_helper.from_array(weight, f"w{layer}"))
        nodes.append(
            helper.make_node("Conv", [name, f"w{layer}"], [f"c{layer}"], pads=[1] * 4)
        )
        name = f"c{layer}"
        if not last:
            nodes.append(helper.make_node("Relu", [name], [f"r{layer}"]))
            name = f"r{layer}"
        channels = wide
    constants += [
        numpy_helper.from_array(np.float32(value), key)
        for key, value in (("half", 0.5), ("low", 0.0), ("high", 1.0))
    ]
    nodes += [
        helper.make_node("DepthToSpace", [name], ["d"], blocksize=scale, mode="CRD"),
        helper.make_node("Add", ["d", "half"], ["shifted"]),
        helper.make_node("Clip", ["shifted", "low", "high"], ["clipped"]),
        helper.make_node("Transpose", ["clipped"], [output], perm=[0, 2, 3, 1]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info(
                "frames", TensorProto.FLOAT, ["N", "H", "W", 3]
            )
        ],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", "A", "B", 3])],
        constants,
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path
