"""What skipping dropped tokens saves in MIA-VSR: time against the dense path, one run.

    python benchmarks/mia_sparsity.py [--embed 60] [--depths 2 2] [--size 96x96]

A network with random weights restores a moving and a still clip. The dense path
computes every token and overwrites the dropped ones, the sparse path skips them. Ratios
are given for the four branches alone and for the whole network, with the flow network
and the reconstruction, which no mask can shorten. Rounds alternate over the paths; the
median of each is taken. Prints JSON; on a shared machine only the ratios mean anything.

In the still clip all frames are equal, flow is zero, and the masks' threshold is a
little above zero, as training would put it: what has not changed is dropped.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import torch
from torch import Tensor, nn

from upframe.systems.mia_vsr import MIAVSR


class NoMotion(nn.Module):
    """Stands for the flow network where the branches alone are timed."""

    def forward(self, reference: Tensor, other: Tensor) -> Tensor:
        return torch.zeros_like(torch.minimum(reference, other)[:, :2])


def network(embed: int, depths: list[int], heads: int, mid: int) -> MIAVSR:
    torch.manual_seed(0)
    made = MIAVSR(mid, embed, depths, [heads] * len(depths)).eval()
    for name, parameter in made.named_parameters():
        if name.endswith("predmask.rnn.bias"):
            nn.init.constant_(parameter, -1e-3)
        elif name.endswith("predmask.rnn.weight"):
            nn.init.uniform_(parameter, 0, 1)
        elif "spynet" in name and name.endswith("8.bias"):
            nn.init.zeros_(parameter)
        elif "spynet" in name and "basic_module.8" in name:
            # random weights know no motion; none is the honest guess
            nn.init.zeros_(parameter)
    return made


def moving(frames: int, h: int, w: int) -> Tensor:
    """A texture that slides by a pixel per frame, with a still left half."""
    torch.manual_seed(1)
    picture = torch.rand(3, h, w + frames)
    clip = torch.stack([picture[..., i : i + w] for i in range(frames)])
    clip[..., : w // 2] = picture[..., : w // 2]
    return clip[None]


def branches(made: MIAVSR, clip: Tensor) -> tuple[float, float]:
    """Seconds of everything but flow and reconstruction, and the mean keep ratio."""
    flow, made.spynet = made.spynet, NoMotion()
    began = time.perf_counter()
    _, shares = made.features(clip)
    spent = time.perf_counter() - began
    made.spynet = flow
    return spent, shares.mean().item()


def rest(made: MIAVSR, clip: Tensor) -> float:
    """Seconds of flow and reconstruction."""
    _, t, _, h, w = clip.shape
    maps = torch.rand(1, made.conv_first.out_channels, h, w)
    began = time.perf_counter()
    made._flows(clip)
    for i in range(t):
        made._reconstruct(maps, clip[:, i])
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--embed", type=int, default=60)
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--mid", type=int, default=32)
    parser.add_argument("--depths", type=int, nargs="+", default=[2, 2])
    parser.add_argument("--size", default="96x96", help="width x height")
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    w, h = (int(side) for side in arguments.size.split("x"))
    made = network(arguments.embed, arguments.depths, arguments.heads, arguments.mid)
    clip = moving(arguments.frames, h, w)
    still = clip[:, :1].expand(-1, arguments.frames, -1, -1, -1).contiguous()
    cases: list[tuple[str, bool, float | None, Tensor]] = [
        ("dense", False, None, clip),
        ("sparse, keep 1.0", True, 1.0, clip),
        ("sparse, keep 0.5", True, 0.5, clip),
        ("sparse, keep 0.1", True, 0.1, clip),
        ("sparse, moving half", True, None, clip),
        ("sparse, still", True, None, still),
    ]
    times: dict[str, list[float]] = {name: [] for name, *_ in cases}
    fixed: list[float] = []
    kept: dict[str, float] = {}
    with torch.inference_mode():
        for turn in range(arguments.rounds + 1):
            for name, skips, ratio, frames in cases:
                made.skip_dropped, made.keep_ratio = skips, ratio
                spent, kept[name] = branches(made, frames)
                if turn:  # the first turn warms up
                    times[name].append(spent)
            if turn:
                fixed.append(rest(made, clip))
    median = {name: statistics.median(spent) for name, spent in times.items()}
    outside = statistics.median(fixed)
    dense, full = median["dense"], median["sparse, keep 1.0"]
    rows = [
        {
            "path": name,
            "kept_after_the_first_frame": round(kept[name], 3),
            "branches_faster_than_dense": round(dense / spent, 2),
            "branches_faster_than_keep_1": round(full / spent, 2),
            "network_faster_than_dense": round(
                (dense + outside) / (spent + outside), 2
            ),
        }
        for name, spent in median.items()
    ]
    print(
        json.dumps(
            {
                "arguments": vars(arguments),
                "seconds_of_flow_and_reconstruction_over_dense_branches": round(
                    outside / dense, 2
                ),
                "rows": rows,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
