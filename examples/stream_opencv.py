"""Upscale what a camera sees, or a video file, frame by frame with OpenCV.

    python examples/stream_opencv.py 0                  # the first camera, in a window
    python examples/stream_opencv.py clip.mp4 -o large.mp4

Memory does not grow with the length of the stream. OpenCV's frames are BGR.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

import upframe


def captured(source: str) -> Iterator[np.ndarray]:
    """RGB frames of a camera (a number) or a file."""
    capture = cv2.VideoCapture(int(source) if source.isdigit() else source)
    if not capture.isOpened():
        raise SystemExit(f"OpenCV cannot open {source}.")
    while True:
        found, frame = capture.read()
        if not found:
            break
        yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    capture.release()


def upscaled(
    frames: Iterator[np.ndarray], upscaler: upframe.Upscaler
) -> Iterator[np.ndarray]:
    """One result for each frame; the model looks ahead by a frame."""
    for frame in frames:
        yield from upscaler.push(frame)
    yield from upscaler.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="number of a camera, or a video file")
    parser.add_argument("-o", "--output", type=Path, help="a window if left out")
    parser.add_argument("--preset", default="fast")
    args = parser.parse_args()
    writer = None
    count = 0
    with upframe.Upscaler(preset=args.preset) as upscaler:
        for frame in upscaled(captured(args.source), upscaler):
            count += 1
            pixels = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
            if args.output is None:
                cv2.imshow("upframe (q ends it)", pixels)
                if cv2.waitKey(1) == ord("q"):
                    break
                continue
            if writer is None:
                code = cv2.VideoWriter.fourcc(*"mp4v")
                size = (pixels.shape[1], pixels.shape[0])
                writer = cv2.VideoWriter(str(args.output), code, 25.0, size)
            writer.write(pixels)
    if writer is not None:
        writer.release()
    print(f"{count} frames")


if __name__ == "__main__":
    main()
