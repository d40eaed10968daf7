"""DITN: Deployment-Friendly Image-super-resolution Transformer Network.

Paper: Liu et al., "Unfolding Once is Enough: A Deployment-Friendly Transformer Unit for
Super-Resolution", ACM MM 2023, arXiv 2308.02794. The authors' code and weights are
Apache-2.0 (github.com/yongliuy/DITN); this is an own implementation with their
parameter names, so that their checkpoints load.

::

    x ─ sft ─┬─ UFONE × n ─ conv_after_body ─(+)─ upsample (conv + pixel shuffle)
             └───────────────────────────────┘
    UFONE:   cut into 8×8 patches ─ ITL × n_itl ─ put together ─ SAL × n_sal
    ITL:     x + ISA(norm(x)), then x + FFN(norm(x))     inside one patch
    SAL:     x + SDA(norm(x)), then x + FFN(norm(x))     on the whole map

The map is unfolded into patches once per unit, not once per attention layer, which is
what makes the network cheap to deploy.

``norm`` is ``tanh`` followed by a 1×1 convolution in DITN_Real and LayerNorm over
channels in DITN and DITN_Tiny. The authors' weights are named
``DITN_[Tiny|Real]_x{2,3,4}.pth``.

Deviations from the authors' code:

* Sizes, depths and the FFN's expansion are arguments; the defaults are DITN_Real ×4.
* Inputs smaller than a patch, which reflection cannot fill, repeat their edge instead.
* ``residual=True`` adds the bilinearly upsampled input to the output and starts the
  last convolution at zero. The authors have no such path. Networks of a few ten
  thousand parameters that train for an hour spend less of it on learning the identity.
* Names of LayerNorm's parameters (``norm1.body.weight``) follow Restormer, whose
  classes the authors left in their file.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upframe.systems.training_step import StepResult

Norm = Literal["tanh", "layer"]

# Shape letters: B batch, T frames, C channels, H W height and width of the map,
# P patches of the whole batch, N = patch² positions inside a patch.


class LayerNorm(nn.Module):
    """Normalises the channels of every position of (B, C, H, W); eps 1e-5."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.body = nn.LayerNorm(dim, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        normalised: Tensor = self.body(x.permute(0, 2, 3, 1))
        return normalised.permute(0, 3, 1, 2)


class FeedForward(nn.Module):
    """Gated depthwise feed-forward layer, without biases."""

    def __init__(self, dim: int, expansion: float) -> None:
        super().__init__()
        hidden = int(dim * expansion)
        self.project_in = nn.Conv2d(dim, hidden * 2, 1, bias=False)
        self.dwconv = nn.Conv2d(
            hidden * 2, hidden * 2, 3, padding=1, groups=hidden * 2, bias=False
        )
        self.project_out = nn.Conv2d(hidden, dim, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        # The halves of the weights, not of the map: the same sums without slicing the
        # largest tensor of the network, which twice the runtime would go to otherwise.
        gate, value = (
            F.conv2d(F.conv2d(x, point), depth, padding=1, groups=len(depth))
            for point, depth in zip(
                self.project_in.weight.chunk(2),
                self.dwconv.weight.chunk(2),
                strict=True,
            )
        )
        out: Tensor = self.project_out(F.gelu(gate) * value)
        return out


def _inverse_length(x: Tensor) -> Tensor:
    """1 / |x| along the last axis, which is kept; zero vectors give a large number."""
    length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return length.clamp_min(1e-12).reciprocal()


class ISA(nn.Module):
    """Inner-patch self-attention: channels of one patch attend to each other.

    One head; queries and keys are L2-normalised along the patch's positions, so that
    the C×C attention map holds cosines times a learned temperature.
    """

    def __init__(self, dim: int, patch: int) -> None:
        super().__init__()
        self.dim = dim
        self.patch = patch
        self.temperature = nn.Parameter(torch.ones(1, 1, 1))
        self.qkv = nn.Linear(dim, dim * 3)
        self.project_out = nn.Conv2d(dim, dim, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(P, C, patch, patch) to the same shape."""
        # Sizes are numbers known beforehand, not read off x: an exported graph then
        # need not compute them.
        c, p = self.dim, self.patch
        # A linear layer on (P, N, C) is a 1×1 convolution on (P, C, patch, patch);
        # as a convolution it needs no transposition on either side.
        q, k, v = (  # (P, C, N) each
            F.conv2d(x, weight[:, :, None, None], bias).reshape(-1, c, p * p)
            for weight, bias in zip(
                self.qkv.weight.chunk(3), self.qkv.bias.chunk(3), strict=True
            )
        )
        # Cosines are products divided by lengths: dividing the small C×C map instead of
        # q and k saves two passes over the full map.
        cosines = (q @ k.transpose(-2, -1)) * _inverse_length(q)
        cosines = cosines * _inverse_length(k).transpose(-2, -1)
        attention = (cosines * self.temperature).softmax(dim=-1)
        out: Tensor = self.project_out((attention @ v).reshape(-1, c, p, p))
        return out


class SDA(nn.Module):
    """Spatial-aware depthwise attention: a 23×23 depthwise kernel gates the map."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(1, dim, 1, 1))
        self.DConvs = nn.Sequential(
            nn.Conv2d(dim, dim, 5, padding=2, groups=dim),
            nn.Conv2d(dim, dim, 7, padding=9, dilation=3, groups=dim),
            nn.Conv2d(dim, dim, 1),
        )
        self.proj_first = nn.Sequential(nn.Conv2d(dim, dim * 2, 1))
        self.proj_last = nn.Sequential(nn.Conv2d(dim, dim, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        first = self.proj_first[0]
        assert isinstance(first, nn.Conv2d)
        assert first.bias is not None
        gate, value = (
            F.conv2d(x, weight, bias)
            for weight, bias in zip(
                first.weight.chunk(2), first.bias.chunk(2), strict=True
            )
        )
        out: Tensor = self.proj_last(value * self.DConvs(gate)) * self.scale
        return out


class _Layer(nn.Module):
    """What ITL and SAL share: normalisation and feed-forward."""

    def __init__(self, dim: int, expansion: float, norm: Norm) -> None:
        super().__init__()
        self.kind = norm
        if norm == "tanh":
            self.conv1 = nn.Conv2d(dim, dim, 1)
            self.conv2 = nn.Conv2d(dim, dim, 1)
        else:
            self.norm1 = LayerNorm(dim)
            self.norm2 = LayerNorm(dim)
        self.ffn = FeedForward(dim, expansion)

    def _mix(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        if self.kind == "tanh":
            x = x + self._mix(self.conv1(torch.tanh(x)))
            out: Tensor = x + self.ffn(self.conv2(torch.tanh(x)))
        else:
            x = x + self._mix(self.norm1(x))
            out = x + self.ffn(self.norm2(x))
        return out


class ITL(_Layer):
    """Inner-patch transformer layer; its batch is the patches."""

    def __init__(self, dim: int, expansion: float, norm: Norm, patch: int) -> None:
        super().__init__(dim, expansion, norm)
        self.attn = ISA(dim, patch)

    def _mix(self, x: Tensor) -> Tensor:
        out: Tensor = self.attn(x)
        return out


class SAL(_Layer):
    """Spatial-aware layer; works on the whole map."""

    def __init__(self, dim: int, expansion: float, norm: Norm) -> None:
        super().__init__(dim, expansion, norm)
        self.SDA = SDA(dim)

    def _mix(self, x: Tensor) -> Tensor:
        out: Tensor = self.SDA(x)
        return out


class UFONE(nn.Module):
    """Unfold once: patch layers, then map layers."""

    def __init__(
        self, dim: int, n_itl: int, n_sal: int, expansion: float, norm: Norm, patch: int
    ) -> None:
        super().__init__()
        self.patch = patch
        self.ITLs = nn.Sequential(
            *(ITL(dim, expansion, norm, patch) for _ in range(n_itl))
        )
        self.SALs = nn.Sequential(*(SAL(dim, expansion, norm) for _ in range(n_sal)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape; H and W are multiples of the patch."""
        b, c, h, w = x.shape
        p = self.patch
        x = x.reshape(b, c, h // p, p, w // p, p).permute(0, 2, 4, 1, 3, 5)
        x = self.ITLs(x.reshape(-1, c, p, p))
        x = x.reshape(b, h // p, w // p, c, p, p).permute(0, 3, 1, 4, 2, 5)
        out: Tensor = self.SALs(x.reshape(b, c, h, w))
        return out


class DITN(nn.Module):
    """The whole network; the defaults are the authors' DITN_Real ×4.

    Args:
        scale: 1, 2, 3 or 4: output size over input size.
        dim: channels of the map.
        n_itl: patch layers per unit.
        n_sal: map layers per unit.
        n_ufone: units; 1 in DITN_Real and DITN_Tiny, 3 in DITN.
        expansion: hidden over outer channels in the feed-forward layers.
        norm: ``tanh`` (DITN_Real) or ``layer`` (DITN, DITN_Tiny).
        patch: side of a patch in input pixels.
        residual: add the bilinearly upsampled input to the output (not the authors').
    """

    def __init__(
        self,
        scale: int = 4,
        dim: int = 60,
        n_itl: int = 4,
        n_sal: int = 4,
        n_ufone: int = 1,
        expansion: float = 2.0,
        norm: Norm = "tanh",
        patch: int = 8,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.patch = patch
        self.residual = residual
        self.sft = nn.Conv2d(3, dim, 3, padding=1)
        self.UFONE = nn.Sequential(
            *(UFONE(dim, n_itl, n_sal, expansion, norm, patch) for _ in range(n_ufone))
        )
        self.conv_after_body = nn.Conv2d(dim, dim, 3, padding=1)
        self.upsample = nn.Sequential(
            nn.Conv2d(dim, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale)
        )
        if residual:
            # Says in the state dict that the path exists: without this mark the weights
            # would load into a network without the path and give wrong images.
            self.register_buffer("residual_path", torch.ones(()))
            last = self.upsample[0]
            assert isinstance(last, nn.Conv2d)
            assert last.bias is not None
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, frames: Tensor) -> Tensor:
        """Upscale images, each for itself.

        Args:
            frames: (B, 3, h, w) or (B, T, 3, h, w), RGB in [0, 1], any h and w.

        Returns:
            The same rank, ``scale`` times as high and wide, not clipped.
        """
        shape = frames.shape
        x = frames.reshape(-1, *shape[-3:])
        h, w = x.shape[-2:]
        down, right = -h % self.patch, -w % self.patch
        if down or right:
            mode = "reflect" if down < h and right < w else "replicate"
            x = F.pad(x, (0, right, 0, down), mode)
        out = self.upscale(x)[..., : h * self.scale, : w * self.scale]
        return out.reshape(*shape[:-3], *out.shape[-3:])

    def training_step(self, low: Tensor, high: Tensor) -> StepResult:
        """See `upframe.systems.training_step`."""
        return StepResult(self(low), high)

    def upscale(self, x: Tensor) -> Tensor:
        """The network without padding.

        Args:
            x: (B, 3, H, W), RGB in [0, 1], H and W multiples of the patch.

        Returns:
            (B, 3, scale * H, scale * W), not clipped.
        """
        shallow = self.sft(x)
        deep = self.conv_after_body(self.UFONE(shallow))
        out: Tensor = self.upsample(deep + shallow)
        if self.residual:
            out = out + F.interpolate(
                x, scale_factor=float(self.scale), mode="bilinear", align_corners=False
            )
        return out
