"""The published systems, one package each, as plain torch modules.

Importing a package of a system imports no torch: its public classes are imported when
they are first used.
"""
