"""The diffusion systems through files: chunks, seeds, kills, what chunks leave."""

from __future__ import annotations

import json
import subprocess
import time

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

import nano_parts as parts  # noqa: E402
import upframe  # noqa: E402
from e2e_support import (  # noqa: E402
    InProcess,
    assert_complains,
    command,
    environment,
    upscale,
)
from media_factory import write_clip, write_images  # noqa: E402
from upframe.errors import ResumeError, UsageError  # noqa: E402
from upframe.evaluation.evaluate import evaluate  # noqa: E402
from upframe.media.source import FileSource  # noqa: E402

SYSTEMS = tuple(parts.CONFIGS)
FRAMES, CUT = 20, 13


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    path = tmp_path_factory.mktemp("movie") / "in.mp4"
    return write_clip(path, frames=FRAMES, size=(32, 24), scenes=(CUT,))


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nano")
    return {name: parts.save(folder, name) for name in SYSTEMS}


@pytest.fixture(scope="module")
def run(movie, shelf):
    def upscaled(name, target, **options):
        given = {"scale": None, "codec": "ffv1", "threads": 1, "chunk_frames": 4}
        return upscale(movie, target, model=str(shelf[name]), **{**given, **options})

    return upscaled


@pytest.fixture(scope="module")
def reference(run, tmp_path_factory):
    """Files of uninterrupted runs, made when they are asked for."""
    folder, made = tmp_path_factory.mktemp("reference"), {}

    def whole(name):
        if name not in made:
            run(name, folder / f"{name}.mkv")
            made[name] = folder / f"{name}.mkv"
        return made[name]

    return whole


def pixels(path):
    source = FileSource(path)
    made = np.stack([frame.pixels for frame in source]).astype(int)
    source.close()
    return made


def work_folder(target):
    return target.parent / f".{target.name}.upframe"


class StoppedError(Exception):
    """A run that ends in the middle."""


def stop_after(frames):
    """A progress callback that ends the run."""

    def progress(at):
        if at.done >= frames:
            raise StoppedError

    return progress


@pytest.mark.parametrize("name", SYSTEMS)
def test_chunks_make_the_same_film_as_one_run(name, reference, run, tmp_path):
    report = run(name, tmp_path / "out.mkv", chunk_frames=60)
    assert report.frames_out == FRAMES
    assert report.runtime == "torch"
    one, chunks = pixels(tmp_path / "out.mkv"), pixels(reference(name))
    assert one.shape == chunks.shape == (FRAMES, 96, 128, 3)
    difference = np.abs(one - chunks)
    if name == "oasis":  # its windows of frames lie otherwise
        assert difference.mean() < 6
    else:
        assert difference.max() <= 2
    assert one[CUT].mean() != one[CUT - 1].mean()


@pytest.mark.parametrize("name", SYSTEMS)
def test_stopped_and_resumed_is_the_same_to_the_bit(name, reference, run, tmp_path):
    target = tmp_path / "out.mkv"
    with pytest.raises(StoppedError):
        run(name, target, progress=stop_after(9))
    left = sorted(path.name for path in work_folder(target).glob("*.npz"))
    assert len(left) == (name in ("ultravsr", "liftvsr", "patchscaler"))
    report = run(name, target)
    assert any("earlier run" in warning for warning in report.warnings)
    assert target.read_bytes() == reference(name).read_bytes()


def test_killed_and_repeated(movie, shelf, reference, run, tmp_path):
    target = tmp_path / "out.mkv"
    line = command(
        movie, "-o", target, "--model", shelf["liftvsr"], "--chunk-frames", "4",
        "-c:v", "ffv1", "--threads", "1",
    )  # fmt: skip
    journal = work_folder(target) / "journal.jsonl"
    process = subprocess.Popen(
        line, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < deadline:
        if journal.exists() and journal.read_text().count("\n") >= 2:
            break
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert not target.exists()
    states = [json.loads(text)["state"] for text in journal.read_text().splitlines()]
    assert states[1]
    run("liftvsr", target)
    assert target.read_bytes() == reference("liftvsr").read_bytes()


@pytest.mark.parametrize("damage", ["lost", "changed"])
def test_what_a_chunk_left_is_checked(damage, reference, run, tmp_path):
    target = tmp_path / "out.mkv"
    with pytest.raises(StoppedError):
        run("liftvsr", target, progress=stop_after(9))
    (state,) = work_folder(target).glob("*.npz")
    if damage == "lost":
        state.unlink()
    else:
        state.write_bytes(state.read_bytes()[:-1] + b"x")
    report = run("liftvsr", target)
    # nothing can go on from there, so everything is done again
    assert not any("earlier run" in warning for warning in report.warnings)
    assert target.read_bytes() == reference("liftvsr").read_bytes()


def test_seeds_make_films_and_belong_to_a_run(reference, run, tmp_path):
    target = tmp_path / "out.mkv"
    with pytest.raises(StoppedError):
        run("oasis", target, seed=1, progress=stop_after(9))
    with pytest.raises(ResumeError, match="seed was 1, now 0"):
        run("oasis", target)
    run("oasis", target, seed=1)
    other = pixels(target)
    assert np.abs(other - pixels(reference("oasis"))).mean() > 0.5
    run("oasis", tmp_path / "zero.mkv", seed=0)
    assert (tmp_path / "zero.mkv").read_bytes() == reference("oasis").read_bytes()


def test_segments_are_not_cut(run, tmp_path, reference):
    run("liftvsr", tmp_path / "out.mkv", chunk_frames=3)  # rounded up to 4
    assert (tmp_path / "out.mkv").read_bytes() == reference("liftvsr").read_bytes()


def test_what_cannot_be_cut_is_refused_before_it_starts(run, tmp_path):
    with pytest.raises(UsageError, match=r"needs about .* cannot cut"):
        run("oasis", tmp_path / "out.mkv", memory="100MB")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", SYSTEMS)
def test_one_tiny_frame(name, shelf, tmp_path):
    folder = write_images(tmp_path / "in", frames=1, size=(5, 3))
    upscale(folder, tmp_path / "out", model=str(shelf[name]), scale=None, threads=1)
    (picture,) = (tmp_path / "out").iterdir()
    assert picture.suffix == ".png"


def test_frames_from_a_program(shelf, movie):
    frames = pixels(movie).astype(np.uint8)[:CUT]
    made = {}
    for seed in (0, 1):
        with upframe.Upscaler(
            model=str(shelf["liftvsr"]), seed=seed, threads=1
        ) as upscaler:
            out = [picture for frame in frames for picture in upscaler.push(frame)]
            made[seed] = np.stack(out + upscaler.flush())
    assert made[0].shape == (CUT, 96, 128, 3)
    assert not np.array_equal(made[0], made[1])
    clip = torch.from_numpy(frames).permute(0, 3, 1, 2)[None] / 255
    with torch.no_grad():
        whole = upframe.load(shelf["liftvsr"])(clip)[0].permute(0, 2, 3, 1) * 255
    assert np.abs(made[0] - whole.numpy()).max() <= 1


def test_scores_do_not_depend_on_chunks(shelf, tmp_path):
    write_images(tmp_path / "gt" / "clip", frames=10, size=(64, 48))
    scores = [
        evaluate(
            model=str(shelf["liftvsr"]),
            data=tmp_path,
            protocol="vid4",
            metrics=["psnr"],
            chunk_frames=length,
            threads=1,
        ).mean["psnr"]
        for length in (3, 100)
    ]
    assert scores[0] == scores[1]


def test_the_command_line(shelf, movie, tmp_path, monkeypatch, capsys):
    line = InProcess(monkeypatch, capsys)
    shown = line("models", "show", shelf["patchscaler"], "--json")
    assert json.loads(shown.out)["system"] == "patchscaler"
    done = line(
        movie, "-o", tmp_path / "a.mkv", "--model", shelf["patchscaler"], "--seed", 3,
        "--keep-ratio", "0.4", "--duration", "0.1", "--threads", 1, "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    refused = line(movie, "-o", tmp_path / "b.mkv", "--model", "bicubic", "--seed", 3)
    assert_complains(refused, "uses no noise", code=2)
