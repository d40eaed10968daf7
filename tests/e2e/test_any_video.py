"""One property over everything at once: random videos in, the same video out."""

from __future__ import annotations

import shutil
from fractions import Fraction

from av.stream import Disposition
from hypothesis import given, settings
from hypothesis import strategies as st

from e2e_support import (
    HALF_MILLISECOND,
    assert_same_colours,
    assert_same_times,
    leftovers,
    upscale,
)
from media_factory import Audio, Subtitle, describe, write_clip

BASES = [Fraction(1, 1000), Fraction(1, 90000), Fraction(1, 12800), Fraction(1, 600)]
VIDEO = {
    "mp4": [("libx264", "yuv420p"), ("libx264", "yuv444p"), ("libx265", "yuv420p10le")],
    "mov": [("libx264", "yuv420p"), ("prores_ks", "yuv422p10le"), ("png", "rgb24")],
    "mkv": [
        ("libx264", "yuv422p"),
        ("ffv1", "yuv420p"),
        ("ffv1", "gray"),
        ("mpeg4", "yuv420p"),
        ("mjpeg", "yuvj422p"),
    ],
    "webm": [("libvpx-vp9", "yuv420p")],
}
SOUND = {
    "mp4": ["aac", "libmp3lame"],
    "mov": ["aac", "pcm_s16le"],
    "mkv": ["aac", "flac", "libopus", "pcm_s16le"],
    "webm": ["libopus"],
}
TEXT = {"mp4": "mov_text", "mov": "mov_text", "mkv": "subrip", "webm": "webvtt"}
LANGUAGES = st.sampled_from([None, "deu", "eng", "jpn"])


@st.composite
def videos(draw):
    """Container, and everything that ``write_clip`` can be told for it."""
    suffix = draw(st.sampled_from(sorted(VIDEO)))
    codec, pix_fmt = draw(st.sampled_from(VIDEO[suffix]))
    # WebM counts in milliseconds; MPEG-4 has no finer clock than 1/65535 s
    coarse = suffix == "webm" or codec == "mpeg4"
    base = Fraction(1, 1000) if coarse else draw(st.sampled_from(BASES))
    unit = max(1, int(Fraction(1, 200) / base))
    steps = draw(
        st.one_of(
            st.integers(0, 14).map(lambda n: [8] * n),
            st.lists(st.integers(1, 40), max_size=10),
        )
    )
    pts = [draw(st.sampled_from([0, 0, 3])) * unit]
    for step in steps:
        pts.append(pts[-1] + step * unit)
    sounds = draw(
        st.lists(
            st.builds(
                Audio,
                codec=st.sampled_from(SOUND[suffix]),
                language=LANGUAGES,
                start=st.sampled_from([Fraction(0), Fraction(1, 5)]),
                seconds=st.sampled_from([Fraction(1, 2), Fraction(1)]),
                disposition=st.sampled_from([Disposition(0), Disposition.default]),
            ),
            max_size=2,
        )
    )
    texts = draw(
        st.lists(
            st.builds(Subtitle, codec=st.just(TEXT[suffix]), language=LANGUAGES),
            max_size=1,
        )
    )
    tagged = draw(st.booleans()) and (
        codec not in ("png", "mjpeg") and pix_fmt != "gray"
    )
    colour = draw(st.sampled_from(["bt601", "bt709"])) if tagged else None
    return suffix, {
        "codec": codec,
        "pix_fmt": pix_fmt,
        "pts": pts,
        "time_base": base,
        # x265 breaks the heap at widths of 34 to 48, and patches need some room
        "size": (
            2 * draw(st.integers(26, 40)),
            2 * draw(st.integers(26, 40)),
        ),
        "audio": sounds,
        "audio_first": draw(st.booleans()),
        "subtitles": texts,
        "sar": draw(st.sampled_from([None, None, Fraction(4, 3), Fraction(10, 11)])),
        "rotation": draw(st.sampled_from([0, 0, 90, 180])) if suffix != "webm" else 0,
        "matrix": colour,
        "primaries": colour,
        "transfer": colour,
        "color_range": "pc" if codec == "mjpeg" else ("tv" if tagged else None),
        "scenes": draw(st.sampled_from([(), (2,), (3, 4)])),
        "metadata": {"title": draw(st.text("aé= ;'日", min_size=1, max_size=8))},
    }


@settings(max_examples=15)
@given(
    video=videos(),
    target=st.sampled_from(["same", "same", "mkv", "mp4"]),
    scale=st.sampled_from([2, 4]),
    chunk=st.sampled_from([None, 3]),
)
def test_any_video(tmp_path_factory, video, target, scale, chunk):
    folder = tmp_path_factory.mktemp("any")
    suffix, what = video
    path = write_clip(folder / f"in.{suffix}", **what)
    goal = folder / ("out." + (suffix if target == "same" else target))
    report = upscale(path, goal, scale=scale, chunk_frames=chunk)
    source, out = describe(path), describe(goal)

    assert report.frames_in == report.frames_out == len(source.frames)
    assert source.numbers == list(range(len(what["pts"])))
    assert out.numbers == source.numbers
    assert out.size == (source.size[0] * scale, source.size[1] * scale)
    assert out.sar == source.sar
    assert out.rotation == source.rotation
    assert_same_colours(source, out, tolerance=3)
    assert leftovers(folder) == sorted({path.name, goal.name})

    if target == "same" or out.times[0] == source.times[0]:
        assert_same_times(out.times, source.times, out)
    lost = " ".join(report.warnings).lower()
    if len(out.audio) == len(source.audio):
        for mine, theirs in zip(out.audio, source.audio, strict=True):
            assert mine.hashes == theirs.hashes or "recoded" in lost
            assert mine.language == theirs.language
            begin = mine.times[0] - out.times[0], theirs.times[0] - source.times[0]
            assert abs(begin[0] - begin[1]) <= 2 * HALF_MILLISECOND
    else:
        assert "audio" in lost
    if len(out.subtitles) == len(source.subtitles):
        for mine, theirs in zip(out.subtitles, source.subtitles, strict=True):
            assert [c[2] for c in mine.cues] == [c[2] for c in theirs.cues]
            assert mine.language == theirs.language
    else:
        assert "subtitle" in lost
    title = {k.lower(): v for k, v in out.metadata.items()}.get("title", "")
    assert title == source.metadata.get("title", title)
    shutil.rmtree(folder)
