"""How much memory a computation will take, without allocating it.

On the meta device tensors have shapes and no content, and every operation runs at once.
`live_bytes` counts what would be alive, and, where asked, the columns into which torch
unfolds the input of a 3-D convolution on a CPU: measured, they were half and more
of the peak of a small video decoder. What other kernels take for themselves while they
run, and what an allocator keeps beyond what is alive, it cannot see.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_CONVOLUTIONS = (
    torch.ops.aten.conv3d.default,
    torch.ops.aten.conv3d.padding,
    torch.ops.aten.convolution.default,
)


class _Count(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sums the storages that operations return, until they are freed."""

    def __init__(self, unfolding: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._unfolding = unfolding
        self._live = 0
        self._seen: dict[weakref.ref[Any], int] = {}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run an operation, then count what is new."""
        del types
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self._add(leaf.untyped_storage())
        columns = 0
        if self._unfolding and func in _CONVOLUTIONS and args[1].ndim == 5:
            positions = out.numel() // out.shape[1]
            columns = args[1][0].numel() * positions * out.element_size()
        self.peak = max(self.peak, self._live + columns)
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        # a storage's Python object lives as long as the storage
        known = weakref.ref(storage, self._drop)
        if known not in self._seen:
            self._seen[known] = storage.nbytes()
            self._live += storage.nbytes()

    def _drop(self, known: weakref.ref[Any]) -> None:
        self._live -= self._seen.pop(known, 0)


def live_bytes(work: Callable[[], object], *, unfolding: bool = False) -> int:
    """The most bytes that are alive at once of what a computation makes.

    Args:
        work: runs it, without gradients, on the meta device or any other. What existed
            before does not count unless an operation returns a view of it.
        unfolding: count the columns of 3-D convolutions on a CPU, too.
    """
    count = _Count(unfolding)
    with torch.inference_mode(), count:
        work()
    return count.peak
