"""What a user can ask for."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from upframe.media.codecs import Audio


@dataclass(frozen=True)
class Options:
    """All choices of one run; every field has the same meaning on the command line."""

    preset: str = "balanced"
    """``fast``, ``balanced``, ``best`` or ``restore``."""
    model: str | None = None
    """Name of a model, or a weight file, instead of a preset."""
    scale: float | None = None
    """Any factor above 0; the model's own when nothing is asked."""
    size: tuple[int, int] | None = None
    """Exact output (width, height). For raw video from a pipe: the input's."""
    height: int | None = None
    """Output height; the width follows."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""
    runtime: str = "auto"
    """``auto``, ``onnx`` or ``torch``."""
    precision: str = "auto"
    """``auto``, ``fp32``, ``fp16``, ``bf16`` or ``int8``; see
    :func:`upframe.runtimes.make.choose_precision`."""
    threads: int | None = None
    """Threads of the network; all cores when None."""
    keep_ratio: float | None = None
    """How much of a frame masked models compute at most, 0 to 1."""
    seed: int | None = None
    """Of the noise of diffusion models, 0 to 2**64 - 1; 0 when None."""
    memory: int | None = None
    """Bytes that the run may take; half of what is free when None."""
    start: Fraction | None = None
    """Seconds to pass over at the beginning."""
    duration: Fraction | None = None
    """Seconds to take."""
    deinterlace: str = "auto"
    """``auto``, ``on`` or ``off``."""
    audio: Audio = "keep"
    """``keep`` (copied where the container can hold it, else recoded), ``recode`` or
    ``drop``."""
    codec: str | None = None
    """``h264``, ``hevc``, ``av1``, ``vp9``, ``ffv1``, ``prores`` or an encoder."""
    crf: int | None = None
    """Constant quality on the encoder's own scale."""
    pix_fmt: str | None = None
    """FFmpeg pixel format of the result."""
    encoder_options: dict[str, str] = field(default_factory=dict)
    """Passed through to the encoder."""
    rate: Fraction | None = None
    """Frames per second of pictures and raw video; 25 when None."""
    chunk_frames: int | None = None
    """Longest piece that is coded, recorded and resumed as one."""
    mask_images: str | None = None
    """Folder for an image of what was computed of each frame; masked models only."""
    overwrite: bool = False
    """Replace an output that exists."""
    fresh: bool = False
    """Ignore an unfinished run instead of resuming it."""
