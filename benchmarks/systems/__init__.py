"""All six systems on the same clips: one table and one contact sheet."""
