"""MIA-VSR lite with its convolutions in int8, from ranges seen on some clip.

Inputs and results of convolutions are bytes, 255 even steps between the least and the
largest value that was seen, with 0 among them; weights are whole steps of their
channel's largest, of 7 bits: products of a byte and a weight then add up in pairs to
less than 2**15, and CPUs with and without VNNI instructions give the same sums.
Sums, attention, the base and the search for motion stay in float. The state is kept in
bytes, too: the hidden state as ``conv_last`` is given it, the detail as it gives it.

Torch computes here, in float, what the exported graph computes in int8; the graph
expresses it by QuantizeLinear and DequantizeLinear, which ONNX Runtime joins with what
is between them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upframe.systems.mia_vsr_lite.convolutions import (
    Coding,
    Convolution,
    Convolutions,
)

_MOST = 255
_WEIGHT = 64
"""Largest weight of 7 bits."""


class Range(NamedTuple):
    """Least and largest value, 0 between them."""

    low: float
    high: float

    def __or__(self, other: Range) -> Range:
        """What holds both."""
        return Range(min(self.low, other.low), max(self.high, other.high))


class Ranges(NamedTuple):
    """What a convolution was given and gave."""

    before: Range
    after: Range


class Bytes(Coding):
    """Codes of one byte for values in a range; those outside become its ends."""

    dtype = torch.uint8
    scale: Tensor
    offset: Tensor

    def __init__(self, values: Range) -> None:
        super().__init__()
        scale = max(values.high - values.low, 1e-6) / _MOST
        self.zero = round(-values.low / scale)
        self.register_buffer("scale", torch.tensor(scale))
        self.register_buffer("offset", torch.tensor(self.zero, dtype=torch.uint8))

    def encode(self, x: Tensor) -> Tensor:
        """Values to bytes."""
        return _quantise(x, self.scale, self.offset)

    def decode(self, codes: Tensor) -> Tensor:
        """Bytes to values."""
        return _dequantise(codes, self.scale, self.offset)


class Int8Convolution(Convolution):
    """A convolution of bytes that gives bytes.

    Args:
        conv: the same one in float.
        before: of its input.
        after: of its result.
    """

    bias: Tensor
    scales: Tensor
    offsets: Tensor
    bias_scales: Tensor
    bias_offsets: Tensor

    def __init__(self, conv: Convolution, before: Bytes, after: Bytes) -> None:
        super().__init__(conv.weight, conv.bias)
        self.before, self.after = before, after
        largest = conv.weight.abs().flatten(1).amax(dim=1).clamp(min=1e-8)
        scales = largest / _WEIGHT
        whole = (conv.weight / scales.view(-1, 1, 1, 1)).round()
        bias = torch.zeros(self.outer) if conv.bias is None else conv.bias
        bias_scales = scales * before.scale
        none = torch.zeros(self.outer)
        self.weight = whole.to(torch.int8)
        self.bias = (bias / bias_scales).round().to(torch.int32)
        self.register_buffer("scales", scales)
        self.register_buffer("offsets", none.to(torch.int8))
        self.register_buffer("bias_scales", bias_scales)
        self.register_buffer("bias_offsets", none.to(torch.int32))

    def forward(self, codes: Tensor, padding: int) -> Tensor:
        """As for :class:`Convolution`."""
        weight = _dequantise(self.weight, self.scales, self.offsets)
        bias = _dequantise(self.bias, self.bias_scales, self.bias_offsets)
        x = F.conv2d(self.before.decode(codes), weight, bias, padding=padding)
        return self.after.encode(x)


def observe(convolutions: Convolutions, run: Callable[[], object]) -> dict[str, Ranges]:
    """Ranges of convolutions in float while something runs, by their names."""
    seen: dict[str, Ranges] = {}
    handles = []
    for name, module in convolutions.named_modules():
        if not isinstance(module, Convolution):
            continue

        def watch(
            module: nn.Module, given: Any, made: Tensor, name: str = name
        ) -> None:
            del module
            now = Ranges(_range(given[0]), _range(made))
            old = seen.get(name, now)
            seen[name] = Ranges(old.before | now.before, old.after | now.after)

        handles.append(module.register_forward_hook(watch))
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return seen


def quantised(convolutions: Convolutions, ranges: Mapping[str, Ranges]) -> Convolutions:
    """Put int8 in place of float, in the same object; ``conv_first`` stays as it is.

    Args:
        convolutions: in float.
        ranges: of each by name, from :func:`observe`.
    """
    hidden = Bytes(ranges["last"].before | ranges["fuse_hidden"].before)
    shared = {"last": hidden, "fuse_hidden": hidden}
    for name, (given, made) in ranges.items():
        conv = convolutions.get_submodule(name)
        # frames are bright or dark as a whole, which weights of 7 bits represent badly
        if conv is convolutions.first:
            continue
        assert isinstance(conv, Convolution)
        before = shared[name] if name in shared else Bytes(given)
        parent, _, own = name.rpartition(".")
        setattr(
            convolutions.get_submodule(parent),
            own,
            Int8Convolution(conv, before, Bytes(made)),
        )
    return convolutions


def _range(x: Tensor) -> Range:
    return Range(min(0.0, x.min().item()), max(0.0, x.max().item()))


def _quantise(x: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    codes: Tensor = _Quantise.apply(x, scale, offset)  # type: ignore[no-untyped-call]
    return codes


def _dequantise(codes: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    x: Tensor = _Dequantise.apply(codes, scale, offset)  # type: ignore[no-untyped-call]
    return x


def _along(scale: Tensor, like: Tensor) -> Tensor:
    """A number for all, or one for each of the first axis."""
    return scale.view(-1, *[1] * (like.dim() - 1)) if scale.dim() else scale


class _Quantise(torch.autograd.Function):
    """Of a whole array, to bytes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
        del ctx
        return (x / scale).round().add(offset).clamp(0, _MOST).to(torch.uint8)

    @staticmethod
    def symbolic(g: Any, x: Any, scale: Any, offset: Any) -> Any:
        return g.op("QuantizeLinear", x, scale, offset)


class _Dequantise(torch.autograd.Function):
    """With one scale, or one for each of the first axis."""

    @staticmethod
    def forward(ctx: Any, codes: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
        del ctx
        return (codes.float() - _along(offset, codes)) * _along(scale, codes)

    @staticmethod
    def symbolic(g: Any, codes: Any, scale: Any, offset: Any) -> Any:
        return g.op("DequantizeLinear", codes, scale, offset, axis_i=0)
