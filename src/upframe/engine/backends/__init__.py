"""Where the chunks of a job are computed; every backend writes the same store."""
