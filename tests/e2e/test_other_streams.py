"""Sound, subtitles, attachments, chapters, metadata: copied, or said to be lost."""

from __future__ import annotations

from fractions import Fraction

import pytest
from av.stream import Disposition

from e2e_support import (
    HALF_MILLISECOND,
    assert_kept,
    assert_same_times,
    both,
    tags,
    upscale,
)
from media_factory import FONT, Attachment, Audio, Chapter, Subtitle, describe

CHAPTERS = (
    Chapter(Fraction(0), Fraction(1, 5), "Öne"),
    Chapter(Fraction(1, 5), Fraction(12, 25), "two & <three>"),
)


def assert_same_sound(source, out):
    assert len(out.audio) == len(source.audio)
    for mine, theirs in zip(out.audio, source.audio, strict=True):
        assert mine.codec == theirs.codec
        assert mine.hashes == theirs.hashes
        assert_same_times(mine.times, theirs.times, out)
        assert mine.language == theirs.language


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        ("mp4", "aac"),
        ("mp4", "libmp3lame"),
        ("mkv", "aac"),
        ("mkv", "flac"),
        ("mkv", "libopus"),
        ("mkv", "pcm_s16le"),
        ("mov", "pcm_s16le"),
        ("mov", "aac"),
        ("webm", "libopus"),
    ],
)
def test_sound_is_copied_bit_for_bit(clip, tmp_path, suffix, codec):
    video = {"codec": "libvpx-vp9"} if suffix == "webm" else {}
    path = clip(f"in.{suffix}", audio=[Audio(codec, language="deu")], **video)
    source, out = both(path, tmp_path / f"out.{suffix}")
    assert len(source.audio[0].packets) > 3
    assert_kept(source, out)
    assert_same_sound(source, out)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("mp4", "mkv"),
        ("mkv", "mp4"),
        ("mov", "mkv"),
        ("ts", "mp4"),
        ("ts", "mkv"),
        ("avi", "mkv"),
    ],
)
def test_sound_moves_between_containers(clip, tmp_path, one, other):
    audio = Audio("libmp3lame" if one == "avi" else "aac", seconds=Fraction(1, 2))
    path = clip(f"in.{one}", audio=[audio], options={"bf": "0"})
    source, out = both(path, tmp_path / f"out.{other}")
    assert out.numbers == source.numbers
    assert [s.hashes for s in out.audio] == [s.hashes for s in source.audio]
    gaps = [
        [t - d.times[0] for t in d.audio[0].times if t is not None]
        for d in (source, out)
    ]
    assert all(abs(a - b) <= 2 * HALF_MILLISECOND for a, b in zip(*gaps, strict=True))


def test_all_that_matroska_holds(clip, tmp_path):
    path = clip(
        "in.mkv",
        frames=15,
        audio=[
            Audio(language="deu", title="Ton", disposition=Disposition.default),
            Audio("flac", language="eng", disposition=Disposition.comment),
        ],
        subtitles=[
            Subtitle(language="fra", title="Forcé", disposition=Disposition.forced),
            Subtitle("ass", language="jpn", title="Signs"),
        ],
        chapters=CHAPTERS,
        attachments=[FONT, Attachment("notes.txt", "text/plain", b"hello")],
        cover="png",
        metadata={"title": "Film ñ", "ARTIST": "Us", "COMMENT": "a=b; c"},
        video_metadata={"title": "Main", "language": "ita"},
    )
    report = upscale(path, tmp_path / "out.mkv", scale=4)
    source, out = describe(path), describe(tmp_path / "out.mkv")
    assert_kept(source, out, scale=4)
    assert_same_sound(source, out)
    assert report.warnings == []
    assert [(s.language, s.title, s.disposition) for s in out.audio] == [
        (s.language, s.title, s.disposition) for s in source.audio
    ]
    assert [
        (s.codec, s.language, s.title, s.disposition, s.hashes, s.times, s.cues)
        for s in out.subtitles
    ] == [
        (s.codec, s.language, s.title, s.disposition, s.hashes, s.times, s.cues)
        for s in source.subtitles
    ]
    assert out.attachments == source.attachments
    assert [c.hashes for c in out.covers] == [c.hashes for c in source.covers]
    assert out.chapters == source.chapters
    assert (out.video.title, out.video.language) == ("Main", "ita")
    kept = tags(out)
    for key in ("title", "artist", "comment"):
        assert kept[key] == tags(source)[key]
    assert [s.type for s in out.streams] == [s.type for s in source.streams]


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_all_that_mp4_holds(clip, tmp_path, suffix):
    path = clip(
        f"in.{suffix}",
        frames=15,
        audio=[Audio(language="deu"), Audio(language="eng")],
        subtitles=[Subtitle("mov_text", language="fra")],
        chapters=CHAPTERS,
        cover="mjpeg" if suffix == "mp4" else None,
        metadata={"title": "Film", "artist": "Us", "comment": "fine"},
    )
    report = upscale(path, tmp_path / f"out.{suffix}", scale=4)
    source, out = describe(path), describe(tmp_path / f"out.{suffix}")
    assert_kept(source, out, scale=4)
    assert_same_sound(source, out)
    assert [(s.codec, s.language, s.cues) for s in out.subtitles] == [
        (s.codec, s.language, s.cues) for s in source.subtitles
    ]
    assert [c.hashes for c in out.covers] == [c.hashes for c in source.covers]
    assert [(c.start, c.end, c.title) for c in out.chapters] == [
        (c.start, c.end, c.title) for c in source.chapters
    ]
    for key in ("title", "artist", "comment"):
        assert tags(out)[key] == tags(source)[key]
    assert report.warnings == []


@pytest.mark.parametrize(
    ("one", "codec", "other"),
    [
        ("mkv", "subrip", "mp4"),
        ("mkv", "ass", "mp4"),
        ("mp4", "mov_text", "mkv"),
        ("mkv", "subrip", "webm"),
        ("webm", "webvtt", "mp4"),
        ("webm", "webvtt", "mkv"),
    ],
)
def test_text_subtitles_move_between_containers(clip, tmp_path, one, codec, other):
    video = {"codec": "libvpx-vp9"} if one == "webm" else {}
    path = clip(
        f"in.{one}", subtitles=[Subtitle(codec, language="fra")], frames=15, **video
    )
    source, out = both(path, tmp_path / f"out.{other}")
    assert [s.language for s in out.subtitles] == ["fra"]
    assert out.subtitles[0].cues == source.subtitles[0].cues


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_s24le", "flac", "libopus"])
@pytest.mark.parametrize("suffix", ["mp4", "mov", "webm"])
def test_sound_that_may_not_fit(clip, tmp_path, codec, suffix):
    path = clip("in.mkv", audio=[Audio(codec)])
    report = upscale(path, tmp_path / f"out.{suffix}")
    source, out = describe(path), describe(tmp_path / f"out.{suffix}")
    assert out.numbers == source.numbers
    if out.audio[0].codec == source.audio[0].codec:
        assert out.audio[0].hashes == source.audio[0].hashes
    else:
        note = f"({source.audio[0].codec}) was recoded"
        assert any(note in w for w in report.warnings), report.warnings
        assert out.audio[0].codec == ("opus" if suffix == "webm" else "aac")


def test_what_cannot_be_kept_is_said(clip, tmp_path):
    path = clip(
        "in.mkv",
        audio=[Audio()],
        subtitles=[Subtitle("dvd_subtitle")],
        attachments=[FONT],
    )
    report = upscale(path, tmp_path / "out.webm")
    out = describe(tmp_path / "out.webm")
    assert out.numbers == list(range(12))
    said = " ".join(report.warnings).lower()
    assert not out.attachments
    assert FONT.name.lower() in said or "attachment" in said
    if not out.audio:
        assert "aac" in said
    if not out.subtitles:
        assert "subtitle" in said


def test_attachments_dropped_by_mp4_are_said(clip, tmp_path):
    report = upscale(clip("in.mkv", attachments=[FONT]), tmp_path / "out.mp4")
    said = " ".join(report.warnings).lower()
    assert "attachment" in said or FONT.name.lower() in said


def test_further_video_tracks(clip, tmp_path):
    path = clip("in.mkv", extra_videos=2)
    report = upscale(path, tmp_path / "out.mkv")
    source, out = describe(path), describe(tmp_path / "out.mkv")
    assert_kept(source, out)
    assert len(out.videos) == 3 or any("video" in w for w in report.warnings)
    if len(out.videos) == 3:
        assert out.videos[1].hashes == source.videos[1].hashes
        assert describe(tmp_path / "out.mkv", track=1).numbers == list(range(500, 512))


def test_a_cover_picture_is_not_the_video(clip, tmp_path):
    path = clip("in.mp4", cover="png", audio=[Audio()])
    source, out = both(path, tmp_path / "out.mp4")
    assert_kept(source, out)
    assert [c.hashes for c in out.covers] == [c.hashes for c in source.covers]


def test_data_tracks_are_kept_or_said(clip, tmp_path):
    path = clip("in.ts", data_tracks=1)
    report = upscale(path, tmp_path / "out.mkv")
    assert describe(tmp_path / "out.mkv").numbers == list(range(12))
    assert any("data" in w.lower() for w in report.warnings)


def test_provenance(clip, tmp_path):
    path = clip("in.mp4", metadata={"comment": "mine"}, frames=3)
    for suffix in ("mp4", "mkv", "mov", "webm"):
        upscale(path, tmp_path / f"out.{suffix}")
        found = tags(describe(tmp_path / f"out.{suffix}"))
        assert any("upframe" in value.lower() for value in found.values()), suffix
        assert any("bicubic" in value for value in found.values()), suffix
        assert found["comment"].startswith("mine")


def test_chapters_and_sound_follow_a_cut_out_part(clip, tmp_path):
    path = clip(
        "in.mkv",
        frames=50,
        audio=[Audio("flac")],
        subtitles=[Subtitle(cues=((0.1, 0.3, "out"), (0.9, 1.2, "in")))],
        chapters=(
            Chapter(Fraction(0), Fraction(4, 5), "first"),
            Chapter(Fraction(4, 5), Fraction(2), "second"),
        ),
    )
    upscale(path, tmp_path / "out.mkv", start=0.8, duration=0.8)
    out = describe(tmp_path / "out.mkv")
    assert out.numbers == list(range(20, 40))
    assert [c[2] for c in out.subtitles[0].cues] == ["in"]
    assert abs(out.subtitles[0].cues[0][0] - Fraction(1, 10)) <= HALF_MILLISECOND
    assert [c.title for c in out.chapters] == ["second"]
    assert out.chapters[0].start == 0
    assert abs(out.chapters[0].end - Fraction(4, 5)) < Fraction(1, 100)
