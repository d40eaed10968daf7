"""Ways to run a model: each offers the small interface of ``runtimes.base``."""
