"""Where a run's weights come from before its first step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from mfuser import presets
from mfuser.loading import MFuser
from mfuser.weights import files as weight_files
from mfuser.weights import folder as folder_module
from train.fit.config import FitConfig
from train.runtime.weights import ENCODERS, find_encoders, has_public_encoders, load_encoders, weights_folder


@dataclass(frozen=True)
class StartingWeights:
    """The frozen encoders, and the streams where they continue earlier ones."""

    config: FitConfig
    encoders: Path | None = None  # their folder; None when they are random, or public ones from the hub
    streams: Mapping[str, Path] = field(default_factory=dict)  # file of each stream that does not start at random

    @classmethod
    def find(cls, config: FitConfig) -> StartingWeights:
        """Look for the files that the settings name.

        Args:
            config: settings of the run.

        Returns:
            The encoders of --encoders; without it, of the first folder that has them among --start, --out and the
            preset's own. The streams of --start.

        Raises:
            WeightsError: a folder or file that is named is missing, or no folder has the encoders.
        """
        preset = config.architecture
        own, start = weights_folder(config.encoders, "--encoders"), weights_folder(config.start, "--start")
        streams = {} if start is None else {s: start / f"stream-{s}.safetensors" for s in config.stream_names}
        if not (config.random_encoders or has_public_encoders(preset)):
            folders = [own] if own else [f for f in (start, config.out, preset.weights) if f is not None]
            own = find_encoders(preset, folders)
        elif own is not None and not own.is_dir():  # else what it lacks would come from the hub unnoticed
            raise weight_files.WeightsError(
                f"There is no folder {own}: name another --encoders, or none to use the hub."
            )
        for stream, path in streams.items():
            if not path.is_file():
                raise weight_files.WeightsError(
                    f"There is no {path} to start from: name a folder that has it, or leave {stream!r} out of "
                    "--streams."
                )
        return cls(config, own, streams)

    def model(self, streams: Sequence[str]) -> MFuser:
        """A model before its training, on the CPU.

        Args:
            streams: the streams that it has. A stream starts from the same weights whichever others there are.

        Raises:
            WeightsError: a file does not fit the preset.
        """
        torch.manual_seed(self.config.seed)
        preset = presets.with_streams(self.config.architecture, streams)
        if self.config.random_encoders:
            model = MFuser.from_preset(preset, pretrained=False)
        else:
            model = load_encoders(preset, self.encoders)
        for stream in self.streams.keys() & model.heads.keys():
            folder_module.load_stream(model, stream, self.streams[stream])
        return model

    def copied(self) -> list[Path]:
        """Encoder files that --out lacks, and that a run copies there so that the folder can be loaded by itself."""
        if self.encoders is None or self.config.random_encoders or has_public_encoders(self.config.architecture):
            return []
        return [self.encoders / name for name in ENCODERS if not (self.config.out / name).exists()]
