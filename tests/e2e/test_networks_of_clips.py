"""Networks of clips through files: chunks, kills, keep ratios, pictures of masks."""

from __future__ import annotations

import subprocess
import time

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from e2e_support import (  # noqa: E402
    InProcess,
    assert_same_pictures,
    command,
    environment,
    upscale,
)
from lite_networks import lite  # noqa: E402
from media_factory import describe, write_clip  # noqa: E402
from upframe.media.source import FileSource  # noqa: E402
from upframe.systems.mia_vsr.model import MIAVSR  # noqa: E402

FRAMES = 30


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    path = tmp_path_factory.mktemp("movie") / "in.mp4"
    return write_clip(path, frames=FRAMES, size=(64, 48), scenes=(24,))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "small.pth"
    torch.save(lite(use_mask=True).state_dict(), path)
    return path


def _pixels(path):
    source = FileSource(path)
    pixels = np.stack([frame.pixels for frame in source])
    source.close()
    return pixels.astype(float)


def _psnr(one, other):
    return 10 * np.log10(255**2 / max(1e-9, np.square(one - other).mean()))


def test_chunks_with_context_are_the_whole_clip(movie, tmp_path):
    common = {"model": "mia-vsr-xs", "scale": None, "codec": "ffv1", "threads": 1}
    upscale(movie, tmp_path / "whole.mkv", **common)
    upscale(movie, tmp_path / "chunks.mkv", chunk_frames=8, **common)
    whole, chunks = _pixels(tmp_path / "whole.mkv"), _pixels(tmp_path / "chunks.mkv")
    assert whole.shape == chunks.shape == (FRAMES, 192, 256, 3)
    # the first two chunks have all frames before them as context
    assert np.array_equal(whole[:16], chunks[:16])
    assert _psnr(whole[16:], chunks[16:]) > 50


def test_killed_and_repeated(movie, weights, tmp_path):
    whole, target = tmp_path / "whole.mkv", tmp_path / "out.mkv"
    upscale(movie, whole, model=str(weights), scale=None, chunk_frames=5,
            codec="ffv1", threads=1, keep_ratio=0.5)  # fmt: skip
    parts = command(
        movie, "-o", target, "--model", weights, "--chunk-frames", "5",
        "-c:v", "ffv1", "--threads", "1", "--keep-ratio", "0.5",
    )  # fmt: skip
    journal = tmp_path / ".out.mkv.upframe" / "journal.jsonl"
    process = subprocess.Popen(
        parts, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if journal.exists() and journal.read_text().count("\n") >= 2:
            break
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert journal.exists()
    assert not target.exists()
    other = subprocess.run(
        [*parts[: parts.index("--keep-ratio")], "--keep-ratio", "0.4"],
        capture_output=True, timeout=120, env=environment(), check=False,
    )  # fmt: skip
    assert other.returncode == 1
    assert b"keep ratio" in other.stderr
    again = subprocess.run(
        parts, capture_output=True, timeout=120, env=environment(), check=False
    )
    assert again.returncode == 0, again.stderr.decode()
    assert b"earlier" in again.stderr
    assert_same_pictures(describe(target), describe(whole))


def test_a_network_of_whole_chunks(movie, tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "mia.pth"
    torch.save(MIAVSR(8, 12, depths=(1,), heads=(2,)).state_dict(), path)
    report = upscale(
        movie, tmp_path / "out.mkv", model=str(path), scale=None, duration=0.2,
        keep_ratio=0.3, threads=1,
    )  # fmt: skip
    assert report.frames_in == report.frames_out
    assert report.runtime == "torch"


def test_pictures_of_masks(movie, weights, tmp_path, monkeypatch, capsys):
    run = InProcess(monkeypatch, capsys)
    masks = tmp_path / "masks"
    masks.mkdir()
    (masks / "mine.txt").write_text("stays")
    ran = run(
        movie, "-o", tmp_path / "out.mp4", "--model", weights, "--keep-ratio", "0.25",
        "--mask-images", masks, "--chunk-frames", "10", "--duration", "0.5",
        "--threads", "1", "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    count = ran.done["frames_out"]
    names = [f"mask-{i:06d}.png" for i in range(count)]
    assert sorted(p.name for p in masks.iterdir()) == [*names, "mine.txt"]
    coloured = []
    for name in names:
        pixels = next(iter(FileSource(masks / name))).pixels.astype(int)
        assert pixels.shape == (48, 64, 3)
        coloured.append((np.ptp(pixels, axis=2) > 0).mean())
    assert coloured[0] > 0.9  # all but what is black or white already
    assert max(coloured[1:]) <= 0.25
    assert max(coloured[1:]) > 0


def test_models_without_masks_say_so(movie, tmp_path, monkeypatch, capsys):
    run = InProcess(monkeypatch, capsys)
    for extra, word in (
        (("--keep-ratio", "0.5"), "keep ratio"),
        (("--mask-images", tmp_path / "m"), "masks"),
    ):
        ran = run(movie, "-o", tmp_path / "o.mp4", "--model", "ditn-s", *extra)
        assert ran.code == 2
        assert word in ran.err
        assert "MIA-VSR" in ran.err
        assert not list(tmp_path.iterdir())
