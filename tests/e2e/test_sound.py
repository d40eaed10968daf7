"""Sound that few containers hold: copied, recoded in place, or refused at once."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import upframe
from e2e_support import (
    assert_complains,
    assert_kept,
    leftovers,
    upscale,
)
from media_factory import Audio, Subtitle, describe

OLD = [
    ("avi", "mpeg4", Audio("adpcm_ms", rate=22050, layout="mono")),
    ("avi", "mpeg4", Audio("adpcm_ima_wav", rate=22050, layout="mono")),
    ("avi", "mpeg4", Audio("adpcm_yamaha", rate=22050, layout="mono")),
    ("avi", "mpeg4", Audio("pcm_alaw", rate=8000, layout="mono")),
    ("avi", "mpeg4", Audio("pcm_mulaw", rate=8000, layout="mono")),
    ("avi", "mpeg4", Audio("adpcm_g726", rate=8000, layout="mono")),
    ("avi", "mpeg4", Audio("g722", rate=16000, layout="mono")),
    ("flv", "flv", Audio("pcm_alaw", rate=8000, layout="mono")),
    ("3gp", "mpeg4", Audio("libopencore_amrnb", rate=8000, layout="mono")),
]
NOT_EVEN_MATROSKA = [
    ("flv", "flv", Audio("nellymoser", rate=22050, layout="mono")),
    ("flv", "flv", Audio("adpcm_swf", rate=22050, layout="mono")),
]


def sound_of(path: Path) -> tuple[int, Fraction, np.ndarray]:
    """Sample rate, time of the first sample, and the samples of channel 0."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        frames = list(container.decode(stream))
        resampler = av.AudioResampler(format="fltp", layout=stream.layout)
        parts = [f.to_ndarray()[0] for g in frames for f in resampler.resample(g)]
        start = frames[0].pts * frames[0].time_base
        return stream.rate, start, np.concatenate(parts)


def tone(path: Path) -> float:
    """The strongest frequency of the first sound track, in Hz."""
    rate, _, samples = sound_of(path)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))


def seconds(path: Path) -> float:
    rate, start, samples = sound_of(path)
    return float(start) + len(samples) / rate


@pytest.mark.parametrize(("suffix", "codec", "audio"), OLD)
def test_matroska_takes_old_sound_as_it_is(clip, tmp_path, suffix, codec, audio):
    path = clip(f"in.{suffix}", codec=codec, audio=[audio], options={"bf": "0"})
    report = upscale(path, tmp_path / "out.mkv")
    source, out = describe(path), describe(tmp_path / "out.mkv")
    assert len(source.audio[0].packets) > 0
    assert out.audio[0].codec == source.audio[0].codec
    assert out.audio[0].hashes == source.audio[0].hashes
    assert not any("audio" in w for w in report.warnings)
    assert abs(seconds(tmp_path / "out.mkv") - seconds(path)) < 0.01


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (OLD[0], "mp4"),
        (OLD[1], "mov"),
        (OLD[3], "webm"),
        (OLD[5], "mp4"),
        (OLD[8], "mp4"),
        (OLD[8], "webm"),
        *(
            (source, target)
            for source in NOT_EVEN_MATROSKA
            for target in ("mkv", "mov")
        ),
    ],
)
def test_other_containers_get_it_recoded_in_place(clip, tmp_path, source, target):
    suffix, codec, audio = source
    path = clip(
        f"in.{suffix}", codec=codec, audio=[audio], frames=25, options={"bf": "0"}
    )
    report = upscale(path, tmp_path / f"out.{target}")
    source, out = describe(path), describe(tmp_path / f"out.{target}")
    assert out.numbers == source.numbers
    assert len(out.audio) == 1
    if out.audio[0].codec != source.audio[0].codec:
        assert any("recoded" in w for w in report.warnings), report.warnings
    assert abs(tone(tmp_path / f"out.{target}") - tone(path)) < 3
    late = sound_of(tmp_path / f"out.{target}")[1] - out.frames[0].time
    assert abs(late - (sound_of(path)[1] - source.frames[0].time)) < 0.03
    assert abs(seconds(tmp_path / f"out.{target}") - seconds(path)) < 0.1


def test_recoded_sound_keeps_a_late_start_and_its_gaps(clip, tmp_path):
    path = clip(
        "in.mkv",
        frames=50,
        audio=[Audio("pcm_s16le", start=Fraction(1, 2), seconds=Fraction(1, 2))],
    )
    upscale(path, tmp_path / "out.webm")
    source, out = describe(path), describe(tmp_path / "out.webm")
    assert out.audio[0].codec == "opus"
    gap = out.audio[0].times[0] - out.frames[0].time
    assert abs(gap - Fraction(1, 2)) < 0.02
    assert out.numbers == source.numbers


def test_a_gap_inside_recoded_sound_becomes_silence(clip, tmp_path):
    path = clip("gap.mkv", frames=50, audio=[Audio("pcm_s16le")])
    holed = tmp_path / "in.mkv"
    with av.open(str(path)) as source, av.open(str(holed), "w") as target:
        streams = {
            s.index: target.add_stream_from_template(s, opaque=True)
            for s in source.streams
        }
        for packet in source.demux():
            if not packet.size:
                continue
            time = float(packet.pts * packet.time_base)
            if packet.stream.type == "audio" and 0.6 <= time < 1.2:
                continue
            packet.stream = streams[packet.stream.index]
            target.mux(packet)
    upscale(holed, tmp_path / "out.webm")
    rate, start, samples = sound_of(tmp_path / "out.webm")
    at = [round((t - float(start)) * rate) for t in (0.7, 1.1, 1.4, 1.8)]
    assert np.abs(samples[at[0] : at[1]]).max() < 0.02
    assert np.abs(samples[at[2] : at[3]]).max() > 0.2


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("what", ["audio", "video", "subtitle"])
def test_a_track_that_is_empty_in_the_part_taken(clip, tmp_path, suffix, what):
    more = {
        "audio": {"audio": [Audio(seconds=Fraction(1, 2))]},
        "subtitle": {"subtitles": [Subtitle("mov_text")]},
        "video": {"extra_videos": 1, "mangle": None},
    }[what]
    path = clip("in.mp4", frames=75, **more)
    if what == "video":
        path = without_second_video(path, tmp_path / "empty.mkv")
    report = upscale(path, tmp_path / f"out.{suffix}", start=2, duration=0.5)
    out = describe(tmp_path / f"out.{suffix}")
    assert out.numbers == list(range(50, 63)) or out.numbers == list(range(50, 62))
    if suffix != "mkv" and what != "subtitle":
        assert any(f"{what} stream" in w for w in report.warnings), report.warnings


def without_second_video(path: Path, target: Path) -> Path:
    """The same file with an empty second video track."""
    with av.open(str(path)) as source, av.open(str(target), "w") as out:
        streams = [
            out.add_stream_from_template(s, opaque=True) for s in source.streams.video
        ]
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = streams[0]
                out.mux(packet)
    return target


def without_aac_header(path: Path, target: Path) -> Path:
    """An FLV without the tag that says how its AAC is coded."""
    data = path.read_bytes()
    kept, at = [data[:13]], 13
    while at + 11 <= len(data):
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        tag = data[at : at + 11 + size + 4]
        header = tag[0] == 8 and tag[11] >> 4 == 10 and tag[12] == 0
        kept += [] if header else [tag]
        at += len(tag)
    target.write_bytes(b"".join(kept))
    return target


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_aac_without_its_header_is_found_before_the_work(cli, clip, tmp_path, suffix):
    path = clip("whole.flv", codec="flv", audio=[Audio("aac")], frames=25)
    bad = without_aac_header(path, tmp_path / "in.flv")
    box = tmp_path / "box"
    box.mkdir()
    ran = cli(bad, "-o", box / f"out.{suffix}", "--model", "bicubic", "--dry-run")
    assert_complains(ran, "audio stream", "aac", "--audio drop")
    ran = cli(bad, "-o", box / f"out.{suffix}", "--model", "bicubic")
    assert_complains(ran, "audio stream", "aac", "--audio drop")
    assert leftovers(box) == []


def test_a_codec_that_the_container_refuses_is_found_before_the_work(
    cli, clip, tmp_path
):
    ran = cli(
        clip(), "-o", tmp_path / "out.mov", "-c:v", "libvpx", "--model", "bicubic"
    )
    assert_complains(ran, "libvpx", "mov")
    assert leftovers(tmp_path, tmp_path / "in.mp4") == []


def test_sound_is_untouched_where_it_fits(clip, tmp_path):
    path = clip(audio=[Audio()])
    report = upscale(path, tmp_path / "out.mp4")
    source, out = describe(path), describe(tmp_path / "out.mp4")
    assert_kept(source, out)
    assert out.audio[0].hashes == source.audio[0].hashes
    assert report.warnings == []


def test_sound_is_recoded_on_demand(clip, tmp_path):
    path = clip(audio=[Audio()], frames=25)
    report = upscale(path, tmp_path / "out.mkv", audio="recode")
    out = describe(tmp_path / "out.mkv")
    assert out.audio[0].codec == "flac"
    assert any("recoded to FLAC: as asked" in w for w in report.warnings)
    assert abs(tone(tmp_path / "out.mkv") - 330) < 5


def test_sound_is_dropped_on_demand(cli, clip, tmp_path):
    path = clip("whole.flv", codec="flv", audio=[Audio("aac")], frames=25)
    bad = without_aac_header(path, tmp_path / "in.flv")
    ran = cli(bad, "-o", tmp_path / "out.mkv", "--model", "bicubic", "--audio", "drop")
    assert ran.code == 0
    assert "left out" in ran.err
    out = describe(tmp_path / "out.mkv")
    assert not out.audio
    assert out.numbers == list(range(25))


def test_an_unknown_choice_for_sound_is_refused(cli, clip, tmp_path):
    path = clip()
    ran = cli(path, "-o", tmp_path / "out.mkv", "--audio", "louder")
    assert_complains(ran, "--audio louder", "recode", code=2)
    with pytest.raises(upframe.UpframeError, match="louder"):
        upscale(path, tmp_path / "out.mkv", audio="louder")


@pytest.mark.parametrize("codec", ["pcm_alaw", "pcm_s16be"])
def test_pcm_that_outlasts_the_video_is_copied_into_mov(clip, tmp_path, codec):
    sound = Audio(codec, rate=8000, layout="mono", seconds=Fraction(3))
    path = clip("in.mov", frames=25, audio=[sound])
    report = upscale(path, tmp_path / "out.mov")
    out = describe(tmp_path / "out.mov")
    assert out.audio[0].codec == codec
    assert not any("recoded" in w for w in report.warnings)
    data = [b"".join(p.data for p in d.audio[0].packets) for d in (out, describe(path))]
    assert data[0] == data[1]
