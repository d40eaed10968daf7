"""``upframe.upscale``: one file to another."""

from __future__ import annotations

from typing import Unpack

from upframe.engine.backends.choose import run
from upframe.engine.declaring import documented
from upframe.engine.finish import Report
from upframe.engine.options import AnyPath, Keywords, Options
from upframe.engine.pipeline import ProgressCallback
from upframe.engine.prepare import prepare


@documented(Options, Keywords)
def upscale(
    src: AnyPath,
    dst: AnyPath | None = None,
    *,
    progress: ProgressCallback | None = None,
    **options: Unpack[Keywords],
) -> Report:
    """Upscale a video file, or a folder or pattern of images.

    Frame count, timestamps, colours, sound, subtitles and the rest of the file are
    kept; the output appears under its name only when it is complete and verified. An
    unfinished run of the same output is continued.

    Values may be given as on the command line, too: ``start="1:30"``,
    ``size="1280x720"``, ``memory="2GiB"``.

    Args:
        src: video file, folder or pattern of images, or ``-`` for standard input.
        dst: output; beside the input when None.
        {options}
        progress: called in the calling thread as frames are written.

    Returns:
        What was done; ``warnings`` names what could not be kept.

    Raises:
        UpframeError: see ``upframe.errors``; the message says what to do.
    """
    chosen = Options.from_keywords(options, caller="upscale")
    return run(prepare(src, dst, chosen), progress)
