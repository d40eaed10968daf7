"""The backend that a job's options name."""

from __future__ import annotations

from upframe.engine.backends import local
from upframe.engine.finish import Report
from upframe.engine.pipeline import ProgressCallback
from upframe.engine.prepare import Job


def run(job: Job, progress: ProgressCallback | None = None) -> Report:
    """Carry out a job and close it, in as many processes as its options say.

    Args:
        job: from `prepare`.
        progress: called in this thread as frames are written.

    Raises:
        UpframeError: see its tree; the message says what to do.
        KeyboardInterrupt: Ctrl-C; finished chunks are kept for the next run.
    """
    if job.options.jobs == 1:
        return local.run(job, progress)
    from upframe.engine.backends import processes  # few runs need it

    return processes.run(job, job.options.jobs, progress)
