"""Which trained model a command runs, and where: options that evaluation and adaptation share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from mfuser import config, presets
from mfuser.loading import MFuser
from mfuser.weights import files
from train.runtime.hardware import Hardware
from train.runtime.weights import load_model, stream_of, weights_folder


@dataclass(frozen=True)
class ModelOptions:
    """A preset, its weights and a device."""

    # Which preset.
    preset: str = "nano"
    # Folder that `fit` wrote, or one of its stream files, which stands for that stream; default: the preset's own.
    weights: Annotated[Path | None, tyro.conf.arg(aliases=["--checkpoint"])] = None
    # auto, cpu, cuda or cuda:N.
    device: str = "auto"

    def chosen_preset(self) -> config.Preset:
        """The preset. Raises ValueError for an unknown name."""
        return presets.get(self.preset)

    def folder(self) -> Path | None:
        """Folder of the weights; None where a preset's own are fetched by name. Raises ValueError for another file."""
        return weights_folder(self.weights) or files.folder_of(self.chosen_preset())

    def load(self, streams: Sequence[str], hardware: Hardware) -> MFuser:
        """Load the model.

        Args:
            streams: which decoders are wanted.
            hardware: where it goes.

        Returns:
            The model in evaluation mode.

        Raises:
            ValueError: missing or unfit weights.
        """
        return load_model(self.chosen_preset(), self.weights, streams).to(hardware.device)

    def require_at_least(self, least: int, *names: str) -> None:
        """Check numbers.

        Args:
            least: 0 or 1.
            names: options, as fields.

        Raises:
            ValueError: one of them is below.
        """
        for name in names:
            if (value := getattr(self, name)) < least:
                rule = "must not be negative" if least == 0 else f"must be above {least - 1}"
                raise ValueError(f"--{name.replace('_', '-')} {rule}, got {value}.")


@dataclass(frozen=True)
class StreamOptions(ModelOptions):
    """A model of which several streams are used."""

    # Which streams; default: that of a stream file, else all that the preset has.
    streams: tuple[Literal["fused", "vfm", "vlm"], ...] = ()

    def chosen_streams(self) -> tuple[str, ...]:
        """The streams that the options name."""
        return self.streams or stream_of(self.weights) or self.chosen_preset().streams
