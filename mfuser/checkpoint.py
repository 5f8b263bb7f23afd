"""Saving and loading of weights: our own folders of safetensors files, and public encoders."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor, nn

from mfuser import compact, hub, presets
from mfuser.hub import Source

if TYPE_CHECKING:
    from mfuser.model import MFuser


HALVES = (torch.float16, torch.bfloat16)


class WeightsError(ValueError):
    """Weights are missing, unreadable, or do not fit the model; the message says which and what to do."""


class MisfitError(WeightsError):
    """Weights are those of another model: keys or shapes differ."""


def save(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
    half: bool = False,
    bits: Mapping[str, int] | None = None,
) -> None:
    """Write tensors as safetensors, beside and then renamed. half stores floating tensors as float16, bits (4 or 8) the
    matrices of these names as integers."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    packed = {
        name: (t.detach().half() if half and t.is_floating_point() else t.detach()).cpu().contiguous()
        for name, t in tensors.items()
        if name not in (bits or {})
    }
    for name, count in (bits or {}).items():
        packed |= compact.pack(name, tensors[name], count)
    beside = path.with_name(path.name + ".part")
    try:
        beside.write_bytes(serialize(packed, dict(metadata or {})))
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)  # of a write that failed half way


def load(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors (halves and integers of few bits as float32) and metadata of a safetensors file. Raises WeightsError."""
    with _open(Path(path)) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
        metadata = file.metadata() or {}
    unpacked = compact.unpack(tensors)
    return {n: t.float() if t.dtype == torch.float16 else t for n, t in unpacked.items()}, metadata


def load_metadata(path: str | Path) -> dict[str, str]:
    """Metadata of a safetensors file, without reading its tensors. Raises WeightsError."""
    with _open(Path(path)) as file:
        return file.metadata() or {}


@contextmanager
def _open(path: Path) -> Iterator[safe_open]:
    if not path.is_file():
        raise WeightsError(f"No weights at {path}; pass a folder that `python -m train fit` wrote, or a preset's name.")
    try:
        with safe_open(path, "pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a readable safetensors file ({error}); fetch or train it again.") from error


def add_metadata(path: str | Path, metadata: Mapping[str, str]) -> None:
    """Change or add entries of a safetensors file's metadata; its tensors stay bit for bit. Raises WeightsError."""
    _, found = load(path)
    save(path, load_file(path), {**found, **metadata})


def is_ours(path: Path) -> bool:
    """True for the name of a file in a folder of weights."""
    return path.suffix == ".safetensors" and path.name.startswith(("encoder-", "stream-"))


def preset_name(folder: Path) -> str | None:
    """The preset that a folder's files say they are for; None when none says so.

    Raises WeightsError when they contradict each other.
    """
    said: dict[str, str] = {}
    for path in sorted(folder.glob("*.safetensors")):
        if is_ours(path) and (name := load_metadata(path).get("preset")):
            said.setdefault(name, path.name)
    if len(said) > 1:
        (one, first), (two, second), *_ = said.items()
        raise WeightsError(f"{folder} mixes weights: {first} is for preset {one!r}, {second} for {two!r}.")
    return next(iter(said), None)


def load_exactly(target: Mapping[str, Tensor], state: Mapping[str, Tensor], what: str) -> None:
    """Copy `state` into the tensors of `target` in place, key for key.

    Raises MisfitError that lists every missing, extra and misshaped key; nothing is copied then.
    """
    check_fit({name: t.shape for name, t in target.items()}, state, what)
    with torch.no_grad():
        for key, tensor in target.items():
            tensor.copy_(state[key])


def fill(modules: Mapping[str, nn.Module], state: Mapping[str, Tensor], what: str) -> None:
    """Load modules, given by their prefix in `state`, key for key: in place, or, where a module was made without memory
    (device "meta"), by putting the tensors of `state` themselves into it.

    Raises MisfitError that lists every missing, extra and misshaped key; nothing is loaded then.
    """
    own = {p: {f"{p}.{n}".lstrip("."): t for n, t in m.state_dict().items()} for p, m in modules.items()}
    check_fit({name: t.shape for tensors in own.values() for name, t in tensors.items()}, state, what)
    for prefix, module in modules.items():
        bare = any(t.is_meta for t in own[prefix].values())
        cut = f"{prefix}." if prefix else ""
        module.load_state_dict({name.removeprefix(cut): state[name] for name in own[prefix]}, assign=bare)


def check_fit(shapes: Mapping[str, Sequence[int]], state: Mapping[str, Tensor], what: str) -> None:
    """Raises MisfitError that lists every key of `state` that is missing, extra or of another shape than expected."""
    missing, extra = sorted(shapes.keys() - state.keys()), sorted(state.keys() - shapes.keys())
    misshaped = sorted(
        f"{k} {tuple(state[k].shape)} instead of {tuple(shapes[k])}"
        for k in shapes.keys() & state.keys()
        if tuple(state[k].shape) != tuple(shapes[k])
    )
    faults = [f"{name}: {', '.join(keys)}" for name, keys in _named(missing, extra, misshaped) if keys]
    if faults:
        raise MisfitError(f"Weights do not fit {what}. " + "; ".join(faults))


def _named(missing: list[str], extra: list[str], misshaped: list[str]) -> list[tuple[str, list[str]]]:
    return [("missing", missing), ("not of this model", extra), ("wrong shape", misshaped)]


def save_folder(model: MFuser, folder: str | Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a model as a folder that `mfuser.load` reads: both encoders and every stream, bit for bit.

    Raises ValueError for a model that was prepared for inference.
    """
    model.refuse_prepared()
    folder, model_is = Path(folder), {**(metadata or {}), "preset": model.preset.name}
    for name in ("vfm", "vlm"):
        save(folder / f"encoder-{name}.safetensors", getattr(model, name).state_dict(), model_is)
    for stream in model.preset.streams:
        said = {**model_is, "temperature": str(model.temperatures.get(stream, 1.0))}
        if model.class_ids is not None:
            said["class_ids"] = json.dumps(model.class_ids.tolist())  # the vocabulary need not be there when loading
        save(folder / f"stream-{stream}.safetensors", model.state_for(stream), said)


def load_folder(model: MFuser, folder: Path | None) -> None:
    """Load encoders and every stream of a preset from a folder; public encoders that it lacks come from the hub.

    Raises WeightsError naming what is missing.
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


def stream_files(preset: presets.Preset, folder: Path, streams: Sequence[str]) -> dict[str, Path]:
    """The files of a preset's streams in a folder. Raises WeightsError with the way to make one that is missing, for a
    preset of public encoders: before gigabytes of those are fetched."""
    paths = {stream: folder / f"stream-{stream}.safetensors" for stream in streams}
    lacking = [stream for stream, path in paths.items() if not path.is_file()]
    if lacking and preset.vfm.source is not None:
        fused = lacking[0] == "fused"  # the stream that the authors' checkpoints hold
        command = presets.way(preset, folder) if fused else presets.training_command(preset, lacking[0])
        source = f" ({presets.CHECKPOINTS})" if fused and presets.is_official(preset) else ""
        raise WeightsError(f"No trained weights at {paths[lacking[0]]}: run `{command}`{source}.")
    return paths


def load_stream(model: MFuser, stream: str, path: Path) -> None:
    """Load the trained part of one stream, its temperature and, where they are kept, token ids of the class names."""
    state, metadata = load(path)
    model.load_state_for(stream, state)
    model.temperatures[stream] = float(metadata.get("temperature", 1.0))
    if "class_ids" in metadata:
        model.set_class_ids(torch.tensor(json.loads(metadata["class_ids"])))


def load_encoder(model: MFuser, name: str, folder: Path | None) -> None:
    """Load one encoder ("vfm" or "vlm") from a folder, or a public one from its own file there or from the hub.

    A text tower whose position table is shorter than the public one, as in the authors' checkpoints, stays so.
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
    """Tensors of public weights, halves as float32, in the layout of timm or open_clip. Raises WeightsError."""
    try:
        path = hub.fetch(source, folder)
    except hub.MissingError as error:
        raise WeightsError(str(error)) from error
    return load(path)[0] if path.suffix == ".safetensors" else load_pickle(path)


def load_pickle(path: Path) -> dict[str, Tensor]:
    """Tensors of a file of `torch.save`, mapped into memory where its format allows it, halves as float32.

    Nothing but tensors and plain data is unpickled, and what is no tensor is left out. Raises WeightsError.
    """
    if path.is_dir():
        raise WeightsError(f"{path} is a folder: pass the checkpoint file in it.")
    if not path.is_file():
        raise WeightsError(f"There is no file {path}: check the name and the folder.")
    try:
        data = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise WeightsError(
            f"{path} cannot be read as weights: it is damaged, or holds more than tensors and plain data, "
            "which could run code; fetch it again, or save its state_dict alone."
        ) from error
    return unwrap(data, str(path))


def unwrap(data: object, what: str = "The checkpoint") -> dict[str, Tensor]:
    """The tensors of a state dict, inside {"state_dict": ...} or not, without "module." before every name; halves as
    float32. Raises WeightsError when there are none."""
    state = data.get("state_dict", data) if isinstance(data, Mapping) else {}
    state = {n: t for n, t in state.items() if isinstance(t, Tensor)} if isinstance(state, Mapping) else {}
    if not state:
        raise WeightsError(f"{what} holds no tensors by name: it is not a state dict.")
    cut = "module." if all(name.startswith("module.") for name in state) else ""
    return {n.removeprefix(cut): t.float() if t.dtype in HALVES else t for n, t in state.items()}
