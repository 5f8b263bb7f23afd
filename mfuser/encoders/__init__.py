"""The frozen encoders, with one small interface (`base`) and one file a family."""

from mfuser.encoders import torchvision_ops  # noqa: F401  must come before anything imports timm or open_clip
