"""``upframe.load``, importable without torch: only the call needs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def load(
    name_or_path: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> torch.nn.Module:
    """Load a restoration network as a plain torch module, in eval mode.

    The module maps (B, T, 3, h, w) to (B, T, 3, s*h, s*w), float RGB in [0, 1].

    Args:
        name_or_path: name of a bundled model or preset, or a ``.pth``, ``.pt`` or
            ``.safetensors`` file whose system and size are found from its keys.
        device: where the network is put.
        dtype: its floating-point type; None for float32.

    Raises:
        MissingExtraError: torch is not installed.
        UsageError: there is no such model, file or device.
        WeightsError: the file is damaged, or of no system that upframe knows.
    """
    from upframe.weights.loading import load as load_network

    return load_network(name_or_path, device=device, dtype=dtype)
