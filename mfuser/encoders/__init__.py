"""Frozen encoders behind one small interface (`base`), one file a family."""

from mfuser.encoders import torchvision_ops  # noqa: F401  must come before anything imports timm or open_clip
