"""Scores of a model by the protocols of the field."""
