"""Labelled (and unlabelled) photographs, named alike everywhere: `[name:]ROOT[/split]`."""

from train.data import camvid, folder, idd_lite  # noqa: F401  each registers itself
from train.data.dataset import SegmentationData, open_dataset
from train.data.groups import CITYSCAPES, LabelGroups
from train.data.registry import DATASETS, DatasetType, register

__all__ = ["CITYSCAPES", "DATASETS", "DatasetType", "LabelGroups", "SegmentationData", "open_dataset", "register"]
