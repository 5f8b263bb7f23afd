"""The authors' checkpoints. Layout and peculiarities are those of the released code.

Each of our tensors names the official entry that it comes from, and every official entry is accounted for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mfuser.config import Preset
from mfuser.encoders.vlm import rotary_table
from mfuser.weights.availability import CHECKPOINTS, OFFICIAL
from mfuser.weights.files import MisfitError, WeightsError
from mfuser.weights.tensors import check_fit, load_pickle

if TYPE_CHECKING:
    from mfuser.loading import MFuser

# Our name -> the official one, as regular expressions, all applied in order. "{q,k,v}" are three entries packed along
# their rows as torch packs them; "[0]" or "[1:]" are thirds of the rows of a packed entry; "[None]" adds a first axis.
_TEXT_SIGLIP = [
    (r"^token_embedding\.", "embeddings.token_embedding."),
    (r"^positional_embedding$", "embeddings.position_embedding.weight"),
    (r"^transformer\.resblocks\.", "encoder.layers."),
    (r"\.ln_(\d)\.", r".layer_norm\1."),
    (r"\.attn\.in_proj_(weight|bias)$", r".self_attn.{q,k,v}_proj.\1"),
    (r"\.attn\.", ".self_attn."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
    (r"^ln_final\.", "final_layer_norm."),
    (r"^text_projection\.", "head."),
]
RULES: dict[str, list[tuple[str, str]]] = {
    "same": [],
    "eva02-clip": [
        (r"\.attn\.([qv])_proj\.bias$", r".attn.\1_bias"),
        (r"\.attn\.norm\.", ".attn.inner_attn_ln."),
        (r"\.mlp\.fc1_g\.", ".mlp.w1."),
        (r"\.mlp\.fc1_x\.", ".mlp.w2."),
        (r"\.mlp\.fc2\.", ".mlp.w3."),
        (r"\.mlp\.norm\.", ".mlp.ffn_ln."),
    ],
    "clip": [],
    "siglip": [
        (r"^patch_embed\.proj\.", "embeddings.patch_embedding."),
        (r"^pos_embed$", "embeddings.position_embedding.weight[None]"),
        (r"^blocks\.", "encoder.layers."),
        (r"\.norm(\d)\.", r".layer_norm\1."),
        (r"\.attn\.qkv\.", ".self_attn.{q,k,v}_proj."),
        (r"\.attn\.proj\.", ".self_attn.out_proj."),
        (r"^norm\.", "post_layernorm."),
        (r"^attn_pool\.latent$", "head.probe"),
        (r"^attn_pool\.q\.(weight|bias)$", r"head.attention.in_proj_\1[0]"),
        (r"^attn_pool\.kv\.(weight|bias)$", r"head.attention.in_proj_\1[1:]"),
        (r"^attn_pool\.proj\.", "head.attention.out_proj."),
        (r"^attn_pool\.norm\.", "head.layernorm."),
        (r"^attn_pool\.", "head."),
    ],
    "text": [],
    "text-siglip": _TEXT_SIGLIP,
    "enhancer": [(r"^layers\.", "decoder."), (r"\.fuser\.", ".cross_attn.")],
    "pixel_decoder": [
        (r"^(layers|post_norm)\.", r"encoder.\1."),
        (r"\.self_attn\.", ".attentions.0."),
        (r"\.cross_attn\.", ".attentions.1.attn."),
        (r"\.ffn\.fc1\.", ".ffns.0.layers.0.0."),
        (r"\.ffn\.fc2\.", ".ffns.0.layers.1."),
        (r"^(lateral|output)_conv\.", r"\1_convs.0."),
    ],
    "query_decoder": [
        (r"^(layers|post_norm)\.", r"transformer_decoder.\1."),
        (r"\.cross_attn\.", ".attentions.0.attn."),
        (r"\.self_attn\.", ".attentions.1.attn."),
        (r"\.ffn\.fc1\.", ".ffns.0.layers.0.0."),
        (r"\.ffn\.fc2\.", ".ffns.0.layers.1."),
    ],
}
# Our prefix, the official one, and the rules for what follows; {family} is that of the vision-language encoder.
LAYOUT = [
    ("vfm.trunk.", "backbone.dinov2.", "same"),
    ("vlm.trunk.", "backbone.", "{family}"),
    ("vlm.text.tower.", "text_encoder.", "{text}"),
    ("fusion.adapters.", "backbone.adapter.", "same"),
    ("fusion.vfm_in.", "backbone.adapter_proj1.", "same"),
    ("fusion.vfm_out.", "backbone.adapter_proj2.", "same"),
    ("fusion.joint.", "backbone.adapter_proj3.", "same"),
    ("heads.fused.prompts", "contexts", "same"),
    ("heads.fused.text_scale", "gamma", "same"),
    ("heads.fused.enhancer.", "context_decoder.", "enhancer"),
    ("heads.fused.pyramid.up4.", "backbone.fpn1.", "same"),
    ("heads.fused.pyramid.up2.", "backbone.fpn2.0.", "same"),
    ("heads.fused.pixel_decoder.", "decode_head.pixel_decoder.", "pixel_decoder"),
    ("heads.fused.query_decoder.", "decode_head.", "query_decoder"),
]
ROTARY = re.compile(r"backbone\.(blocks\.\d+\.attn\.)?rope\.freqs_(cos|sin)")  # constants: 2 tables, 25 times
INERT = {  # saved, but never read by the released code
    "eva02-clip": re.compile(r"backbone\.dinov2\.mask_token|random_text"),
    "clip": re.compile(r"backbone\.dinov2\.mask_token"),
    "siglip": re.compile(r"backbone\.dinov2\.mask_token|backbone\.adapter_proj[123]\..*"),
}
SIGNS = {  # an entry that only this checkpoint has
    "eva02-clip-l": "backbone.blocks.0.attn.inner_attn_ln.weight",
    "clip-l": "backbone.class_embedding",
    "siglip-l": "backbone.embeddings.position_embedding.weight",
}


@dataclass(frozen=True)
class Origin:
    """Where one of our tensors comes from."""

    names: tuple[str, ...]  # official entries; several are packed along their rows
    rows: slice | None = None  # the thirds of its rows to take from a packed entry
    new_axis: bool = False  # whether ours has one more axis, the first

    @classmethod
    def parse(cls, text: str) -> Origin:
        """Read the notation of `RULES`."""
        if found := re.fullmatch(r"(.*)\[None\]", text):
            return cls((found[1],), new_axis=True)
        if found := re.fullmatch(r"(.*)\[(\d)(:?)\]", text):
            first = int(found[2])
            return cls((found[1],), rows=slice(first, 3 if found[3] else first + 1))
        if found := re.fullmatch(r"(.*)\{(.*)\}(.*)", text):
            return cls(tuple(found[1] + part + found[3] for part in found[2].split(",")))
        return cls((text,))

    def shape(self, own: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of each official entry.

        Args:
            own: shape of our tensor.
        """
        if self.new_axis:
            return own[1:]
        if self.rows is not None:
            return (own[0] // (self.rows.stop - self.rows.start) * 3, *own[1:])
        return (own[0] // len(self.names), *own[1:]) if len(self.names) > 1 else own

    def take(self, state: Mapping[str, Tensor]) -> Tensor:
        """Our tensor: a view of the official one, or a new tensor where several are packed.

        Args:
            state: the official state dict.
        """
        if len(self.names) > 1:
            return torch.cat([state[name] for name in self.names])
        tensor = state[self.names[0]]
        if self.rows is not None:
            third = len(tensor) // 3
            return tensor[self.rows.start * third : self.rows.stop * third]
        return tensor[None] if self.new_axis else tensor


@dataclass
class Account:
    """What every official entry is used for."""

    used: dict[str, list[str]] = field(default_factory=dict)  # official name -> ours
    constant: list[str] = field(default_factory=list)  # computed by ours, compared when present
    inert: list[str] = field(default_factory=list)  # never read by the released code


# ------------------------------------------------------------------------------------------------ whole checkpoints


def read(path: str | Path) -> dict[str, Tensor]:
    """State dict of a checkpoint file, without optimizer and metadata.

    Args:
        path: of the file.

    Raises:
        WeightsError: it is missing or damaged.
    """
    path = Path(path)
    if not path.exists():
        raise WeightsError(f"There is no file {path}: check the name and the folder ({CHECKPOINTS}).")
    return load_pickle(path)


def recognise(names: Iterable[str], expected: str | None = None) -> str:
    """Which vision-language model a checkpoint of the authors is for.

    Args:
        names: of its entries.
        expected: one of `availability.OFFICIAL`, or None when it is not known.

    Returns:
        One of `availability.OFFICIAL`.

    Raises:
        ValueError: `expected` is unknown.
        WeightsError: the checkpoint is none of the authors'.
        MisfitError: it is another one than `expected`.
    """
    if expected is not None and expected not in OFFICIAL:
        raise ValueError(f"Unknown vlm {expected!r}; choose one of {', '.join(OFFICIAL)}.")
    names = set(names)
    found = next((vlm for vlm in OFFICIAL if SIGNS[vlm] in names), None)
    if expected is not None and found is not None and found != expected:
        raise MisfitError(
            f"The checkpoint is the authors' for {found!r}, not for {expected!r}: pass that one, or none."
        )
    if found is None and expected is None:
        raise WeightsError(
            f"The checkpoint is none of the authors': it has no {' or '.join(SIGNS.values())}; "
            "a model trained here is loaded from its folder."
        )
    return expected or found


def origins(names: Iterable[str], preset: Preset) -> dict[str, Origin]:
    """Official origin of each of our tensors.

    Args:
        names: of our tensors.
        preset: of the paper.

    Returns:
        {our name: origin}. SigLIP's logit scale has none, because the authors' checkpoints leave it out.
    """
    family = preset.vlm.family
    text = "text-siglip" if family == "siglip" else "text"
    found = {}
    for name in names:
        for own, theirs, part in LAYOUT:
            if name.startswith(own):
                rules = part.format(family=family, text=text)
                found[name] = Origin.parse(theirs + rename(name.removeprefix(own), rules))
                break
    return found


def account(model: MFuser, names: Iterable[str]) -> Account:
    """What official entries are used for.

    Args:
        model: of a preset of the paper.
        names: of official entries. Those that are in no list of the result are unknown.
    """
    result, family = Account(), model.preset.vlm.family
    for own, origin in origins(model.state_dict(), model.preset).items():
        for name in origin.names:
            result.used.setdefault(name, []).append(own)
    result.constant = sorted(n for n in names if family == "eva02-clip" and ROTARY.fullmatch(n))
    result.inert = sorted(n for n in names if n not in result.used and INERT[family].fullmatch(n))
    return result


def convert(state: Mapping[str, Tensor], model: MFuser) -> dict[str, Tensor]:
    """The state dict of a model from an official one, mostly as views of its tensors.

    Args:
        state: of the authors.
        model: of the same preset.

    Raises:
        MisfitError: lists every official key that is missing, extra or of another shape, or every constant of another
            value.
    """
    own = model.state_dict()
    found, listed = origins(own, model.preset), account(model, state)
    constants = rotary_constants(model) if listed.constant else {}
    shapes = {n: origin.shape(tuple(own[k].shape)) for k, origin in found.items() for n in origin.names}
    shapes |= {n: tuple(state[n].shape) for n in listed.inert}
    shapes |= {n: tuple(constants[n.rpartition("_")[2]].shape) for n in listed.constant}
    check_fit(shapes, state, f"the authors' layout of preset {model.preset.name!r}")
    off = {n: (state[n] - constants[n.rpartition("_")[2]]).abs().max() for n in listed.constant}
    wrong = [n for n, error in off.items() if not error <= 1e-4]  # nor may it be no number
    if wrong:
        raise MisfitError(f"Rotary tables of the checkpoint differ from the released ones: {', '.join(wrong)}.")
    tensors = {name: origin.take(state) for name, origin in found.items()}
    if "vlm.logit_scale" in own:
        tensors["vlm.logit_scale"] = torch.tensor(model.vlm.default_scale)
    return tensors


def rotary_constants(model: MFuser) -> dict[str, Tensor]:
    """The released code's rotary tables at the stored grid.

    Args:
        model: with EVA02-CLIP.

    Returns:
        {"cos": (n*n, head width), "sin": (n*n, head width)} float32.
    """
    vlm = model.vlm
    table = rotary_table((vlm.grid, vlm.grid), vlm.trunk.blocks[0].attn.head_dim, vlm.span, torch.device("cpu"))
    sin, cos = table.chunk(2, dim=-1)
    return {"cos": cos, "sin": sin}


# ------------------------------------------------------------------------------------------------ parts


def rename(name: str, part: str) -> str:
    """The authors' name of one of our tensors, in the notation of `RULES`.

    Args:
        name: of our tensor, without the prefix of the part.
        part: key of `RULES`.
    """
    for pattern, replacement in RULES[part]:
        name = re.sub(pattern, replacement, name, count=1)
    return name


def collect(target: Mapping[str, Tensor], state: Mapping[str, Tensor], part: str = "same") -> dict[str, Tensor]:
    """State dict of one of our modules from the authors' state dict of the same module.

    Args:
        target: our state dict, for names and shapes.
        state: theirs, without prefixes.
        part: key of `RULES`.

    Raises:
        MisfitError: lists every official key that is missing, extra or of another shape.
    """
    found = {name: Origin.parse(rename(name, part)) for name in target}
    shapes = {n: origin.shape(tuple(target[k].shape)) for k, origin in found.items() for n in origin.names}
    check_fit(shapes, state, f"the authors' layout of {part!r}")
    return {name: origin.take(state) for name, origin in found.items()}
