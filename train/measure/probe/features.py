"""What is probed: the features of every patch of a folder's encoders, and of the ImageNet trunk that they start from.

Rows of a folder, each there when its files are:

* "vfm tokens", "vlm tokens": what enters block 0, the trunk alone;
* "vfm", "vlm": after the last block, normed;
* "vfm + vlm": both of these side by side, which says how much one adds to the other;
* "fused": the same two after the last adapter of the fused stream.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mfuser import presets
from mfuser.config import Preset
from mfuser.encoders.base import VisionEncoder
from mfuser.encoders.nano import NanoVision
from mfuser.fusion.stack import pair_blocks
from mfuser.loading import MFuser
from mfuser.model import Embedded
from mfuser.weights import files
from mfuser.weights import folder as folder_module
from train.pretrain.trunk import Teacher
from train.runtime.weights import ENCODERS

PAIR = ("vfm", "vlm")
BOTH = "vfm + vlm"
TITLES = {
    "vfm tokens": "VFM, trunk alone",
    "vfm": "VFM, last block",
    "vlm tokens": "VLM, trunk alone",
    "vlm": "VLM, last block",
    "vfm + vlm": "VFM + VLM, last blocks",
    "fused": "fused, both halves",
}
PLACES = 6  # pairs of blocks at most after which tokens are compared
Steps = tuple[list[Tensor], list[Tensor]]  # tokens (B, h*w, C) of both sides, one entry a place


@dataclass
class PatchFeatures:
    """Features of B pictures, all float32.

    Args:
        grid: (h, w) patches.
        rows: (B, h, w, C) by name; "vfm + vlm" has no entry of its own.
        texts: (B, h, w, C_t) unit embeddings in the text space of rows that have one.
        compared: tokens at every place of `Encoders.places`, by what is compared.
    """

    grid: tuple[int, int]
    rows: dict[str, Tensor]
    texts: dict[str, Tensor] = field(default_factory=dict)
    compared: dict[str, Steps] = field(default_factory=dict)


def features_of(rows: Mapping[str, Tensor], row: str) -> Tensor:
    """Features (..., C) of a row; of "vfm + vlm" those of both side by side."""
    return torch.cat([rows[name] for name in PAIR], dim=-1) if row == BOTH else rows[row]


class Encoders:
    """The encoders of a folder, which may hold one alone, and the adapters of its fused stream.

    Args:
        preset: what the weights are of.
        folder: of weights, or None.
        device: where they run.

    Attributes:
        names: of the encoders that are there.
        rows: names of their features, in the order of a table.
        places: where two encoders are compared, "tokens" and the pairs of blocks by number.

    Raises:
        WeightsError: there is no encoder, or weights do not fit.
    """

    def __init__(self, preset: Preset, folder: Path | None, device: torch.device | str = "cpu"):
        self.device = device
        here = {n: folder is not None and (folder / file).is_file() for n, file in zip(PAIR, ENCODERS, strict=True)}
        public = preset.vfm.source is not None  # fetched when the folder lacks them
        self.names = tuple(name for name in PAIR if here[name] or public)
        if not self.names:
            raise files.WeightsError(
                f"No encoder of preset {preset.name!r} in {folder or 'any folder'}: name a folder of encoder-vfm or "
                "encoder-vlm.safetensors with --weights."
            )
        self.model = MFuser(presets.with_streams(preset, ("fused",)), bare_encoders=True)
        for name in self.names:
            folder_module.load_encoder(self.model, name, folder)
        stream = None if folder is None else folder / "stream-fused.safetensors"
        self.fused = len(self.names) == 2 and stream is not None and stream.is_file()
        if self.fused:
            folder_module.load_stream(self.model, "fused", stream)
        self.model.eval()
        for name in self.names:
            getattr(self.model, name).to(device).for_inference()
        self.model.fusion.to(device)
        self.rows = tuple(row for name in self.names for row in (f"{name} tokens", name))
        self.rows += ((BOTH,) if len(self.names) == 2 else ()) + (("fused",) if self.fused else ())
        pairs = pair_blocks(self.model.vfm.depth, self.model.vlm.depth)
        count = min(len(pairs), PLACES)
        self.pairs = [(i + 1) * len(pairs) // count - 1 for i in range(count)]  # after which tokens are compared
        self.ends = [pairs[i] for i in self.pairs]
        self.places = ("tokens", *(str(i + 1) for i in self.pairs))

    @torch.no_grad()
    def features(self, pixels: Tensor, compare: bool = False) -> PatchFeatures:
        """Features of pictures.

        Args:
            pixels: (B, 3, H, W) float RGB 0..255 on the device.
            compare: fill `texts` and `compared` too.

        Raises:
            ValueError: the two encoders' patch grids differ.
        """
        encoders = {name: getattr(self.model, name) for name in self.names}
        embedded = {name: encoder.embed(pixels) for name, encoder in encoders.items()}
        grids = [grid for _, grid in embedded.values()]
        if grids[0] != grids[-1]:
            raise ValueError(f"The encoders' patch grids differ, {grids[0]} and {grids[-1]}: they cannot be paired.")
        rows, dense, steps, compared = {}, {}, {}, {}
        for name, encoder in encoders.items():
            ends = [pair[PAIR.index(name)] for pair in self.ends]
            steps[name], normed = through(encoder, *embedded[name], ends)
            rows |= {f"{name} tokens": steps[name][0], name: encoder.patches(normed)}
            if compare and name == "vlm":
                dense["vlm"] = encoder.dense(normed)
        if compare and len(encoders) == 2:
            compared["VFM, VLM"] = steps["vfm"], steps["vlm"]
        if self.fused:
            rows["fused"], dense["fused"], compared["fused halves"] = self._fused(embedded)
        return PatchFeatures(
            grids[0],
            {name: tokens.float().unflatten(1, grids[0]) for name, tokens in rows.items()},
            {name: F.normalize(x[:, 1:].float(), dim=-1).unflatten(1, grids[0]) for name, x in dense.items()},
            compared,
        )

    def _fused(self, embedded: Embedded) -> tuple[Tensor, Tensor, Steps]:
        """Of the fused stream: both halves normed (B, h*w, C), the joint embedding, the halves at every place."""
        halves = {name: getattr(self.model, name) for name in PAIR}
        after = {name: [encoder.patches(embedded[name][0])] for name, encoder in halves.items()}

        def record(index: int, before: dict[str, Tensor], now: dict[str, Tensor]) -> None:
            for name, encoder in halves.items() if index in self.pairs else ():
                after[name].append(encoder.patches(now[name]))

        found = self.model.features(embedded, "fused", record)
        last = [encoder.patches(encoder.norm(getattr(found, name))) for name, encoder in halves.items()]
        return torch.cat(last, dim=-1), found.visual, (after["vfm"], after["vlm"])

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit embeddings (n, C_t) float32 on the CPU, without prompts. Raises ValueError without the vocabulary."""
        ids = self.model.vlm.tokenize(list(texts)).to(self.device)
        return F.normalize(self.model.vlm.text(ids).float(), dim=-1).cpu()


def through(
    encoder: VisionEncoder, tokens: Tensor, grid: tuple[int, int], ends: Sequence[int]
) -> tuple[list[Tensor], Tensor]:
    """Pass tokens through all blocks of an encoder.

    Args:
        encoder: with its weights.
        tokens: (B, prefix + h*w, C) that enter block 0.
        grid: (h, w) patches.
        ends: blocks after which the tokens are kept.

    Returns:
        Patch tokens (B, h*w, C) before block 0 and after each block of `ends`, and all tokens normed after the last.
    """
    steps = [encoder.patches(tokens)]
    for i in range(encoder.depth):
        tokens = encoder.block(i, tokens, grid)
        if i in ends:
            steps.append(encoder.patches(tokens))
    return steps, encoder.norm(tokens)


class ImageNetTrunk:
    """The trunks before any pre-training of ours: their maps at the strides that each encoder of a preset reads.

    Raises:
        ValueError: the encoders have no such trunk, or its weights' package is not installed.
    """

    def __init__(self, preset: Preset, device: torch.device | str = "cpu"):
        with torch.device("meta"):
            model = MFuser(preset)
        if not all(isinstance(getattr(model, name), NanoVision) for name in PAIR):
            raise ValueError(
                f"The encoders of preset {preset.name!r} do not start from an ImageNet trunk: no --imagenet."
            )
        trunks = [(trunk.size, sorted(trunk.taps.values())) for trunk in (model.vfm.trunk, model.vlm.trunk)]
        self.strides = {f"{size.capitalize()}, strides {str(read)[1:-1]}": (size, read) for size, read in trunks}
        self.rows = tuple(self.strides)
        self.patch = model.vfm.patch
        self.nets = {size: Teacher(size).to(device) for size, _ in trunks}

    def features(self, pixels: Tensor, compare: bool = False) -> PatchFeatures:
        """pixels (B, 3, H, W) float RGB 0..255 on the device; `compare` changes nothing."""
        maps, rows = {size: net(pixels) for size, net in self.nets.items()}, {}
        grid = tuple(side // self.patch for side in pixels.shape[-2:])
        for row, (size, strides) in self.strides.items():
            parts = [to_cells(maps[size][stride], stride, self.patch, grid) for stride in strides]
            rows[row] = torch.cat(parts, dim=1).permute(0, 2, 3, 1).float()
        return PatchFeatures(grid, rows)


def to_cells(x: Tensor, stride: int, patch: int, grid: tuple[int, int]) -> Tensor:
    """A map as an encoder reads it: finer ones keep every sub-pixel, coarser ones are enlarged.

    Args:
        x: (B, C, ., .).
        stride: of the map, in pixels.
        patch: of the encoder, in pixels.
        grid: (h, w) patches.
    """
    if stride < patch:
        return F.pixel_unshuffle(x, patch // stride)
    return x if stride == patch else F.interpolate(x, size=grid, mode="bilinear", align_corners=False)


Source = Encoders | ImageNetTrunk
