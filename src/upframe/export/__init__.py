"""From torch to files of other runtimes, each compared with torch."""
