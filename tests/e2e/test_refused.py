"""Inputs that are refused, or not: encrypted, cut off, changing."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path

import av
import pytest

import upframe
from e2e_support import FAST, assert_complains, leftovers, upscale
from media_factory import Audio, describe, truncate, write_images

QUICK = ("--model", FAST, "--scale", "2")
KEY = {
    "encryption_scheme": "cenc-aes-ctr",
    "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb",
    "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
}


# ---- encrypted


@pytest.mark.parametrize("movflags", ["faststart", "frag_keyframe+empty_moov"])
def test_an_encrypted_video_is_called_that(cli, clip, box, movflags):
    path = clip(frames=30, container_options={**KEY, "movflags": movflags})
    ran = cli(path, "-o", box / "out.mp4", *QUICK, "--dry-run")
    assert_complains(ran, "encrypted", "in.mp4")
    ran = cli(path, "-o", box / "out.mp4", *QUICK)
    assert_complains(ran, "encrypted", "in.mp4")
    assert leftovers(box) == []


def test_encrypted_sound_beside_a_plain_video(cli, clip, tmp_path, box):
    plain = clip("plain.mp4", frames=25)
    locked = clip("locked.mp4", frames=25, audio=[Audio()], container_options=KEY)
    path = tmp_path / "in.mkv"
    with (
        av.open(str(plain)) as one,
        av.open(str(locked)) as two,
        av.open(str(path), "w") as out,
    ):
        streams = [one.streams.video[0], two.streams.audio[0]]
        targets = [out.add_stream_from_template(s, opaque=True) for s in streams]
        for source, stream, target in zip((one, two), streams, targets, strict=True):
            for packet in source.demux(stream):
                if packet.size:
                    packet.stream = target
                    out.mux(packet)
    # Matroska written like this has lost the mark, but its sound does not decode.
    upscale(path, box / "out.mkv")
    assert describe(box / "out.mkv").numbers == list(range(25))


def test_frames_that_mostly_do_not_decode_are_refused(cli, clip, box):
    def spoil(index, packet):
        if index < 3:
            return packet
        bad = av.Packet(bytes((7 * i + index) % 256 for i in range(packet.size)))
        bad.stream, bad.time_base = packet.stream, packet.time_base
        bad.pts, bad.dts = packet.pts, packet.dts
        return bad

    path = clip("in.mkv", frames=40, codec="ffv1", mangle=spoil)
    ran = cli(path, "-o", box / "out.mkv", *QUICK)
    assert_complains(ran, "in.mkv", "decode")
    assert leftovers(box) == []


def test_a_recording_that_begins_between_keyframes_is_taken(clip, box):
    path = clip(
        "in.ts",
        frames=60,
        codec="libx264",
        options={"g": "40", "bf": "0", "sc_threshold": "0"},
        mangle=lambda index, packet: None if index < 5 else packet,
    )
    upscale(path, box / "out.mkv")
    assert describe(box / "out.mkv").numbers[-1] == 59


# ---- cut off


def with_duration(path: Path, seconds: float) -> Path:
    """Write another duration into a Matroska header."""
    data = bytearray(path.read_bytes())
    at = data.index(b"\x44\x89\x88") + 3
    import struct

    data[at : at + 8] = struct.pack(">d", seconds * 1000)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["in.mkv", "in.webm"])
def test_a_complete_file_with_a_wrong_duration_is_taken(clip, box, name):
    codec = "libvpx-vp9" if name.endswith("webm") else "libx264"
    path = with_duration(clip(name, frames=10, codec=codec), 12.5)
    report = upscale(path, box / "out.mkv")
    assert describe(box / "out.mkv").numbers == list(range(10))
    assert any("header is wrong" in w for w in report.warnings)


def test_one_frame_of_webm_is_taken(clip, box):
    path = clip("in.webm", frames=1, codec="libvpx-vp9")
    upscale(with_duration(path, 1.0), box / "out.webm")
    assert describe(box / "out.webm").numbers == [0]


def test_asf_counts_its_preroll(clip, box):
    path = clip("in.wmv", frames=25, codec="wmv2", options={"bf": "0"})
    data = bytearray(path.read_bytes())
    at = data.index(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"))
    play = int.from_bytes(data[at + 64 : at + 72], "little")
    data[at + 64 : at + 72] = (play + 3 * 10**7).to_bytes(8, "little")
    path.write_bytes(data)
    report = upscale(path, box / "out.mkv")
    assert describe(box / "out.mkv").numbers == list(range(25))
    assert any("header is wrong" in w for w in report.warnings)


@pytest.mark.parametrize("keep", [0.5, 0.9])
@pytest.mark.parametrize("name", ["in.mkv", "in.mov", "in.avi"])
def test_the_advice_for_a_cut_off_file_takes_all_that_is_there(
    cli, clip, tmp_path, box, name, keep
):
    what = {
        "in.mkv": {"codec": "ffv1"},
        "in.mov": {
            "options": {"g": "1", "bf": "0"},
            "container_options": {"movflags": "faststart"},
        },
        "in.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    }[name]
    whole = clip(name, frames=50, **what)
    path = truncate(whole, tmp_path / f"cut-{name}", keep)
    ran = cli(path, "-o", box / "out.mkv", *QUICK, "--dry-run")
    assert_complains(ran, "cut off", "--duration")
    advice = re.search(r"--duration (\d+\.\d+)", ran.err)[1]
    assert float(advice) > 0
    upscale(path, box / "out.mkv", duration=float(advice))
    numbers = describe(box / "out.mkv").numbers
    with av.open(str(path)) as source:
        there = sum(1 for p in source.demux(video=0) if p.size)
    assert there - 1 <= len(numbers) <= there
    assert numbers[:-1] == list(range(len(numbers) - 1))


def test_only_the_end_of_the_index_is_missing(clip, tmp_path, box):
    whole = clip("in.mkv", frames=25, codec="ffv1")
    path = tmp_path / "cut.mkv"
    path.write_bytes(whole.read_bytes()[:-8])
    report = upscale(path, box / "out.mkv")
    assert describe(box / "out.mkv").numbers == list(range(25))
    assert any("8 bytes are missing" in w for w in report.warnings)


# ---- inputs that change


class Meddler:
    """Changes a file when the first frame is done."""

    def __init__(self, change) -> None:
        self.change, self.lock = change, threading.Lock()

    def __call__(self, progress) -> None:
        with self.lock:
            if self.change:
                self.change()
                self.change = None


def test_an_input_that_grows_is_an_error(clip, box):
    path = clip("in.ts", codec="mpeg2video", frames=60)
    data = path.read_bytes()

    def grow():
        with path.open("ab") as file:
            file.write(data[:1880])

    with pytest.raises(upframe.UpframeError, match="changed during the run"):
        upscale(path, box / "out.mkv", progress=Meddler(grow))
    assert not (box / "out.mkv").exists()


def test_an_input_that_is_cut_short_is_an_error(clip, box):
    path = clip("in.mkv", codec="ffv1", frames=90, size=(160, 120))
    with pytest.raises(upframe.UpframeError, match=r"changed during the run"):
        upscale(
            path,
            box / "out.mkv",
            chunk_frames=8,
            progress=Meddler(lambda: os.truncate(path, 200_000)),
        )
    assert not (box / "out.mkv").exists()


def test_an_image_that_changes_is_an_error(tmp_path, box):
    folder = write_images(tmp_path / "in", frames=90)
    last = folder / "frame_0089.png"
    with pytest.raises(upframe.UpframeError, match="changed during the run"):
        upscale(
            folder,
            box / "out.mkv",
            chunk_frames=8,
            progress=Meddler(lambda: last.write_bytes(last.read_bytes() + b"\0")),
        )
