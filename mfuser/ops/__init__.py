"""Fast operators, each beside its reference, and how FLOPs are counted."""
