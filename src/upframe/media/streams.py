"""What becomes of the streams beside the video: copied, converted, or left out."""

from __future__ import annotations

import functools
import io
import wave
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import av
import av.error
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream

from upframe.errors import InputError, UsageError
from upframe.media.audio import LAYOUTS, AudioRecoder
from upframe.media.codecs import AUDIO, Audio
from upframe.media.container import open_input
from upframe.media.probe import main_video
from upframe.media.subtitles import converter_for

_TRIAL_PACKETS = 4
_TRIAL_READS = 4000


class Handler(Protocol):
    """Turns the packets of one source stream into those of its output stream."""

    def add_to(self, container: OutputContainer) -> Any:
        """Add the output stream."""
        ...

    def convert(self, packet: Packet[Any]) -> Iterable[Packet[Any]]:
        """The output's packets for the next packet of the source."""
        ...

    def flush(self) -> Iterable[Packet[Any]]:
        """Packets that are still owed at the end."""
        ...


class Copier:
    """Passes packets on as they are."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def add_to(self, container: OutputContainer) -> Any:
        """Add a stream with the same parameters.

        Raises:
            av.error.FFmpegError: the container has no place for the codec.
            ValueError: the same.
        """
        return add_copy(container, self._stream)

    def convert(self, packet: Packet[Any]) -> Iterable[Packet[Any]]:
        """The packet itself."""
        return (packet,)

    def flush(self) -> Iterable[Packet[Any]]:
        """Nothing is ever owed."""
        return ()


@dataclass(frozen=True)
class Choice:
    """What becomes of one stream of the source."""

    index: int
    label: str
    """How messages name it, for example ``audio stream 1 (aac)``."""
    action: Literal["copy", "convert", "recode", "attach", "cover", "drop"]
    note: str = ""
    """A sentence for the report; empty if nothing is lost."""


def choose_streams(path: Path, muxer: str, audio: Audio) -> list[Choice]:
    """Decide what becomes of every stream of a file but its main video.

    The muxer itself is asked, by writing a header and the first packets of each
    stream to memory: what libavformat says about codecs in general is too strict for
    some and too lenient for others.

    Args:
        path: the source.
        muxer: FFmpeg's name of the output container.
        audio: what to do with sound.

    Raises:
        InputError: the file cannot be read, or sound can neither be copied nor decoded.
        UsageError: there is no such choice for sound.
    """
    if audio not in AUDIO:
        raise UsageError(f"--audio {audio} is unknown.", f"Use {', '.join(AUDIO)}.")
    with open_input(path) as reader:
        main = main_video(reader, str(path))
        others = [s for s in reader.streams if s.index != main.index]
        if reader.chapters() and "mov" in reader.format.name:
            # The text track behind the chapters, which are copied on their own.
            others = [s for s in others if s.type != "data"]
        samples = first_packets(reader, [s.index for s in others])
        return [_choose(s, samples[s.index], muxer, audio) for s in others]


def handler_for(choice: Choice, stream: Stream, muxer: str) -> Handler:
    """What carries a choice out, for copied, converted and recoded streams."""
    if choice.action == "recode":
        return AudioRecoder(stream, muxer)  # type: ignore[arg-type]
    if choice.action == "convert":
        converter = converter_for(stream, muxer)
        assert converter is not None
        return converter
    return Copier(stream)


def _choose(
    stream: Stream, packets: list[Packet[Any]], muxer: str, audio: Audio
) -> Choice:
    label = f"{stream.type} stream {stream.index}"
    if stream.codec_context is not None:
        label += f" ({stream.codec_context.codec.canonical_name})"
    hint = "" if muxer == "matroska" else " (-o NAME.mkv may)"
    cannot = f"is left out: {muxer} cannot hold it{hint}."
    if stream.type == "attachment":
        if muxer == "matroska":
            return Choice(stream.index, label, "attach")
        file = stream.metadata.get("filename", "an attachment")
        return Choice(stream.index, label, "drop", f"The attachment {file} {cannot}")
    cover = bool(stream.disposition & Disposition.attached_pic)
    if cover and muxer == "matroska":
        return Choice(stream.index, label, "cover")
    if stream.type == "audio":
        return _choose_audio(stream, packets, muxer, audio, label)
    packets = [] if cover else packets
    if not (cover and muxer == "webm") and _fits(Copier(stream), packets, muxer):
        return Choice(stream.index, label, "copy")
    converter = converter_for(stream, muxer)
    if converter is not None:
        note = (
            f"The {label} was converted to {converter.codec}: "
            f"{muxer} does not hold its own format."
        )
        return Choice(stream.index, label, "convert", note)
    return Choice(stream.index, label, "drop", f"The {label} {cannot}")


def _choose_audio(
    stream: Any, packets: list[Packet[Any]], muxer: str, audio: Audio, label: str
) -> Choice:
    if audio == "drop":
        return Choice(stream.index, label, "drop", f"The {label} is left out.")
    if any(packet.has_sidedata("encryption_info") for packet in packets):
        raise InputError(
            f"The {label} is encrypted (copy protection).",
            "Leave it out with --audio drop.",
        )
    if _lacks_aac_header(stream, packets):
        raise InputError(
            f"The {label} lacks the header that its decoder needs.",
            "Leave it out with --audio drop, or repair the file.",
        )
    if audio == "keep" and _fits(Copier(stream), packets, muxer):
        return Choice(stream.index, label, "copy")
    why = "as asked" if audio == "recode" else f"{muxer} cannot hold its own format"
    if stream.codec_context is not None:
        recoder = AudioRecoder(stream, muxer)
        if _fits(recoder, packets, muxer):
            note = f"The {label} was recoded to {recoder.codec}: {why}."
            return Choice(stream.index, label, "recode", note)
    raise InputError(
        f"The {label} can neither be copied into {muxer} nor decoded.",
        "Leave it out with --audio drop"
        + ("." if muxer == "matroska" else ", or write NAME.mkv."),
    )


def _lacks_aac_header(stream: Any, packets: list[Packet[Any]]) -> bool:
    """Whether AAC comes without its configuration: it would play at a wrong speed."""
    context = stream.codec_context
    if context is None or context.name != "aac" or context.extradata or not packets:
        return False
    data = bytes(packets[0])
    return not (data[0] == 0xFF and data[1] & 0xF0 == 0xF0)  # ADTS tells by itself


def first_packets(
    reader: InputContainer, indexes: list[int]
) -> dict[int, list[Packet[Any]]]:
    """The first packets of streams, as far as they come early in the file.

    Subtitles may come late; the search does not wait for them.
    """
    found: dict[int, list[Packet[Any]]] = {index: [] for index in indexes}
    waiting = {i for i in indexes if reader.streams[i].type in ("audio", "video")}
    try:
        for count, packet in enumerate(reader.demux()):
            mine = found.get(packet.stream.index)
            if mine is not None and packet.size and len(mine) < _TRIAL_PACKETS:
                mine.append(packet)
                if len(mine) == _TRIAL_PACKETS:
                    waiting.discard(packet.stream.index)
            if not waiting or count >= _TRIAL_READS:
                break
    except av.error.FFmpegError:
        pass  # a damaged beginning: what came before it must do
    return found


def _fits(handler: Handler, packets: list[Packet[Any]], muxer: str) -> bool:
    """Whether a container takes a stream: its header, first packets and trailer."""
    file = io.BytesIO()
    written = size = 0
    try:
        with av.open(file, "w", format=muxer) as trial:
            target = handler.add_to(trial)
            trial.start_encoding()
            for packet in _converted(handler, packets):
                packet.stream = target
                written += bool(packet.size)
                size += packet.size
                trial.mux_one(packet)
        if written == 0:
            return not packets or not isinstance(handler, AudioRecoder)
        file.seek(0)
        with open_input(file, format=muxer) as back:
            sizes = [packet.size for packet in back.demux() if packet.size]
            # MOV joins packets of PCM; others take headers off each packet.
            return len(sizes) >= written or sum(sizes) >= size
    except (av.error.FFmpegError, ValueError, InputError):
        return False


def _converted(handler: Handler, packets: list[Packet[Any]]) -> Iterator[Packet[Any]]:
    for packet in packets:
        if packet.pts is None:
            packet.pts = packet.dts  # AVI's video
        yield from handler.convert(packet)
    yield from handler.flush()


def add_copy(container: OutputContainer, stream: Stream) -> Any:
    """Add a stream with the same coded parameters.

    Raises:
        av.error.FFmpegError: the container has no place for the codec.
        ValueError: the same.
    """
    try:
        copy: Any = container.add_stream_from_template(stream, opaque=True)
    except ValueError:
        if stream.type != "audio" or container.format.name != "matroska":
            raise
        # PyAV goes by a table that lacks what Matroska holds by its WAVE number (WMA,
        # ADPCM, AMR, A-law, ...). Another stream's parameters can be replaced.
        copy = container.add_stream_from_template(_pcm_stream())
        BitStreamFilterContext("null", in_stream=stream, out_stream=copy)
        copy.codec_context.codec_tag = "\0\0\0\0"
        copy.time_base = stream.time_base
    _name_channels(copy)
    return copy


@functools.cache
def _pcm_stream() -> Stream:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16))
    file.seek(0)
    return av.open(file, format="wav").streams[0]


def _name_channels(stream: Any) -> None:
    """Matroska may count channels without naming them; MP4's PCM needs the names."""
    if stream.type == "audio" and stream.codec_context.layout.name.endswith("channels"):
        count = stream.codec_context.layout.nb_channels
        if count in LAYOUTS:
            stream.codec_context.layout = LAYOUTS[count]
