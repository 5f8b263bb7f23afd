"""Labelled (and unlabelled) photographs, named alike everywhere: `[name:]ROOT[/split]`."""

from train.data import sets  # noqa: F401  each set registers itself
from train.data.dataset import open_dataset, open_datasets
from train.data.groups import CITYSCAPES, LabelGroups
from train.data.registry import DATASETS, DatasetType, has_split, register
from train.data.segmentation_data import SegmentationData

__all__ = [
    "CITYSCAPES",
    "DATASETS",
    "DatasetType",
    "LabelGroups",
    "SegmentationData",
    "has_split",
    "open_dataset",
    "open_datasets",
    "register",
]
