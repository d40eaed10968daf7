"""Peak memory against the length of the video: it must not grow.

    python benchmarks/memory.py [--model ditn-s] [--frames 300 3000] [--size 96x64]

Each run is a process of its own; what it reports is its own peak resident memory.
The clip is a corner of the demo clip, so that the long run takes minutes only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from clips import looped_demo


def peak(clip: Path, output: Path, model: str) -> float:
    """Peak resident memory of one run in MB."""
    done = subprocess.run(
        [
            sys.executable, "-m", "upframe", str(clip), "-o", str(output), "-y",
            "--fresh", "--json", "--model", model, "--memory", "2GiB",
        ],
        check=True,
        capture_output=True,
        text=True,
    )  # fmt: skip
    return float(json.loads(done.stdout.splitlines()[-1])["peak_rss_mb"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="ditn-s")
    parser.add_argument("--frames", type=int, nargs=2, default=[300, 3000])
    parser.add_argument("--size", default="96x64", help="width x height")
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peaks = {
            count: peak(
                looped_demo(count, folder, (width, height)),
                folder / "out.mp4",
                arguments.model,
            )
            for count in arguments.frames
        }
    short, long = (peaks[count] for count in arguments.frames)
    print(
        json.dumps(
            {
                "model": arguments.model,
                "peak_mb": {str(count): value for count, value in peaks.items()},
                "ratio": round(long / short, 4),
            }
        )
    )


if __name__ == "__main__":
    main()
