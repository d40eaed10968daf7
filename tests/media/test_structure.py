"""Files that are cut off or encrypted, found by their structure."""

from __future__ import annotations

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_factory import Audio, truncate
from upframe.media.structure import Structure, read_structure

KEY = {
    "encryption_scheme": "cenc-aes-ctr",
    "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb",
    "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
}
KINDS = {
    "in.mp4": {"container_options": {"movflags": "faststart"}},
    "in.mov": {"container_options": {"movflags": "faststart"}},
    "fragments.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "in.mkv": {},
    "in.webm": {"codec": "libvpx-vp9"},
    "in.avi": {"codec": "mpeg4", "options": {"bf": "0"}},
    "in.wmv": {"codec": "wmv2"},
}


@pytest.mark.parametrize("name", sorted(KINDS))
def test_whole_and_cut_off(clip, tmp_path, name):
    path = clip(name, audio=[], frames=30, **KINDS[name])
    assert read_structure(path).missing == 0
    assert read_structure(path).encrypted == frozenset()
    short = truncate(path, tmp_path / f"short-{name}", 0.8)
    lost = path.stat().st_size - short.stat().st_size
    missing = read_structure(short).missing
    if name in ("fragments.mp4", "in.wmv"):  # cut between two parts
        assert 0 < missing <= lost
    else:
        assert missing == lost


@pytest.mark.parametrize("name", ["in.ts", "in.flv", "in.gif", "live.mkv"])
def test_formats_that_do_not_say_how_long_they_are(clip, name):
    what = {
        "in.ts": {"codec": "mpeg2video"},
        "in.flv": {"codec": "flv"},
        "in.gif": {"codec": "gif", "pix_fmt": "rgb8", "rate": 10},
        "live.mkv": {"container_options": {"live": "1"}},
    }
    assert read_structure(clip(name, **what[name])).missing is None


@pytest.mark.parametrize("movflags", ["", "frag_keyframe+empty_moov"])
def test_encrypted_mp4(clip, movflags):
    path = clip(
        audio=[Audio()],
        container_options={**KEY, **{"movflags": movflags or "faststart"}},
    )
    assert read_structure(path).encrypted == {"video", "audio"}


def element(name: int, content: bytes) -> bytes:
    head = name.to_bytes((name.bit_length() + 7) // 8, "big")
    return head + (len(content) | 1 << 28).to_bytes(4, "big") + content


def encrypted_matroska(kind: int) -> bytes:
    encoding = element(0x6240, element(0x5035, element(0x47E1, b"\x05")))
    track = element(0xAE, element(0x83, bytes([kind])) + element(0x6D80, encoding))
    plain = element(0xAE, element(0x83, b"\x01"))
    tracks = element(0x1654AE6B, plain + track)
    return element(0x1A45DFA3, b"") + element(0x18538067, tracks)


@pytest.mark.parametrize(("kind", "name"), [(1, "video"), (2, "audio")])
def test_encrypted_matroska(tmp_path, kind, name):
    path = tmp_path / "in.webm"
    path.write_bytes(encrypted_matroska(kind))
    assert read_structure(path) == Structure(0, frozenset({name}), clusters=True)


@given(data=st.data())
def test_rubbish_is_never_an_error(tmp_path_factory, data):
    starts = [
        encrypted_matroska(1), b"\0\0\0\x18ftypisom", b"RIFF\0\1\0\0AVI LIST",
        bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + b"\x40" + bytes(7),
    ]  # fmt: skip
    body = bytearray(data.draw(st.sampled_from(starts)) + data.draw(st.binary()))
    for _ in range(data.draw(st.integers(0, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("rubbish") / "in.bin"
    path.write_bytes(body)
    found = read_structure(path)
    assert found.missing is None or found.missing >= 0


def test_the_factory_encrypts(clip):
    with av.open(str(clip(container_options=KEY))) as container:
        packet = next(p for p in container.demux(video=0) if p.size)
        assert packet.has_sidedata("encryption_info")
