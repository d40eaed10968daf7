"""Bad inputs and full disks: one clear sentence, and nothing half-made is left."""

from __future__ import annotations

import os
import resource
import struct
import subprocess
import zipfile
from fractions import Fraction
from pathlib import Path

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import upframe
from e2e_support import (
    FAST,
    assert_complains,
    command,
    environment,
    leftovers,
    upscale,
)
from media_factory import (
    Audio,
    Subtitle,
    corrupt,
    describe,
    truncate,
    write_clip,
    write_images,
    y4m_bytes,
)

QUICK = ("--model", FAST, "--scale", "2")


class Samples(dict):
    """Files by suffix, with a short name in hypothesis's reports."""

    def __repr__(self):
        return "samples"


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Small whole files by suffix."""
    folder = tmp_path_factory.mktemp("samples")
    millisecond = Fraction(1, 1000)
    small = {"frames": 10, "size": (48, 32)}
    files = {
        "mp4": write_clip(folder / "a.mp4", audio=[Audio()], **small).read_bytes(),
        "mkv": write_clip(
            folder / "a.mkv",
            codec="ffv1",
            audio=[Audio("flac")],
            subtitles=[Subtitle()],
            time_base=millisecond,
            **small,
        ).read_bytes(),
        "webm": write_clip(folder / "a.webm", codec="libvpx-vp9", **small).read_bytes(),
        "ts": write_clip(folder / "a.ts", audio=[Audio()], **small).read_bytes(),
        "gif": write_clip(
            folder / "a.gif", codec="gif", pix_fmt="rgb8", rate=10, **small
        ).read_bytes(),
        "y4m": y4m_bytes(frames=10),
    }
    return Samples(files)


# ---- no video


def _empty(folder: Path) -> Path:
    (folder / "bad.mp4").touch()
    return folder / "bad.mp4"


def _text(folder: Path) -> Path:
    (folder / "bad.mp4").write_text("Dear diary, this is no video.\n" * 40)
    return folder / "bad.mp4"


def _zip(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "bad.mkv", "w") as archive:
        archive.writestr("a.txt", "hello" * 100)
    return folder / "bad.mkv"


def _noise(folder: Path) -> Path:
    (folder / "bad.mp4").write_bytes(bytes((i * 97 + 13) % 256 for i in range(9000)))
    return folder / "bad.mp4"


def _missing(folder: Path) -> Path:
    return folder / "bad-is-missing.mp4"


def _no_pictures(folder: Path) -> Path:
    (folder / "bad").mkdir()
    (folder / "bad" / "readme.txt").write_text("nothing here")
    return folder / "bad"


def _empty_folder(folder: Path) -> Path:
    (folder / "bad").mkdir()
    return folder / "bad"


def _no_match(folder: Path) -> Path:
    return write_images(folder / "in", frames=2) / "bad%04d.png"


def _endless_link(folder: Path) -> Path:
    (folder / "bad.mp4").symlink_to(folder / "bad2.mp4")
    (folder / "bad2.mp4").symlink_to(folder / "bad.mp4")
    return folder / "bad.mp4"


@pytest.mark.parametrize(
    "make",
    [
        _empty,
        _text,
        _zip,
        _noise,
        _missing,
        _no_pictures,
        _empty_folder,
        _no_match,
        _endless_link,
    ],
)
def test_no_video(cli, tmp_path, box, make):
    path = make(tmp_path)
    ran = cli(path, "-o", box / "out.mp4", *QUICK)
    assert_complains(ran, "bad")
    assert leftovers(box) == []


def test_sound_without_video(cli, clip, tmp_path, box):
    whole = clip(audio=[Audio()])
    with av.open(str(whole)) as source, av.open(str(tmp_path / "s.m4a"), "w") as out:
        stream = out.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    ran = cli(tmp_path / "s.m4a", "-o", box / "out.mp4", *QUICK)
    assert_complains(ran, "no video")
    assert leftovers(box) == []


def test_video_with_no_frames(cli, clip, box):
    path = clip("in.mkv", mangle=lambda index, packet: None)
    ran = cli(path, "-o", box / "out.mp4", *QUICK)
    assert_complains(ran, "frame")
    assert leftovers(box) == []


def test_frames_that_do_not_decode(cli, clip, box):
    def spoil(index, packet):
        bad = av.Packet(bytes(len(bytes(packet))))
        bad.stream, bad.time_base = packet.stream, packet.time_base
        bad.pts, bad.dts = packet.pts, packet.dts
        return bad

    ran = cli(clip("in.mkv", mangle=spoil), "-o", box / "out.mp4", *QUICK)
    assert_complains(ran)
    assert leftovers(box) == []


# ---- damaged video


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
def test_mp4_that_was_cut_off(cli, clip, tmp_path, box, keep):
    path = truncate(clip(frames=30), tmp_path / "cut.mp4", keep)
    ran = cli(path, "-o", box / "out.mp4", *QUICK)
    assert_complains(ran, "cut.mp4")
    assert leftovers(box) == []


@pytest.mark.parametrize("suffix", ["mkv", "ts"])
@pytest.mark.parametrize("keep", [0.4, 0.7, 0.97])
def test_a_cut_off_file_is_never_silent(cli, clip, tmp_path, box, suffix, keep):
    codec = "ffv1" if suffix == "mkv" else "mpeg2video"
    whole = clip(f"in.{suffix}", frames=40, codec=codec, audio=[Audio()])
    path = truncate(whole, tmp_path / f"cut.{suffix}", keep)
    ran = cli(path, "-o", box / "out.mkv", *QUICK, "--json")
    if ran.code:
        assert_complains(ran, "cut")
        assert leftovers(box) == []
        return
    done = ran.done
    out = describe(box / "out.mkv")
    assert done["frames_out"] == len(out.frames)
    assert out.numbers == list(range(len(out.frames)))
    if suffix == "mkv" and len(out.frames) < 40:
        assert done["warnings"], "frames are missing and nothing was said"


@pytest.mark.parametrize("codec", ["libx264", "mjpeg", "mpeg2video"])
def test_damaged_packets_are_counted_and_passed_over(clip, tmp_path, codec):
    def spoil(index, packet):
        if index not in (5, 6, 20):
            return packet
        data = bytes(packet)
        bad = av.Packet(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
        bad.stream, bad.time_base = packet.stream, packet.time_base
        bad.pts, bad.dts, bad.is_keyframe = packet.pts, packet.dts, True
        return bad

    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = clip(
        "in.mkv",
        frames=30,
        codec=codec,
        pix_fmt=pix_fmt,
        options={"g": "1", "bf": "0"},
        mangle=spoil,
    )
    report = upscale(path, tmp_path / "out.mkv")
    out = describe(tmp_path / "out.mkv")
    # what a decoder makes of the spoiled ones is not always the same
    whole = [n for n in range(30) if n not in (5, 6, 20)]
    if len(out.frames) == 30:
        assert [out.numbers[n] for n in whole] == whole
    else:
        good = [n for n in out.numbers if n >= 0]
        assert good == sorted(good)
        assert set(whole) <= set(good)
        assert report.warnings


def test_packets_that_do_not_decode_are_said(clip, tmp_path):
    def spoil(index, packet):
        if index not in (5, 6, 20):
            return packet
        # a NAL unit of an unspecified type: muxed and demuxed, but no picture
        bad = av.Packet(b"\x00\x00\x00\x01\x1frubbish, no picture")
        bad.stream, bad.time_base = packet.stream, packet.time_base
        bad.pts, bad.dts = packet.pts, packet.dts
        return bad

    path = clip("in.mkv", frames=30, options={"g": "1", "bf": "0"}, mangle=spoil)
    report = upscale(path, tmp_path / "out.mkv")
    out = describe(tmp_path / "out.mkv")
    assert [n for n in out.numbers if n >= 0] == [
        n for n in range(30) if n not in (5, 6, 20)
    ]
    assert any("3 " in w for w in report.warnings), report.warnings


@pytest.mark.parametrize("codec", ["libx264", "mjpeg"])
def test_a_file_with_holes_is_never_silent(cli, clip, tmp_path, box, codec):
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    whole = clip("in.mkv", frames=30, codec=codec, pix_fmt=pix_fmt, options={"g": "1"})
    path = corrupt(whole, tmp_path / "bad.mkv", holes=3, width=40)
    ran = cli(path, "-o", box / "out.mkv", *QUICK, "--json")
    if ran.code:
        assert_complains(ran, "bad.mkv")
        assert leftovers(box) == []
    else:
        numbers = describe(box / "out.mkv").numbers
        good = [n for n in numbers if n >= 0]
        assert good == sorted(good)
        assert ran.done["warnings"] or len(good) == 30


@pytest.mark.parametrize("lost", [0, 1, 5, 11])
def test_a_lost_packet_costs_only_its_own_frame(clip, tmp_path, lost):
    path = clip(
        "in.mkv",
        codec="ffv1",
        options={"g": "1"},
        mangle=lambda i, p: None if i == lost else p,
    )
    upscale(path, tmp_path / "out.mkv")
    source, out = describe(path), describe(tmp_path / "out.mkv")
    assert out.numbers == source.numbers == [n for n in range(12) if n != lost]
    assert out.times == source.times


@pytest.mark.parametrize("keep", [0.5, 0.8])
@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("in.gif", {"codec": "gif", "pix_fmt": "rgb8", "rate": 10}),
        ("in.avi", {"codec": "mpeg4", "options": {"bf": "0"}}),
        (
            "in.mp4",
            {
                "container_options": {"movflags": "frag_keyframe+empty_moov"},
                "options": {"g": "4"},
            },
        ),
    ],
    ids=["gif", "avi", "fragmented"],
)
def test_cut_off_containers_without_a_duration(
    cli, clip, tmp_path, box, name, what, keep
):
    whole = clip(name, frames=20, **what)
    path = truncate(whole, tmp_path / f"cut-{name}", keep)
    ran = cli(path, "-o", box / "out.mkv", *QUICK, "--json")
    if ran.code:
        assert_complains(ran, "cut-in")
        assert leftovers(box) == []
    else:
        assert len(describe(box / "out.mkv").frames) < 20
        assert ran.done["warnings"]


@settings(max_examples=40)
@given(
    which=st.sampled_from(["mp4", "mkv", "webm", "ts", "gif", "y4m"]),
    changes=st.lists(
        st.tuples(
            st.sampled_from(["flip", "zero", "cut", "insert", "repeat"]),
            st.floats(0, 1, exclude_max=True),
            st.integers(0, 255),
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_whatever_is_broken_ends_well(samples, tmp_path_factory, which, changes):
    data = bytearray(samples[which])
    for kind, where, value in changes:
        at = int(where * len(data))
        if kind == "flip":
            data[at] ^= value or 1
        elif kind == "zero":
            data[at : at + value] = bytes(len(data[at : at + value]))
        elif kind == "cut":
            del data[max(1, at) :]
        elif kind == "insert":
            data[at:at] = bytes((value * k) % 256 for k in range(value))
        else:
            data[at:at] = data[at : at + value]
    folder = tmp_path_factory.mktemp("broken")
    path, target = folder / f"in.{which}", folder / "out.mkv"
    path.write_bytes(data)
    complaint = ""
    try:
        report = upscale(path, target)
    except upframe.UpframeError as exc:
        complaint = str(exc)
    if complaint:
        assert "fault of upframe" not in complaint
        assert leftovers(folder) == [path.name]
    else:
        assert len(describe(target).frames) == report.frames_out > 0
        assert leftovers(folder) == sorted([path.name, target.name])


# ---- tricks


def test_a_playlist_named_mp4_opens_nothing(cli, clip, tmp_path, box):
    secret = clip("secret.mp4", frames=5)
    trick = tmp_path / "trick.mp4"
    trick.write_text(f"ffconcat version 1.0\nfile {secret.name}\n")
    ran = cli(trick, "-o", box / "out.mp4", *QUICK)
    assert_complains(ran, "trick")
    assert leftovers(box) == []


def test_an_hls_playlist_opens_nothing(cli, clip, tmp_path, box):
    clip("secret.ts", frames=5)
    for name in ("trick.m3u8", "trick.mp4"):
        (tmp_path / name).write_text(
            "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nsecret.ts\n#EXT-X-ENDLIST\n"
        )
        ran = cli(tmp_path / name, "-o", box / "out.mp4", *QUICK)
        assert_complains(ran, "trick")
        assert leftovers(box) == []


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/a.mp4", "https://x.invalid/a.mp4",
                "rtsp://x.invalid/a", "concat:a.mp4|b.mp4", "file:secret.mp4",
                "data:video/mp4;base64,AAAA", "subfile,,start,0,end,9,,:secret.mp4",
                "lavfi:testsrc"],
)  # fmt: skip
def test_addresses_are_refused(cli, box, address, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    ran = cli(address, "-o", box / "out.mp4", *QUICK)
    assert_complains(ran, code=(1, 2))
    assert leftovers(box) == []


def test_a_png_that_claims_to_be_huge(cli, tmp_path, box):
    import zlib

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    (tmp_path / "bomb.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )
    ran = cli(tmp_path / "bomb.png", "-o", box / "out.png", *QUICK)
    assert_complains(ran)
    assert leftovers(box) == []


@pytest.mark.parametrize(
    "name",
    ["with space.mp4", "quote'\".mp4", "ünïcode 視頻.mp4", "-dash.mp4", "100%d.mp4",
     "a;b&c.mp4", "x" * 240 + ".mp4", "[glob]*?.mp4", "colon:name.mp4"],
)  # fmt: skip
def test_strange_names(cli, clip, tmp_path, box, name):
    clip(name, frames=3)
    target = "o.mp4" if "%" in name else "o" + name[-200:]
    ran = cli("-o", box / target, *QUICK, "--", tmp_path / name)
    assert ran.code == 0, ran.err
    assert len(leftovers(box)) == 1
    assert describe(next(box.iterdir())).numbers == [0, 1, 2]


def test_names_that_are_no_utf8(clip, tmp_path, box):
    name = os.fsencode(tmp_path) + b"/b\xff\xfe.mp4"
    Path(os.fsdecode(name)).write_bytes(clip(frames=3).read_bytes())
    done = subprocess.run(
        [*command(), name, b"-o", os.fsencode(box / "out.mp4"),
         *(a.encode() for a in QUICK)],
        capture_output=True, timeout=60, env=environment(), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert describe(box / "out.mp4").numbers == [0, 1, 2]


# ---- outputs


def test_output_is_input(cli, clip, tmp_path):
    path = clip(frames=3)
    before = path.read_bytes()
    (tmp_path / "soft.mp4").symlink_to(path)
    os.link(path, tmp_path / "hard.mp4")
    relative = tmp_path / "sub" / ".." / "in.mp4"
    (tmp_path / "sub").mkdir()
    for target in (path, tmp_path / "soft.mp4", tmp_path / "hard.mp4", relative):
        ran = cli(path, "-o", target, *QUICK, "-y")
        assert_complains(ran, "same", code=(1, 2))
        assert path.read_bytes() == before
    assert leftovers(tmp_path) == ["hard.mp4", "in.mp4", "soft.mp4", "sub"]


def test_output_folder_is_the_input_folder(cli, tmp_path):
    folder = write_images(tmp_path / "in", frames=3)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    ran = cli(folder, "-o", folder, *QUICK, "-y")
    assert_complains(ran, code=(1, 2))
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_output_into_the_input_folder_by_pattern(cli, tmp_path):
    folder = write_images(tmp_path / "in", frames=3)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    ran = cli(folder, "-o", folder / "frame_%04d.png", *QUICK, "-y")
    assert_complains(ran, code=(1, 2))
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_an_output_that_exists_is_not_replaced(cli, clip, box):
    path = clip(frames=3)
    (box / "out.mp4").write_text("precious")
    ran = cli(path, "-o", box / "out.mp4", *QUICK)
    assert_complains(ran, "exists", "-y")
    assert (box / "out.mp4").read_text() == "precious"
    assert leftovers(box) == ["out.mp4"]


def test_an_output_below_a_file(cli, clip, box):
    (box / "file").write_text("no folder")
    ran = cli(clip(frames=3), "-o", box / "file" / "out.mp4", *QUICK)
    assert_complains(ran, "file", code=(1, 2))
    assert leftovers(box) == ["file"]


def test_an_output_that_is_a_folder_with_a_video_name(cli, clip, box):
    (box / "out.mp4").mkdir()
    (box / "out.mp4" / "keep").touch()
    ran = cli(clip(frames=3), "-o", box / "out.mp4", *QUICK)
    assert_complains(ran, code=(1, 2))
    assert leftovers(box / "out.mp4") == ["keep"]


def test_missing_folders_are_made_for_the_output_or_said(cli, clip, box):
    ran = cli(clip(frames=3), "-o", box / "new" / "deep" / "out.mp4", *QUICK)
    if ran.code == 0:
        assert describe(box / "new" / "deep" / "out.mp4").numbers == [0, 1, 2]
    else:
        assert_complains(ran, "new", code=(1, 2))
        assert leftovers(box) == []


@pytest.mark.parametrize("name", ["out.xyz", "out.ts", "out.avi", "out.gif"])
def test_containers_that_are_not_written(cli, clip, box, name):
    ran = cli(clip(frames=3), "-o", box / name, *QUICK)
    if ran.code:
        assert_complains(ran, name[3:], code=2)
        assert leftovers(box) == []
    else:
        assert describe(box / name).numbers == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("out.webm", ("-c:v", "h264")),
        ("out.mp4", ("-c:v", "prores")),
        ("out.mp4", ("-c:v", "ffv1")),
        ("out.mp4", ("-c:v", "nonsense")),
        ("out.mp4", ("-c:v", "aac")),
        ("out.mp4", ("--pix-fmt", "nonsense")),
        ("out.mp4", ("--pix-fmt", "pal8")),
        ("out.mp4", ("-e", "nonsense")),
        ("out.mp4", ("-e", "no_such_option=1")),
        ("out.mp4", ("-e", "preset=no-such-preset")),
        ("out.mp4", ("--crf", "9999")),
        ("out.mp4", ("--crf", "abc")),
        ("out.mp4", ("--model", "no-such-model")),
        ("out.mp4", ("--model", "no-such-file.pth")),
        ("out.mp4", ("--model", "../../etc/passwd")),
        ("out.mp4", ("--preset", "no-such-preset")),
        ("out.mp4", ("--scale", "0")),
        ("out.mp4", ("--scale", "-2")),
        ("out.mp4", ("--scale", "nan")),
        ("out.mp4", ("--scale", "inf")),
        ("out.mp4", ("--scale", "1e9")),
        ("out.mp4", ("--scale", "two")),
        ("out.mp4", ("--size", "axb")),
        ("out.mp4", ("--size", "0x10")),
        ("out.mp4", ("--size", "100000x100000")),
        ("out.mp4", ("--height", "0")),
        ("out.mp4", ("--height", "-5")),
        ("out.mp4", ("--scale", "2", "--height", "100")),
        ("out.mp4", ("--scale", "2", "--size", "10x10")),
        ("out.mp4", ("--threads", "0")),
        ("out.mp4", ("--threads", "-1")),
        ("out.mp4", ("--memory", "lots")),
        ("out.mp4", ("--memory", "0")),
        ("out.mp4", ("--start", "-5")),
        ("out.mp4", ("--start", "99999")),
        ("out.mp4", ("--start", "soon")),
        ("out.mp4", ("--duration", "0")),
        ("out.mp4", ("--duration", "-1")),
        ("out.mp4", ("--deinterlace", "maybe")),
        ("out.mp4", ("--device", "toaster")),
        ("out.mp4", ("--device", "cuda:99", "--model", "ditn-s")),
        ("out.mp4", ("--runtime", "abacus")),
        ("out.mp4", ("-y", "-n")),
        ("out.mp4", ("--no-such-option",)),
        ("out_%d_%d.png", ()),
        ("%04d.mp4", ()),
        ("out.png", ()),
    ],
)
def test_nonsense(cli, clip, box, name, arguments):
    base = () if "--scale" in arguments or "--size" in arguments else ("--scale", "2")
    if "--height" in arguments:
        base = ()
    if "--model" not in arguments and "--preset" not in arguments:
        base = (*base, "--model", FAST)
    ran = cli(clip(frames=3), "-o", box / name, *base, *arguments)
    assert_complains(ran, code=(1, 2))
    assert leftovers(box) == []


@pytest.mark.parametrize("arguments", [(), ("-o",), ("--json",), ("upscale",)])
def test_usage_mistakes_have_exit_code_two(cli, arguments):
    ran = cli(*arguments)
    assert ran.code == 2
    assert "Traceback" not in ran.err


def test_a_budget_too_small_is_said(cli, clip, box):
    ran = cli(clip(frames=3), "-o", box / "out.mp4", *QUICK, "--memory", "1KiB")
    if ran.code:
        assert_complains(ran, "memory", code=(1, 2))
    else:
        assert "memory" in ran.err


# ---- no space left


@pytest.mark.parametrize("share", [0, 0.15, 0.6, 0.95])
def test_no_space_left(clip, box, share):
    # RLIMIT_FSIZE fails writes as a full disk does. In turn there is no room for
    # anything, for the first chunk, for the joined file, for the end of it.
    path = clip(frames=40, size=(64, 64), audio=[Audio(seconds=2)])
    wanted = command(
        path, "-o", box / "out.mp4", *QUICK, "--crf", "1", "--chunk-frames", "8"
    )
    upscale(path, box / "whole.mp4", crf=1, chunk_frames=8)
    limit = max(1, int((box / "whole.mp4").stat().st_size * share))
    (box / "whole.mp4").unlink()

    def cramped():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        wanted,
        capture_output=True,
        timeout=60,
        env=environment(PYTHONDONTWRITEBYTECODE="1"),
        preexec_fn=cramped,
        check=False,
    )
    message = done.stderr.decode()
    assert done.returncode == 1, (done.returncode, message)
    assert "Traceback" not in message
    assert "unexpected" not in message
    assert message.count("upframe:") == 1, message
    assert not (box / "out.mp4").exists()
    assert leftovers(box) in ([], [".out.mp4.upframe"])
    # with space again, the same command finishes
    again = subprocess.run(
        wanted, capture_output=True, timeout=60, env=environment(), check=False
    )
    assert again.returncode == 0, again.stderr
    assert describe(box / "out.mp4").numbers == list(range(40))
    assert leftovers(box) == ["out.mp4"]


def test_stdout_that_is_full(clip):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command(clip(frames=5), "-o", "-", *QUICK),
            stdout=full, stderr=subprocess.PIPE, timeout=60, env=environment(),
            check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"unexpected" not in done.stderr


# ---- the same from Python


def test_python_gets_exceptions_of_our_own(clip, tmp_path):
    path = clip(frames=2)
    with pytest.raises(upframe.InputError):
        upscale(tmp_path / "none.mp4", tmp_path / "out.mp4")
    with pytest.raises(upframe.UsageError):
        upscale(path, tmp_path / "out.mp4", model="no-such-model")
    with pytest.raises(upframe.UsageError):
        upscale(path, path)
    (tmp_path / "there.mp4").touch()
    with pytest.raises(upframe.OutputError):
        upscale(path, tmp_path / "there.mp4")
    upscale(path, tmp_path / "there.mp4", overwrite=True)
    assert describe(tmp_path / "there.mp4").numbers == [0, 1]
