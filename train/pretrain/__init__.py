"""Pre-training of the built-in encoders: `python -m train pretrain`."""

from train.pretrain.command import main

__all__ = ["main"]
