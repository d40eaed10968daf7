"""Metrics of time, each of two consecutive frames: tOF and the warping error E*warp.

tOF is that of Chu et al., "Learning Temporal Coherence via Self-Supervision for
GAN-based Video Generation" (TecoGAN, ACM TOG 2020): how far the motion of the result is
from that of the ground truth. As in the authors' code, that is the mean length of the
difference of the two flows; unlike there, no border is left out.

The warping error is that of Lai et al., "Learning Blind Video Temporal Consistency"
(ECCV 2018), with the masks of occlusions and of edges of motion of their code, which
follow Ruder et al. (GCPR 2016) and compare squares of lengths. Papers on video
super-resolution print it times 1000 as E*warp. The flow differs from paper to paper
(FlowNet2, RAFT, ...), so numbers compare only where the flow is the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from upframe.metrics.flow import Plane, farneback, positions, sample


def flow_difference(flow: Plane, reference: Plane) -> float:
    """tOF of two flows.

    Args:
        flow: (H, W, 2) of the result, in pixels.
        reference: (H, W, 2) of the ground truth.

    Returns:
        Mean length of the difference, in pixels.
    """
    return float(np.mean(np.hypot(*np.moveaxis(flow - reference, -1, 0))))


def tof(
    before: NDArray[np.uint8],
    result: NDArray[np.uint8],
    reference_before: NDArray[np.uint8],
    reference: NDArray[np.uint8],
) -> float:
    """Difference of motion between a result and its ground truth.

    Args:
        before: frame t - 1 of the result, (H, W, 3) RGB uint8.
        result: frame t.
        reference_before: frame t - 1 of the ground truth, the same size.
        reference: frame t.

    Returns:
        Pixels; 0 for equal clips.
    """
    return flow_difference(
        farneback(before, result), farneback(reference_before, reference)
    )


def visible(forward: Plane, backward: Plane) -> NDArray[np.bool_]:
    """Pixels whose partner in the other frame is known.

    Args:
        forward: (H, W, 2), from this frame to the other, in pixels.
        backward: from the other frame to this one.

    Returns:
        (H, W). False where the square of the distance between the two flows is above
        0.5 and a hundredth of their squares, where motion has an edge (squared gradient
        of the flow above 0.002 and a hundredth of its square), and where the flow
        leaves the frame.
    """
    across, down = positions(*forward.shape[:2])
    back, inside = sample(backward, across + forward[..., 0], down + forward[..., 1])
    length, length_back = np.square(forward).sum(-1), np.square(back).sum(-1)
    apart = np.square(forward + back).sum(-1)
    occluded = apart > 0.01 * (length + length_back) + 0.5
    gradient = np.zeros(forward.shape[:2], np.float32)
    gradient[:, :-1] += np.square(np.diff(forward, axis=1)).sum(-1)
    gradient[:-1] += np.square(np.diff(forward, axis=0)).sum(-1)
    edge = gradient > 0.01 * length + 0.002
    return np.asarray(inside & ~occluded & ~edge)


def warping_error(
    before: NDArray[np.uint8],
    result: NDArray[np.uint8],
    forward: Plane,
    backward: Plane,
) -> float:
    """E*warp of two consecutive frames.

    Args:
        before: frame t - 1 of the result, (H, W, 3) RGB uint8.
        result: frame t.
        forward: (H, W, 2) flow from frame t - 1 to t, in pixels, of the ground truth or
            of the result.
        backward: from frame t to t - 1.

    Returns:
        1000 times the mean squared difference, in [0, 1]², between frame t - 1 and
        frame t warped to it, over the visible pixels and the channels; NaN where
        nothing is visible.

    Raises:
        ValueError: if sizes differ.
    """
    if before.shape != result.shape or before.shape[:2] != forward.shape[:2]:
        raise ValueError(
            f"sizes differ: {before.shape}, {result.shape} and flow {forward.shape}"
        )
    mask = visible(forward, backward)
    if not mask.any():
        return float("nan")
    across, down = positions(*forward.shape[:2])
    frame = result.astype(np.float32) / np.float32(255)
    warped, _ = sample(frame, across + forward[..., 0], down + forward[..., 1])
    error = np.square(warped - before.astype(np.float32) / np.float32(255))
    return float(1e3 * np.mean(error[mask], dtype=np.float64))
