"""MFuser: Mamba as a bridge between a vision foundation model and a vision-language model (CVPR 2025), for people.

>>> import mfuser
>>> analysis = mfuser.load("nano").analyse("street.jpg")
>>> analysis.masks["fused"], analysis.similarity("car", stream="fused")
"""

from mfuser import presets, weather
from mfuser.model import MFuser
from mfuser.segmenter import Segmenter, load

__all__ = ["MFuser", "Segmenter", "load", "presets", "weather"]
