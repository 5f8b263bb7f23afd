"""A model's folder of weights: both encoders, and one file per stream."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mfuser import hub
from mfuser.config import Preset, Source
from mfuser.weights import availability
from mfuser.weights.files import WeightsError
from mfuser.weights.tensors import fill, load, load_pickle, save

if TYPE_CHECKING:
    from mfuser.loading import MFuser


def save_folder(model: MFuser, folder: str | Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a model as a folder that `mfuser.load` reads: both encoders and every stream, bit for bit.

    Args:
        model: to write.
        folder: is made when missing.
        metadata: further entries for every file.

    Raises:
        ValueError: the model was prepared for inference.
    """
    model.refuse_prepared()
    folder, model_metadata = Path(folder), {**(metadata or {}), "preset": model.preset.name}
    for name in ("vfm", "vlm"):
        save(folder / f"encoder-{name}.safetensors", getattr(model, name).state_dict(), model_metadata)
    for stream in model.preset.streams:
        stream_metadata = {**model_metadata, "temperature": str(model.temperatures.get(stream, 1.0))}
        if model.class_ids is not None:
            stream_metadata["class_ids"] = json.dumps(
                model.class_ids.tolist()
            )  # the vocabulary need not be there when loading
        save(folder / f"stream-{stream}.safetensors", model.state_for(stream), stream_metadata)


def load_folder(model: MFuser, folder: Path | None) -> None:
    """Load the encoders and every stream of a preset. Public encoders that the folder lacks come from the hub.

    Args:
        model: to load into.
        folder: of weights; None raises.

    Raises:
        WeightsError: names what is missing.
    """
    preset = model.preset
    if folder is None:
        raise WeightsError(f"Preset {preset.name!r} has no built-in weights; pass weights=FOLDER.")
    paths = stream_files(preset, folder, preset.streams)
    for name in ("vfm", "vlm"):
        load_encoder(model, name, folder)
    model.temperatures = {}
    for stream, path in paths.items():
        load_stream(model, stream, path)


def stream_files(preset: Preset, folder: Path, streams: Sequence[str]) -> dict[str, Path]:
    """The files of streams in a folder.

    For a preset of public encoders a missing file is reported here, before gigabytes of encoders are fetched.

    Args:
        preset: of the weights.
        folder: of weights.
        streams: whose files are needed.

    Returns:
        {stream: path}.

    Raises:
        WeightsError: a file is missing. The message has the command that makes it.
    """
    paths = {stream: folder / f"stream-{stream}.safetensors" for stream in streams}
    lacking = [stream for stream, path in paths.items() if not path.is_file()]
    if lacking and preset.vfm.source is not None:
        fused = lacking[0] == "fused"  # the stream that the authors' checkpoints hold
        command = (
            availability.runnable_command(preset, folder)
            if fused
            else availability.training_command(preset, lacking[0])
        )
        source = f" ({availability.CHECKPOINTS})" if fused and availability.is_official(preset) else ""
        raise WeightsError(f"No trained weights at {paths[lacking[0]]}: run `{command}`{source}.")
    return paths


def load_stream(model: MFuser, stream: str, path: Path) -> None:
    """Load the trained part of one stream, its temperature and, where the file has them, the class names' token ids.

    Args:
        model: to load into.
        stream: "vfm", "vlm" or "fused".
        path: of the file.

    Raises:
        WeightsError: the file is missing, damaged or another model's.
    """
    state, metadata = load(path)
    model.load_state_for(stream, state)
    model.temperatures[stream] = float(metadata.get("temperature", 1.0))
    if "class_ids" in metadata:
        model.set_class_ids(torch.tensor(json.loads(metadata["class_ids"])))


def load_encoder(model: MFuser, name: str, folder: Path | None) -> None:
    """Load one encoder from a folder. A public one may come from its own file there, or from the hub.

    A text tower whose position table is shorter than the public one, as in the authors' checkpoints, stays so.

    Args:
        model: to load into.
        name: "vfm" or "vlm".
        folder: of weights, or None.

    Raises:
        WeightsError: the weights are missing, damaged or another model's.
    """
    encoder, source = getattr(model, name), getattr(model.preset, name).source
    path = folder / f"encoder-{name}.safetensors" if folder else None
    if source is not None and not (path and path.is_file()):
        state = encoder.from_public(read_public(source, folder))
    else:
        state, _ = load(path)
    if name == "vlm":
        rows = state.get("text.tower.positional_embedding", torch.empty(0)).shape[0]
        needed = model.preset.decoder.prompts + model.preset.decoder.class_tokens
        if needed <= rows < encoder.text.positions:
            encoder.text.shorten(rows)
    fill({"": encoder}, state, f"encoder {name!r} of preset {model.preset.name!r}")


def read_public(source: Source, folder: Path | None = None) -> dict[str, Tensor]:
    """Tensors of public weights in the layout of timm or open_clip, halves as float32.

    Args:
        source: repository and file names.
        folder: to look in first, or None.

    Raises:
        WeightsError: they are missing or damaged.
    """
    try:
        path = hub.fetch(source, folder)
    except hub.MissingError as error:
        raise WeightsError(str(error)) from error
    return load(path)[0] if path.suffix == ".safetensors" else load_pickle(path)
