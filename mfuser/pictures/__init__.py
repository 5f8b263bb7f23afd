"""Arrays in, pictures out: colours, overlays, charts."""
