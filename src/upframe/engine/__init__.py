"""From a file to a file: jobs, chunks, journal, resuming; and frames as a stream."""
