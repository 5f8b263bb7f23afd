"""Saving and loading of weights (safetensors), and the one place that converts foreign layouts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor

if TYPE_CHECKING:
    from mfuser.model import MFuser


class WeightsError(ValueError):
    """Weights are missing, unreadable, or do not fit the model; the message says which and what to do."""


class MisfitError(WeightsError):
    """Weights are those of another model: keys or shapes differ."""


def save(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None, half: bool = False
) -> None:
    """Write tensors as safetensors, beside and then renamed. half stores floating tensors as float16."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    packed = {
        name: (t.detach().half() if half and t.is_floating_point() else t.detach()).cpu().contiguous()
        for name, t in tensors.items()
    }
    beside = path.with_name(path.name + ".part")
    try:
        beside.write_bytes(serialize(packed, dict(metadata or {})))
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)  # of a write that failed half way


def load(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors (halves as float32) and metadata of a safetensors file. Raises WeightsError."""
    with _open(Path(path)) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
        metadata = file.metadata() or {}
    return {n: t.float() if t.dtype == torch.float16 else t for n, t in tensors.items()}, metadata


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


def preset_name(folder: Path) -> str | None:
    """The preset that a folder's files say they are for; None when none says so.

    Raises WeightsError when they contradict each other.
    """
    said: dict[str, str] = {}
    for path in sorted(folder.glob("*.safetensors")):
        if path.name.startswith(("encoder-", "stream-")) and (name := load_metadata(path).get("preset")):
            said.setdefault(name, path.name)
    if len(said) > 1:
        (one, first), (two, second), *_ = said.items()
        raise WeightsError(f"{folder} mixes weights: {first} is for preset {one!r}, {second} for {two!r}.")
    return next(iter(said), None)


def load_exactly(target: Mapping[str, Tensor], state: Mapping[str, Tensor], what: str) -> None:
    """Copy `state` into the tensors of `target` in place, key for key.

    Raises MisfitError that lists every missing, extra and misshaped key; nothing is copied then.
    """
    missing, extra = sorted(target.keys() - state.keys()), sorted(state.keys() - target.keys())
    misshaped = sorted(
        f"{k} {tuple(state[k].shape)} instead of {tuple(target[k].shape)}"
        for k in target.keys() & state.keys()
        if state[k].shape != target[k].shape
    )
    faults = [f"{name}: {', '.join(keys)}" for name, keys in _named(missing, extra, misshaped) if keys]
    if faults:
        raise MisfitError(f"Weights do not fit {what}. " + "; ".join(faults))
    with torch.no_grad():
        for key, tensor in target.items():
            tensor.copy_(state[key])


def _named(missing: list[str], extra: list[str], misshaped: list[str]) -> list[tuple[str, list[str]]]:
    return [("missing", missing), ("not of this model", extra), ("wrong shape", misshaped)]


def load_folder(model: MFuser, folder: Path | None) -> None:
    """Load encoders and every stream of a preset from a folder. Raises WeightsError naming what is missing."""
    if folder is None:
        raise WeightsError(f"Preset {model.preset.name!r} has no built-in weights; pass weights=FOLDER.")
    for name in ("vfm", "vlm"):
        load_encoder(model, name, folder)
    model.temperatures = {}
    for stream in model.preset.streams:
        state, metadata = load(folder / f"stream-{stream}.safetensors")
        model.load_state_for(stream, state)
        model.temperatures[stream] = float(metadata.get("temperature", 1.0))


def load_encoder(model: MFuser, name: str, folder: Path) -> None:
    """Load one encoder ("vfm" or "vlm") from a folder."""
    state, _ = load(folder / f"encoder-{name}.safetensors")
    load_exactly(getattr(model, name).state_dict(), state, f"encoder {name!r} of preset {model.preset.name!r}")


# -- the authors' layout ------------------------------------------------------------------------------------------
# Official name -> ours, as regular expressions on whole names; applied in order, each at most once.

_LAYER = [
    (r"attentions\.0\.attn\.", "cross_attn."),
    (r"attentions\.1\.attn\.", "self_attn."),
    (r"ffns\.0\.layers\.0\.0\.", "ffn.fc1."),
    (r"ffns\.0\.layers\.1\.", "ffn.fc2."),
]
_PIXEL_LAYER = [(r"attentions\.0\.", "self_attn."), (r"attentions\.1\.attn\.", "cross_attn."), *_LAYER[2:]]
OFFICIAL_RULES: dict[str, list[tuple[str, str]]] = {
    "mvfuser": [],
    "enhancer": [(r"^decoder\.", "layers."), (r"\.cross_attn\.", ".fuser.")],
    "pixel_decoder": [
        (r"^encoder\.", ""),
        *_PIXEL_LAYER,
        (r"^lateral_convs\.0\.", "lateral_conv."),
        (r"^output_convs\.0\.", "output_conv."),
    ],
    "query_decoder": [(r"^transformer_decoder\.", ""), *_LAYER],
    "text": [(r"^", "tower.")],
    "text-siglip": [
        (r"^embeddings\.token_embedding\.", "token_embedding."),
        (r"^embeddings\.position_embedding\.weight$", "positional_embedding"),
        (r"^encoder\.layers\.", "transformer.resblocks."),
        (r"\.layer_norm(\d)\.", r".ln_\1."),
        (r"\.self_attn\.", ".attn."),
        (r"\.mlp\.fc1\.", ".mlp.c_fc."),
        (r"\.mlp\.fc2\.", ".mlp.c_proj."),
        (r"^final_layer_norm\.", "ln_final."),
        (r"^head\.", "text_projection."),
        (r"^", "tower."),
    ],
}


def from_official(state: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """Rename one part of the authors' state dict (its prefix already removed) to our names.

    part: key of OFFICIAL_RULES. Separate q, k, v projections of SigLIP's towers are packed as torch packs them.
    """
    out: dict[str, Tensor] = {}
    for name, tensor in state.items():
        for pattern, replacement in OFFICIAL_RULES[part]:
            name = re.sub(pattern, replacement, name, count=1)
        out[name] = tensor
    return pack_attention(out)


def pack_attention(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Concatenate `*.attn.{q,k,v}_proj.{weight,bias}` into `*.attn.in_proj_{weight,bias}`."""
    packed = {name: t for name, t in state.items() if not re.search(r"\.attn\.[qkv]_proj\.", name)}
    for name in state:
        if found := re.fullmatch(r"(.*\.attn)\.q_proj\.(weight|bias)", name):
            prefix, kind = found.groups()
            packed[f"{prefix}.in_proj_{kind}"] = torch.cat([state[f"{prefix}.{x}_proj.{kind}"] for x in "qkv"])
    return packed


def split_head(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The authors' `decode_head.*` (prefix removed) as (pixel decoder, query decoder) in our names."""
    cut = "pixel_decoder."
    pixel = {n.removeprefix(cut): t for n, t in state.items() if n.startswith(cut)}
    query = {n: t for n, t in state.items() if not n.startswith(cut)}
    return from_official(pixel, "pixel_decoder"), from_official(query, "query_decoder")
