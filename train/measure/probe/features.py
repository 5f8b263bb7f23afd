"""What is probed: the features of every patch of a folder's encoders, and of the ImageNet trunk that they start from.

Rows of a folder, each there when its files are:

* "vfm tokens", "vlm tokens": what enters block 0, the trunk alone;
* "vfm", "vlm": after the last block, normed;
* "vfm + vlm": both of these side by side, which says how much one adds to the other;
* "fused": the same two after the last adapter of the fused stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfuser import presets
from mfuser.config import Preset
from mfuser.encoders.base import VisionEncoder
from mfuser.encoders.nano import NanoVision, Trunk
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


@dataclass
class Seen:
    """What a batch of B pictures became, of the patch grid (h, w), all float32.

    rows: (B, h, w, C) by name; a name of PAIR's two stands for "vfm + vlm" too, which holds nothing of its own.
    texts: unit embeddings in the text space (B, h, w, C_t) of rows that have one. compared: two lists of tokens
    (B, h*w, C), one entry each for every place of `Encoders.places`, by what is compared.
    """

    grid: tuple[int, int]
    rows: dict[str, Tensor]
    texts: dict[str, Tensor] = field(default_factory=dict)
    compared: dict[str, tuple[list[Tensor], list[Tensor]]] = field(default_factory=dict)


def row_of(seen: Seen, row: str) -> Tensor:
    """Features (B, h, w, C) of a row."""
    return torch.cat([seen.rows[name] for name in PAIR], dim=-1) if row == BOTH else seen.rows[row]


class Encoders:
    """The encoders of a folder (None: nowhere), and the adapters of its fused stream.

    A folder may hold one encoder alone. names: of the encoders that are there. rows: of their features. places: where
    two encoders are compared, "tokens" and the pairs of blocks by number. Raises WeightsError when there
    is no encoder, or weights do not fit.
    """

    def __init__(self, preset: Preset, folder: Path | None, device: torch.device | str = "cpu"):
        self.device = device
        public = preset.vfm.source is not None  # fetched when the folder lacks them
        here = {n: folder is not None and (folder / file).is_file() for n, file in zip(PAIR, ENCODERS, strict=True)}
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
        pairs = pair_blocks(self.model.vfm.depth, self.model.vlm.depth)
        count = min(len(pairs), PLACES)
        self.shown = [(i + 1) * len(pairs) // count - 1 for i in range(count)]  # indices of pairs
        self.ends = [pairs[i] for i in self.shown]
        self.places = ("tokens", *(str(i + 1) for i in self.shown))

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the rows, in the order of a table."""
        own = tuple(row for name in self.names for row in (f"{name} tokens", name))
        return own + ((BOTH,) if len(self.names) == 2 else ()) + (("fused",) if self.fused else ())

    @torch.no_grad()
    def look(self, pixels: Tensor, closely: bool = False) -> Seen:
        """pixels (B, 3, H, W) float RGB 0..255 on the device. closely: fill `texts` and `compared` too.

        Raises ValueError when the two encoders' patch grids differ.
        """
        embedded, steps, normed = {}, {}, {}
        for side, name in enumerate(PAIR):
            if name in self.names:
                encoder = getattr(self.model, name)
                embedded[name] = encoder.embed(pixels)
                steps[name], normed[name] = through(encoder, *embedded[name], [pair[side] for pair in self.ends])
        grids = [grid for _, grid in embedded.values()]
        if grids[0] != grids[-1]:
            raise ValueError(f"The encoders' patch grids differ, {grids[0]} and {grids[-1]}: they cannot be paired.")
        rows, dense, compared = {}, {}, {}
        for name in self.names:
            rows |= {f"{name} tokens": steps[name][0], name: getattr(self.model, name).patches(normed[name])}
        if closely and "vlm" in normed:
            dense["vlm"] = self.model.vlm.dense(normed["vlm"])
        if closely and len(self.names) == 2:
            compared["VFM, VLM"] = steps["vfm"], steps["vlm"]
        if self.fused:
            rows["fused"], dense["fused"], compared["fused halves"] = self._fused(embedded)
        return Seen(
            grids[0],
            {name: tokens.float().unflatten(1, grids[0]) for name, tokens in rows.items()},
            {name: F.normalize(x[:, 1:].float(), dim=-1).unflatten(1, grids[0]) for name, x in dense.items()},
            compared,
        )

    def _fused(self, embedded: Embedded) -> tuple[Tensor, Tensor, tuple[list[Tensor], list[Tensor]]]:
        """Of the fused stream: both halves normed (B, h*w, C), the joint embedding, the halves at every place."""
        halves = [(name, getattr(self.model, name)) for name in PAIR]
        after = {name: [encoder.patches(embedded[name][0])] for name, encoder in halves}

        def record(index: int, before: dict[str, Tensor], now: dict[str, Tensor]) -> None:
            for name, encoder in halves if index in self.shown else ():
                after[name].append(encoder.patches(now[name]))

        found = self.model.features(embedded, "fused", record)
        last = [encoder.patches(encoder.norm(getattr(found, name))) for name, encoder in halves]
        return torch.cat(last, dim=-1), found.visual, (after["vfm"], after["vlm"])

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit embeddings (n, C_t) float32 on the CPU, without prompts. Raises ValueError without the vocabulary."""
        ids = self.model.vlm.tokenize(list(texts)).to(self.device)
        return F.normalize(self.model.vlm.text(ids).float(), dim=-1).cpu()


def through(
    encoder: VisionEncoder, tokens: Tensor, grid: tuple[int, int], ends: Sequence[int]
) -> tuple[list[Tensor], Tensor]:
    """Patch tokens (B, h*w, C) before block 0 and after each block of `ends`, and all tokens normed after the last."""
    steps = [encoder.patches(tokens)]
    for i in range(encoder.depth):
        tokens = encoder.block(i, tokens, grid)
        if i in ends:
            steps.append(encoder.patches(tokens))
    return steps, encoder.norm(tokens)


class ImageNetTrunk:
    """The trunks before any pre-training of ours: their maps at the strides that each encoder of a preset reads.

    Raises ValueError when the encoders have no such trunk, or its weights' package is not installed.
    """

    def __init__(self, preset: Preset, device: torch.device | str = "cpu"):
        with torch.device("meta"):
            model = MFuser(preset)
        encoders: dict[str, nn.Module] = {name: getattr(model, name) for name in PAIR}
        if not all(isinstance(encoder, NanoVision) for encoder in encoders.values()):
            raise ValueError(
                f"The encoders of preset {preset.name!r} do not start from an ImageNet trunk: no --imagenet."
            )
        trunks = [encoder.trunk for encoder in encoders.values()]
        self.read = {row_name(trunk): (trunk.size, sorted(trunk.taps.values())) for trunk in trunks}
        self.rows = tuple(self.read)
        self.patch = model.vfm.patch
        self.nets = {trunk.size: Teacher(trunk.size).to(device) for trunk in trunks}

    def look(self, pixels: Tensor, closely: bool = False) -> Seen:
        """pixels (B, 3, H, W) float RGB 0..255 on the device; closely changes nothing."""
        maps, rows = {size: net(pixels) for size, net in self.nets.items()}, {}
        grid = tuple(side // self.patch for side in pixels.shape[-2:])
        for row, (size, strides) in self.read.items():
            parts = [to_cells(maps[size][stride], stride, self.patch, grid) for stride in strides]
            rows[row] = torch.cat(parts, dim=1).permute(0, 2, 3, 1).float()
        return Seen(grid, rows)


def row_name(trunk: Trunk) -> str:
    """ "Lite0, strides 16, 32"."""
    return f"{trunk.size.capitalize()}, strides {', '.join(map(str, sorted(trunk.taps.values())))}"


def to_cells(x: Tensor, stride: int, patch: int, grid: tuple[int, int]) -> Tensor:
    """A map (B, C, ., .) as an encoder reads it: finer ones keep every sub-pixel, coarser ones are enlarged."""
    if stride < patch:
        return F.pixel_unshuffle(x, patch // stride)
    return x if stride == patch else F.interpolate(x, size=grid, mode="bilinear", align_corners=False)
