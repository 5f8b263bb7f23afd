"""Weights changed after training: pseudo labels, blends, names within label groups."""
