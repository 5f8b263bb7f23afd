"""One stream, from data to weights."""
