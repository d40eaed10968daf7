"""Our models and what people would use instead: quality, time and memory."""
