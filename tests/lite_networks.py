"""Small MIA-VSR lite networks with random weights, for tests."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from upframe.systems.mia_vsr_lite.model import MIAVSRLite


def lite(use_mask: bool = False, seed: int = 0, **arguments: object) -> MIAVSRLite:
    """A network whose masks, if any, keep some windows and drop others."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sizes: dict[str, object] = {"dim": 16, "groups": (2, 1), "heads": 2}
        network = MIAVSRLite(**{**sizes, **arguments}, use_mask=use_mask)  # type: ignore[arg-type]
        for name, parameter in network.named_parameters():
            if "norm" in name or "position_bias" in name:
                parameter.data += 0.2 * torch.randn_like(parameter)
            elif name.endswith("predmask.rnn.weight"):
                nn.init.uniform_(parameter, 0.0, 1.0)
            elif name.endswith("predmask.rnn.bias"):
                nn.init.constant_(parameter, -2.0)
            elif name.endswith(("proj.weight", "fc2.weight")):
                nn.init.normal_(parameter, std=0.1)
            elif "conv2.weight" in name or "conv_last.weight" in name:
                # the residuals of a new network are next to nothing
                nn.init.normal_(parameter, std=0.03)
            elif name == "conv_fuse.weight":
                # a trained recurrence comes to rest
                nn.init.normal_(parameter, std=0.02)
            elif name.endswith("bias"):
                nn.init.normal_(parameter, std=0.05)
    return network.eval()


def clip(*shape: int) -> Tensor:
    """Noise (..., T, 3, h, w) of 8 bits, whose left half does not change."""
    frames = torch.rand(shape, generator=torch.Generator().manual_seed(5))
    half = shape[-1] // 2
    frames[..., 1:, :, :, :half] = frames[..., :1, :, :, :half]
    return frames.mul(255).round() / 255
