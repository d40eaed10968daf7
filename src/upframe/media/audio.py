"""Recoding sound that the output's container cannot hold."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

_CODECS = {"matroska": "flac", "webm": "libopus", "mp4": "aac", "mov": "aac"}
_NAMES = {"flac": "FLAC", "libopus": "Opus", "aac": "AAC"}
_BITS_PER_CHANNEL = {"aac": 96_000, "libopus": 80_000}
_RATES: dict[str, tuple[int, ...]] = {
    "aac": (
        7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000,
        88200, 96000,
    ),
    "libopus": (8000, 12000, 16000, 24000, 48000),
}  # fmt: skip
LAYOUTS = {1: "mono", 2: "stereo", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
"""Usual names of the channel layouts, by number of channels."""
_GAP = Fraction(1, 10)


class AudioRecoder:
    """Decodes one audio stream and encodes it as the container's usual codec.

    FLAC in Matroska, Opus in WebM, AAC in MP4 and MOV. The sound keeps its place in
    time: gaps of more than 0.1 s become silence.

    Args:
        stream: of an open input; its packets go to `convert`.
        muxer: FFmpeg's name of the output container.
    """

    def __init__(self, stream: AudioStream, muxer: str) -> None:
        self._decoder: Any = stream.codec_context
        self._encoder = _CODECS[muxer]
        self.codec = _NAMES[self._encoder]
        self.damaged = 0
        """Packets that did not decode."""
        # AVI has no timestamps for sound: what comes next follows at once.
        self._timed = stream.container.format.name != "avi"
        self._target: Any = None
        self._next: Fraction | None = None

    def add_to(self, container: OutputContainer) -> Any:
        """Add the encoded stream to an output.

        Raises:
            av.error.FFmpegError: the encoder does not take this sound.
        """
        source = self._decoder
        rate = source.sample_rate
        if rate not in _RATES.get(self._encoder, (rate,)):
            rate = 48000
        channels = source.layout.nb_channels
        layout = source.layout.name
        if layout not in LAYOUTS.values():
            layout = LAYOUTS.get(channels, "stereo")
        target: Any = container.add_stream(self._encoder, rate=rate, layout=layout)
        context = target.codec_context
        if self._encoder == "flac":
            wide = source.format is not None and source.format.name.startswith("s32")
            context.format = "s32" if wide else "s16"
        else:
            context.bit_rate = _BITS_PER_CHANNEL[self._encoder] * max(1, channels)
        context.time_base = Fraction(1, rate)
        context.open()
        self._target = target
        return target

    def convert(self, packet: Packet[Any]) -> Iterator[Packet[Any]]:
        """The encoded packets that one packet of the source makes ready."""
        try:
            frames = self._decoder.decode(packet)
        except av.error.FFmpegError:
            self.damaged += 1
            return
        for frame in frames:
            yield from self._encode(frame)

    def flush(self) -> Iterator[Packet[Any]]:
        """The packets that decoder and encoder still hold."""
        try:
            frames = self._decoder.decode(None)
        except av.error.FFmpegError:
            frames = []
        for frame in frames:
            yield from self._encode(frame)
        if self._next is not None:
            yield from self._target.encode(None)

    def _encode(self, frame: AudioFrame) -> Iterator[Packet[Any]]:
        at = None
        if frame.pts is not None and frame.time_base and self._timed:
            at = frame.pts * Fraction(frame.time_base)
        if self._next is None:
            self._next = at or Fraction(0)
        while at is not None and at - self._next > _GAP:
            wanted = round((at - self._next) * frame.sample_rate)
            yield from self._put(_silence(frame, min(wanted, frame.sample_rate)))
        yield from self._put(frame)

    def _put(self, frame: AudioFrame) -> Iterator[Packet[Any]]:
        assert self._next is not None
        rate = frame.sample_rate
        frame.time_base = Fraction(1, rate)
        frame.pts = round(self._next * rate)
        self._next += Fraction(frame.samples, rate)
        yield from self._target.encode(frame)


def _silence(like: AudioFrame, samples: int) -> AudioFrame:
    """A silent frame of the same kind."""
    channels = like.layout.nb_channels
    planar = like.format.is_planar
    shape = (channels, samples) if planar else (1, samples * channels)
    level = 128 if like.format.name.startswith("u8") else 0
    data: Any = np.full(shape, level, like.to_ndarray().dtype)
    frame = AudioFrame.from_ndarray(data, like.format.name, like.layout.name)
    frame.sample_rate = like.sample_rate
    return frame
