"""Tensors in files: safetensors and pickles, read and written whole, and exact loading into modules."""

from __future__ import annotations

import hashlib
import os
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor, nn

from mfuser.weights import compact
from mfuser.weights.files import CHECKSUM, MisfitError, WeightsError, open_file

if TYPE_CHECKING:
    pass


HALVES = (torch.float16, torch.bfloat16)


def save(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
    half: bool = False,
    bits: Mapping[str, int] | None = None,
) -> None:
    """Write tensors as safetensors with a checksum. The file is written beside its place and then renamed.

    Args:
        path: of the file. Its folder is made when missing.
        tensors: by name.
        metadata: text entries of the file.
        half: store floating tensors as float16.
        bits: {name: 4 or 8} of matrices to store as integers, see `compact.pack`.
    """
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
        beside.write_bytes(serialize(packed, {**(metadata or {}), CHECKSUM: checksum(packed)}))
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)  # of a write that failed half way


def load(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file.

    Args:
        path: of the file.

    Returns:
        Tensors by name, float16 and packed integers as float32, and the metadata.

    Raises:
        WeightsError: it is missing or damaged, also where only its checksum tells.
    """
    with open_file(Path(path)) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
        metadata = file.metadata() or {}
    if CHECKSUM in metadata and metadata.pop(CHECKSUM) != checksum(tensors):
        raise WeightsError(f"{path} is damaged: its values do not match its checksum; fetch or train it again.")
    unpacked = compact.unpack(tensors)
    return {n: t.float() if t.dtype == torch.float16 else t for n, t in unpacked.items()}, metadata


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes of tensors as they are stored, in the order of the names.

    Args:
        tensors: contiguous, of any type, on the CPU.

    Returns:
        64 hex digits.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        if tensor.numel():
            digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def add_metadata(path: str | Path, metadata: Mapping[str, str]) -> None:
    """Change or add entries of a safetensors file's metadata. Its tensors stay bit for bit.

    Args:
        path: of the file.
        metadata: entries to set.

    Raises:
        WeightsError: it is missing or damaged.
    """
    _, found = load(path)
    save(path, load_file(path), {**found, **metadata})


def load_exactly(target: Mapping[str, Tensor], state: Mapping[str, Tensor], what: str) -> None:
    """Copy tensors into others in place, key for key.

    Args:
        target: tensors to fill, by name.
        state: tensors to copy, by name.
        what: what is loaded, for the message.

    Raises:
        MisfitError: lists every key that is missing, extra or of another shape. Nothing is copied then.
    """
    check_fit({name: t.shape for name, t in target.items()}, state, what)
    with torch.no_grad():
        for key, tensor in target.items():
            tensor.copy_(state[key])


def fill(modules: Mapping[str, nn.Module], state: Mapping[str, Tensor], what: str) -> None:
    """Load modules key for key.

    Tensors are copied in place. A module on the device "meta", which was made without memory, takes the tensors of
    `state` themselves.

    Args:
        modules: by their prefix in `state`.
        state: tensors by name.
        what: what is loaded, for the message.

    Raises:
        MisfitError: lists every key that is missing, extra or of another shape. Nothing is loaded then.
    """
    own = {p: {f"{p}.{n}".lstrip("."): t for n, t in m.state_dict().items()} for p, m in modules.items()}
    check_fit({name: t.shape for tensors in own.values() for name, t in tensors.items()}, state, what)
    for prefix, module in modules.items():
        bare = any(t.is_meta for t in own[prefix].values())
        cut = f"{prefix}." if prefix else ""
        module.load_state_dict({name.removeprefix(cut): state[name] for name in own[prefix]}, assign=bare)


def check_fit(shapes: Mapping[str, Sequence[int]], state: Mapping[str, Tensor], what: str) -> None:
    """Compare the keys and shapes of a state with those expected.

    Args:
        shapes: expected, by name.
        state: tensors by name.
        what: what is loaded, for the message.

    Raises:
        MisfitError: lists every key that is missing, extra or of another shape.
    """
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


def load_pickle(path: Path) -> dict[str, Tensor]:
    """Tensors of a file that `torch.save` wrote, halves as float32.

    Nothing but tensors and plain data is unpickled, and what is no tensor is left out. The file is mapped into memory
    where its format allows it.

    Args:
        path: of the file.

    Raises:
        WeightsError: it is missing or damaged, or holds something else.
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
    """The tensors of a state dict, halves as float32, without "module." before every name.

    Args:
        data: a state dict, or {"state_dict": ...}.
        what: what is read, for the message.

    Raises:
        WeightsError: there are no tensors.
    """
    state = data.get("state_dict", data) if isinstance(data, Mapping) else {}
    state = {n: t for n, t in state.items() if isinstance(t, Tensor)} if isinstance(state, Mapping) else {}
    if not state:
        raise WeightsError(f"{what} holds no tensors by name: it is not a state dict.")
    cut = "module." if all(name.startswith("module.") for name in state) else ""
    return {n.removeprefix(cut): t.float() if t.dtype in HALVES else t for n, t in state.items()}
