"""Versions of the media libraries, for reports of faults."""

from __future__ import annotations

import av
from av.codec import Codec

_ENCODERS = ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1", "prores_ks")


def versions() -> dict[str, object]:
    """PyAV's version, FFmpeg's libavcodec version, and the encoders that are there."""
    codec = av.library_versions["libavcodec"]
    return {
        "pyav": av.__version__,
        "libavcodec": ".".join(str(part) for part in codec),
        "encoders": [name for name in _ENCODERS if _exists(name)],
    }


def _exists(name: str) -> bool:
    try:
        Codec(name, "w")
    except ValueError:
        return False
    return True
