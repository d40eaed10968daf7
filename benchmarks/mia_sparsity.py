"""What masks save in MIA-VSR: time against the same network dense, in one run.

    python benchmarks/mia_sparsity.py [--depths 6 6 6 6] [--size 64x64] [--frames 8]

The whole network, with flow and reconstruction, which no mask shortens where things
move. Dense is the fastest way to compute every token of every frame (``use_mask``
off). Each path runs the clip and its first two frames, in turns; the difference is the
time of further frames, for which a frame before is remembered: in a clip, each of the
four branches computes the first frame that it visits whole. A ratio is taken within
each round; the table has the median of the rounds, by the clock and by CPU time
time of all threads, which a machine shared with others disturbs less. Prints JSON.

Weights are random: no flow, and masks whose score is the amount of change, with the
threshold a little above zero, as training would put it: what has not changed is
dropped. In the moving clip the left half stands still, the right half slides by a pixel
per frame; in the still clip all frames are equal. PSNR is that of the output against
the dense output, peak 1, over the whole clip.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from typing import NamedTuple

import torch
from torch import Tensor, nn

from upframe.systems.mia_vsr.model import MIAVSR

_SHORT = 2
"""Frames of the short clip."""


class Case(NamedTuple):
    """One way to run the network."""

    name: str
    masks: bool
    keep_ratio: float | None
    clip: Tensor


class Spent(NamedTuple):
    """Seconds of one run."""

    clock: float
    cpu: float


def network(embed: int, depths: list[int], heads: int, mid: int) -> MIAVSR:
    torch.manual_seed(0)
    made = MIAVSR(mid, embed, depths, [heads] * len(depths)).eval()
    for name, parameter in made.named_parameters():
        if name.endswith("predmask.rnn.bias"):
            nn.init.constant_(parameter, -1e-3)
        elif name.endswith("predmask.rnn.weight"):
            nn.init.uniform_(parameter, 0, 1)
        elif "spynet" in name and "basic_module.8" in name:
            # random weights know no motion; none is the honest guess
            nn.init.zeros_(parameter)
    return made


def moving(frames: int, h: int, w: int) -> Tensor:
    """A texture that slides by a pixel per frame, with a still left half."""
    torch.manual_seed(1)
    image = torch.rand(3, h, w + frames)
    clip = torch.stack([image[..., i : i + w] for i in range(frames)])
    clip[..., : w // 2] = image[..., : w // 2]
    return clip[None]


def run(made: MIAVSR, case: Case, frames: int) -> tuple[Spent, Tensor, Tensor]:
    """Time of the first frames of the clip, what came out, and the keep ratios."""
    made.use_mask, made.keep_ratio = case.masks, case.keep_ratio
    clock, cpu = time.perf_counter(), time.process_time()
    frames_out, shares = made.restore(case.clip[:, :frames])
    return (
        Spent(time.perf_counter() - clock, time.process_time() - cpu),
        frames_out,
        shares,
    )


def psnr(actual: Tensor, wanted: Tensor) -> float:
    error = (actual.clamp(0, 1) - wanted.clamp(0, 1)).square().mean().item()
    return round(-10 * math.log10(error), 1) if error else math.inf


def ratio(dense: list[Spent], path: list[Spent], by: str) -> float:
    each = [getattr(d, by) / getattr(p, by) for d, p in zip(dense, path, strict=True)]
    return round(statistics.median(each), 2)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--embed", type=int, default=120)
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--mid", type=int, default=64)
    parser.add_argument("--depths", type=int, nargs="+", default=[6, 6, 6, 6])
    parser.add_argument("--size", default="64x64", help="width x height")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    w, h = (int(side) for side in arguments.size.split("x"))
    made = network(arguments.embed, arguments.depths, arguments.heads, arguments.mid)
    clip = moving(arguments.frames, h, w)
    still = clip[:, :1].expand(-1, arguments.frames, -1, -1, -1).contiguous()
    cases = [
        Case("dense", False, None, clip),
        Case("keep 1.0", True, 1.0, clip),
        Case("keep 0.5", True, 0.5, clip),
        Case("keep 0.1", True, 0.1, clip),
        Case("threshold, half of the image still", True, None, clip),
        Case("threshold, still scene", True, None, still),
    ]
    whole: dict[str, list[Spent]] = {case.name: [] for case in cases}
    further: dict[str, list[Spent]] = {case.name: [] for case in cases}
    rows: dict[str, dict[str, object]] = {}
    with torch.inference_mode():
        references = {
            id(frames): run(made, Case("dense", False, None, frames), len(frames[0]))[1]
            for frames in (clip, still)
        }
        for case in cases:
            run(made, case, _SHORT)  # warms up
        for turn in range(arguments.rounds):
            for case in cases:
                short, *_ = run(made, case, _SHORT)
                full, out, shares = run(made, case, arguments.frames)
                whole[case.name].append(full)
                further[case.name].append(
                    Spent(full.clock - short.clock, full.cpu - short.cpu)
                )
                if not turn:
                    rows[case.name] = {
                        "computed_after_the_first_visit": round(
                            shares.mean().item() if len(shares) else 1.0, 3
                        ),
                        "psnr_to_dense": psnr(out, references[id(case.clip)]),
                    }
    for name, row in rows.items():
        for label, times in (("clip", whole), ("further_frames", further)):
            for by in ("clock", "cpu"):
                row[f"{label}_{by}"] = ratio(times["dense"], times[name], by)
    print(
        json.dumps(
            {
                "arguments": vars(arguments),
                "times_as_fast_as_dense": rows,
                "seconds": {
                    name: [s.clock for s in each] for name, each in whole.items()
                },
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
