"""What the process itself uses."""

from __future__ import annotations

import sys


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes; 0 if not known."""
    try:
        import resource
    except ImportError:  # pragma: no cover - Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
