"""What an upscaled video lost or changed, whatever tool wrote it: a graded list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from upframe.media.alignment import Alignment, align, signatures
from upframe.media.stills import swaps_sides, upright
from upframe.media.summary import SIDE, Summary, Track, summarize

Severity = Literal["error", "warning", "info"]
_ORDER: tuple[Severity, ...] = ("error", "warning", "info")

_SHIFT = 2.5
"""Mean difference of a colour channel, of 255, that counts as a shift."""
_CELL = SIDE // 4
"""Rows and columns of a thumbnail in one of 4 x 4 parts."""
_SOUND = Fraction(1, 50)
"""Seconds by which sound may move against the video."""
_RECODED = Fraction(3, 20)
"""The same for the first packet of sound that was coded anew."""
_OWN_TAGS = frozenset(
    {"encoder", "major_brand", "minor_version", "compatible_brands", "duration"}
)


@dataclass(frozen=True)
class Finding:
    """One thing that is lost or changed."""

    code: str
    """Stable name, for example ``frames_lost``."""
    severity: Severity
    """``error``: wrong; ``warning``: changed in a way that may be wanted; ``info``."""
    message: str
    details: dict[str, Any] = field(default_factory=dict)
    """Numbers behind the message, JSON-able."""


@dataclass(frozen=True)
class Verification:
    """The result of a comparison."""

    source: str
    output: str
    frames_in: int
    frames_out: int
    findings: tuple[Finding, ...]
    """Errors first."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong: there are no errors."""
        return not any(finding.severity == "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON-able values."""
        return {"ok": self.ok, **asdict(self)}

    def describe(self) -> str:
        """One line for each finding, and a last one."""
        lines = [f"{f.severity:<8} {f.code:<20} {f.message}" for f in self.findings]
        count = sum(f.severity == "error" for f in self.findings)
        verdict = "nothing is wrong" if self.ok else f"{count} errors"
        return "\n".join(
            [*lines, f"{self.frames_in} frames in, {self.frames_out} out: {verdict}"]
        )


def compare(source: Path, output: Path) -> Verification:
    """Compare an upscaled video with what it was made from.

    Frames are matched by what they show, so that lost and doubled ones are found
    although their number is right.

    Args:
        source: the video that was upscaled.
        output: the result of any tool.

    Raises:
        InputError: one of them cannot be read.
    """
    one, other = summarize(source), summarize(output)
    matches, turned = _match(one, other)
    found = [
        *_frames(matches),
        *_times(one, other, matches),
        *_geometry(one, other, turned),
        *_colours(one, other, matches),
        *_tracks(one, other, matches),
        *_chapters(one, other),
        *_tags(one, other),
    ]
    found.sort(key=lambda finding: _ORDER.index(finding.severity))
    return Verification(
        str(source), str(output), len(one.times), len(other.times), tuple(found)
    )


def _match(one: Summary, other: Summary) -> tuple[Alignment, bool]:
    """The alignment, and whether the output is shown turned against the source."""
    plain = align(signatures(one.thumbnails), signatures(other.thumbnails))
    if one.matrix == other.matrix:
        return plain, False
    shown = [
        signatures(np.stack([upright(t, s.matrix) for t in s.thumbnails]))
        for s in (one, other)
    ]
    right = align(shown[0], shown[1])
    if right.distance.mean() <= plain.distance.mean():
        return right, False
    return plain, True


def _some(numbers: list[int]) -> str:
    text = ", ".join(map(str, numbers[:5]))
    return text + (", ..." if len(numbers) > 5 else "")


def _frames(matches: Alignment) -> Iterator[Finding]:
    unlike = matches.unlike
    for code, numbers, text in (
        ("frames_lost", matches.lost, "frames of the input are missing"),
        ("frames_doubled", matches.doubled, "frames repeat the one before"),
        ("frames_reordered", matches.reordered, "frames are out of order"),
        ("frames_unlike", unlike, "frames show something else than the input"),
    ):
        if numbers:
            yield Finding(
                code,
                "error",
                f"{len(numbers)} {text} ({_some(numbers)}).",
                {"count": len(numbers), "frames": numbers[:100]},
            )


def _offset(one: Summary, other: Summary, matches: Alignment) -> Fraction:
    """Seconds by which the output's first frame is later than its source."""
    return other.times[0] - one.times[int(matches.source[0])]


def _times(one: Summary, other: Summary, matches: Alignment) -> Iterator[Finding]:
    if one.damaged or other.damaged:
        yield Finding(
            "packets_damaged",
            "error" if other.damaged else "warning",
            f"{one.damaged} packets of the input and {other.damaged} of the output "
            "do not decode.",
            {"input": one.damaged, "output": other.damaged},
        )
    offset = _offset(one, other, matches)
    repeated = set(matches.doubled)
    moved = [
        abs(other.times[k] - one.times[int(place)] - offset)
        for k, place in enumerate(matches.source)
        if k not in repeated
    ]
    tolerance = one.tick + other.tick
    wrong = [m for m in moved if m > tolerance]
    if wrong:
        yield Finding(
            "timestamps_moved",
            "error",
            f"{len(wrong)} frames come at another time, by up to "
            f"{float(max(wrong)):.3f} s.",
            {"count": len(wrong), "seconds": float(max(wrong))},
        )
    if abs(offset) > tolerance:
        yield Finding(
            "start_moved",
            "info",
            f"The video starts {float(offset):+.3f} s later than in the input.",
            {"seconds": float(offset)},
        )


def _geometry(one: Summary, other: Summary, turned: bool) -> Iterator[Finding]:
    sizes = [s.size[::-1] if swaps_sides(s.matrix) else s.size for s in (one, other)]
    if turned:
        yield Finding(
            "rotation_lost", "error", "The video is shown turned or mirrored."
        )
        sizes = [one.size, other.size]
    shapes = [
        Fraction(width, height) * (1 / s.sar if swaps_sides(s.matrix) else s.sar)
        for (width, height), s in zip(sizes, (one, other), strict=True)
    ]
    if abs(shapes[1] / shapes[0] - 1) > Fraction(2, min(*sizes[0], *sizes[1])):
        yield Finding(
            "aspect_changed",
            "error",
            f"The shape changed from {float(shapes[0]):.3f} to "
            f"{float(shapes[1]):.3f} (size and pixel aspect ratio).",
            {"input": float(shapes[0]), "output": float(shapes[1])},
        )
    if sizes[1][0] < sizes[0][0] or sizes[1][1] < sizes[0][1]:
        yield Finding(
            "size_reduced",
            "error",
            f"The output is smaller: {sizes[1][0]}x{sizes[1][1]} instead of "
            f"{sizes[0][0]}x{sizes[0][1]}.",
            {"input": list(sizes[0]), "output": list(sizes[1])},
        )
    if one.interlaced != other.interlaced:
        what = "deinterlaced" if one.interlaced else "flagged as interlaced"
        yield Finding(
            "field_order_changed",
            "info" if one.interlaced else "error",
            f"The video is {what}, unlike the input.",
        )


def _colours(one: Summary, other: Summary, matches: Alignment) -> Iterator[Finding]:
    good = np.setdiff1d(np.arange(len(matches.source)), matches.unlike)
    if len(good):
        before = one.thumbnails[matches.source[good]].astype(np.float32)
        after = other.thumbnails[good].astype(np.float32)
        difference = after - before
        shift = np.median(difference.mean((1, 2)), 0)
        # Errors of saturated colours cancel in the mean over a frame.
        cells = difference.reshape(len(good), 4, _CELL, 4, _CELL, 3).mean((2, 4))
        worst = float(np.abs(np.median(cells, 0)).max())
        if np.abs(shift).max() > _SHIFT or worst > 5 * _SHIFT:
            yield Finding(
                "colour_shift",
                "error",
                "Colours are shown differently: red, green and blue are off by "
                + ", ".join(f"{v:+.1f}" for v in shift)
                + f" of 255 on average, and by {worst:.1f} in parts of the frame.",
                {
                    "shift": [round(float(v), 2) for v in shift],
                    "worst": round(worst, 2),
                },
            )
    if one.colour.is_hdr and (one.colour.transfer != other.colour.transfer):
        yield Finding("hdr_lost", "error", "The output is no longer tagged as HDR.")
    elif one.hdr != other.hdr and (one.hdr.mastering or one.hdr.light):
        yield Finding(
            "hdr_metadata_lost", "warning", "Static HDR metadata are lost or changed."
        )
    names = ("matrix", "primaries", "transfer", "range")
    changed = [n for n in names if getattr(one.colour, n) != getattr(other.colour, n)]
    if changed:
        yield Finding(
            "colour_tags_changed",
            "warning",
            f"Colour tags differ: {', '.join(changed)}.",
            {n: [getattr(one.colour, n), getattr(other.colour, n)] for n in changed},
        )
    if other.depth < one.depth:
        yield Finding(
            "depth_reduced",
            "warning",
            f"The output has {other.depth} bits, the input {one.depth}.",
            {"input": one.depth, "output": other.depth},
        )
    if one.alpha and not other.alpha:
        yield Finding("alpha_lost", "warning", "Transparency is lost.")


def _tracks(one: Summary, other: Summary, matches: Alignment) -> Iterator[Finding]:
    for kind in ("audio", "video", "subtitle", "cover", "attachment"):
        left = [track for track in other.tracks if track.kind == kind]
        if kind == "cover":  # Matroska holds covers as attachments
            left += [track for track in other.tracks if track.kind == "attachment"]
        for track in (t for t in one.tracks if t.kind == kind and t.hashes):
            partner = _partner(track, left)
            if partner is None:
                yield Finding(
                    f"{kind}_lost",
                    "error",
                    f"The {track.name} is missing.",
                    {"codec": track.codec, "language": track.language},
                )
                continue
            left.remove(partner)
            yield from _track(track, partner)
            if kind == "audio":
                yield from _sync(track, partner, _offset(one, other, matches))


def _partner(track: Track, candidates: list[Track]) -> Track | None:
    """The output's counterpart of a track: the same content, else the same language."""
    for candidate in candidates:
        if candidate.hashes == track.hashes:
            return candidate
    if track.kind in ("cover", "attachment"):
        return None
    for candidate in candidates:
        if candidate.texts and candidate.texts == track.texts:
            return candidate
    same = [c for c in candidates if c.language == track.language]
    return next(iter(same or candidates), None)


def _track(track: Track, partner: Track) -> Iterator[Finding]:
    details = {"packets": [len(track.hashes), len(partner.hashes)]}
    if track.hashes == partner.hashes or (track.texts and track.texts == partner.texts):
        pass
    elif track.codec != partner.codec and track.kind in ("audio", "video"):
        yield Finding(
            f"{track.kind}_recoded",
            "warning",
            f"The {track.name} is coded anew as {partner.codec}.",
            details,
        )
    elif track.kind != "video" or len(track.hashes) != len(partner.hashes):
        yield Finding(
            f"{track.kind}_changed",
            "error",
            f"The {track.name} differs: {len(partner.hashes)} packets instead of "
            f"{len(track.hashes)}, or other content.",
            details,
        )
    if track.language != partner.language:
        yield Finding(
            "language_lost",
            "warning",
            f"The {track.name} is tagged as {partner.language or 'no language'!r}.",
        )


def _sync(track: Track, partner: Track, offset: Fraction) -> Iterator[Finding]:
    if not (track.times and partner.times):
        return
    ends = (
        (min(track.times), min(partner.times)),
        (max(track.times), max(partner.times)),
    )
    moved = [other - one - offset for one, other in ends]
    # Sound coded anew has other packets, and its first may hold the encoder's delay.
    recoded = track.codec != partner.codec
    limits = (_RECODED, 5 * _RECODED) if recoded else (_SOUND, _SOUND)
    if any(abs(m) > limit for m, limit in zip(moved, limits, strict=True)):
        yield Finding(
            "sound_moved",
            "error",
            f"The {track.name} moves against the video: {float(moved[0]):+.3f} s at "
            f"its start, {float(moved[1]):+.3f} s at its end.",
            {"start": float(moved[0]), "end": float(moved[1])},
        )


def _chapters(one: Summary, other: Summary) -> Iterator[Finding]:
    if one.chapters and not other.chapters:
        yield Finding(
            "chapters_lost", "error", f"The {len(one.chapters)} chapters are missing."
        )
        return
    names = [[title for _, _, title in s.chapters] for s in (one, other)]
    offset = other.times[0] - one.times[0]
    moved = any(
        abs(b[0] - a[0] - offset) > Fraction(1, 20)
        for a, b in zip(one.chapters, other.chapters, strict=False)
    )
    if names[0] != names[1] or moved:
        yield Finding("chapters_changed", "error", "Chapters differ in time or title.")


def _tags(one: Summary, other: Summary) -> Iterator[Finding]:
    kept = other.metadata
    lost = sorted(k for k in one.metadata if k not in kept and k not in _OWN_TAGS)
    if lost:
        yield Finding(
            "tags_lost", "info", f"Tags are missing: {', '.join(lost)}.", {"tags": lost}
        )
