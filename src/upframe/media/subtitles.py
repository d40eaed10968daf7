"""Text subtitles from one container's format to another's."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream

_TEXT = frozenset({"subrip", "srt", "text", "mov_text", "webvtt", "ass", "ssa"})
_TARGET = {"mp4": "mov_text", "mov": "mov_text", "matroska": "subrip", "webm": "webvtt"}
_ASS_HEADER = (
    b"[Script Info]\r\nScriptType: v4.00+\r\nPlayResX: 384\r\nPlayResY: 288\r\n\r\n"
    b"[V4+ Styles]\r\nFormat: Name, Fontname, Fontsize, PrimaryColour, "
    b"SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, "
    b"ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, "
    b"MarginL, MarginR, MarginV, Encoding\r\nStyle: Default,Arial,16,&Hffffff,"
    b"&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1\r\n\r\n[Events]\r\n"
    b"Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, "
    b"Text\r\n"
)


@dataclass(frozen=True)
class SubtitleConverter:
    """Rewrites the packets of one text subtitle stream."""

    source: str
    """Codec of the source."""
    codec: str
    """Codec of the result."""

    def add_to(self, container: OutputContainer) -> Any:
        """Add the stream for the result to a container."""
        stream: Any = container.add_stream(self.codec)
        stream.codec_context.subtitle_header = _ASS_HEADER
        return stream

    def convert(self, packet: Packet[Any]) -> Iterator[Packet[Any]]:
        """The same text and times in the other format; nothing where there is none."""
        text = plain_text(bytes(packet), self.source) or ""
        if self.codec == "mov_text":
            raw = text.encode()
            payload = struct.pack(">H", len(raw)) + raw
        elif text:
            payload = text.encode()
        else:
            return
        result: Packet[Any] = Packet(payload)
        result.pts, result.dts = packet.pts, packet.dts
        result.duration = packet.duration
        result.time_base = packet.time_base
        yield result

    def flush(self) -> Iterable[Packet[Any]]:
        """Nothing is ever owed."""
        return ()


def converter_for(stream: Stream, muxer: str) -> SubtitleConverter | None:
    """A converter to the container's text format, or None if that is impossible."""
    if stream.type != "subtitle" or stream.codec_context is None:
        return None
    name, target = stream.codec_context.name, _TARGET.get(muxer)
    if name not in _TEXT or target is None:
        return None
    return SubtitleConverter(name, target)


def plain_text(raw: bytes, codec: str) -> str | None:
    """The words of a subtitle packet; None if the codec is none of text."""
    if codec not in _TEXT:
        return None
    if codec == "mov_text":
        size = struct.unpack(">H", raw[:2])[0] if len(raw) >= 2 else 0
        return raw[2 : 2 + size].decode("utf-8", "replace")
    text = raw.decode("utf-8", "replace")
    if codec in ("ass", "ssa"):
        fields = text.split(",", 8)
        text = fields[8] if len(fields) == 9 else text
        text = re.sub(r"\{[^}]*\}", "", text)
        return text.replace("\\N", "\n").replace("\\n", "\n").replace("\\h", " ")
    return re.sub(r"</?(?:i|b|u|s|font|c|v)\b[^>]*>", "", text).strip("\r\n")
