"""Networks of others, behind the same interface as our own."""
