"""The full-size EVA02-CLIP model against every stored value of the released code: model, stages, and comparison.

`folder` is that of the stored values: names and shapes (`keys_eva.json`), the recipe of the weights (`refweights.py`),
an image and what the released code made of it (`eva_*`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from mfuser.decoder.head import MFuserOutput
from mfuser.encoders import dinov2
from mfuser.encoders.base import OPENAI_MEAN, OPENAI_STD, normalise
from mfuser.loading import MFuser

Stages = dict[str, Tensor]
Row = tuple[str, float, float, float, float]
# Stages that read block 23 directly.
LAST = ("fused4", "fpn4", "score_map", "text.cd_memory_proj", "text.cd_mvfuser", "pd.input_conv0", "pd.memory0")


def build(folder: Path) -> MFuser:
    """The model with the recipe's weights, loaded as from a checkpoint. Raises ValueError where there is no recipe."""
    if not (folder / "refweights.py").is_file():
        raise ValueError(f"{folder} does not hold the stored values of the released code (refweights.py, eva_*).")
    shapes = json.loads((folder / "keys_eva.json").read_text())
    sys.path.insert(0, str(folder))
    try:
        import refweights
    finally:
        sys.path.pop(0)
    state = {}
    for name, shape in shapes.items():
        if "freqs_" not in name:
            state[name] = torch.from_numpy(np.asarray(refweights.one(name, shape)))
    return MFuser.from_official(state, "eva02-clip-l")


def run(model: MFuser, folder: Path, device: torch.device | str = "cpu") -> tuple[MFuserOutput, Stages]:
    """One forward pass: the output, and what every stage gave, on the CPU, by the names of eva_stats.json."""
    rgb = np.array(Image.open(folder / "input_512.png"))
    pixels = torch.from_numpy(rgb).permute(2, 0, 1)[None].float().to(device)
    stages: Stages = {}
    with torch.inference_mode(), captured(model, stages):
        embedded = model.embed(pixels)
        stages |= inputs(pixels)
        stages["tokens_dino"], stages["tokens_vlm"] = embedded["vfm"][0], embedded["vlm"][0]
        output = model.decode(model.features(embedded, "fused", recorder(stages)), "fused")
        stages["text.raw"], stages["text.final"] = model.class_text("fused"), output.text
    if not model.prepared:  # that one never makes the finest levels
        stages |= {f"fpn{i + 1}": level for i, level in enumerate(output.pyramid)}
    grid = tuple(output.score_map.shape[-2:])
    stages["vis.global"] = output.visual[:, 0]
    stages["vis.embedding_raw"] = output.visual[:, 1:].transpose(1, 2).unflatten(-1, grid)
    stages["score_map"] = output.score_map
    for i, (cls, mask) in enumerate(zip(output.class_logits, output.mask_logits, strict=True)):
        stages[f"dec.cls{i}"], stages[f"dec.mask{i}"] = cls, mask
    stages["sem_lowres"] = output.semantic()
    stages["sem_512"] = F.interpolate(output.semantic(), size=(512, 512), mode="bilinear", align_corners=False)
    return output, {name: value.cpu() for name, value in stages.items()}


def inputs(pixels: Tensor) -> Stages:
    x = normalise(pixels, OPENAI_MEAN, OPENAI_STD)
    dino = normalise(normalise(x, OPENAI_MEAN, OPENAI_STD, inverse=True), dinov2.MEAN, dinov2.STD)
    return {"input": x, "input_vlm": x, "input_dino": dino}


def recorder(stages: Stages) -> Callable:
    def record(index: int, before: Stages, after: Stages) -> None:
        for ours, theirs in (("vfm", "dino"), ("vlm", "vlm")):
            stages[f"block{index}.{theirs}_before"] = before[ours].clone()
            stages[f"block{index}.{theirs}_after"] = after[ours].clone()

    return record


class captured:  # noqa: N801  used as a function
    """Keep the outputs of modules, or the inputs of norms behind residual sums, while the context is open."""

    def __init__(self, model: nn.Module, stages: Stages):
        head, self.handles, self.stages = model.heads["fused"], [], stages
        pixel, query = head.pixel_decoder, head.query_decoder
        outputs = {
            **{f"block{i}.adapter_out": a for i, a in enumerate(model.fusion.adapters)},
            "fpn1.bn": head.pyramid.up4[1],
            "text.cd_memory_proj": head.enhancer.memory_proj,
            "text.cd_text_proj": head.enhancer.text_proj,
            "text.cd_mvfuser": head.enhancer.layers[0].fuser,
            "text.cd_layer0": head.enhancer.layers[0],
            "text.diff": head.enhancer,
            **{f"pd.input_conv{i}": c for i, c in enumerate(pixel.input_convs)},
            "pd.text_proj": pixel.text_proj,
            "pd.lateral": pixel.lateral_conv,
            "pd.output_conv": pixel.output_conv,
            "pd.mask_features": pixel.mask_feature,
            "dec.query_feat_init": query.text_proj,
        }
        for name, module in outputs.items():
            self.keep(module, name)
        for i, layer in enumerate(pixel.layers):
            self.keep(layer.norms[0], f"pd.layer{i}.msda", before=True, turn=True)
            self.keep(layer.norms[1], f"pd.layer{i}.cross", before=True, turn=True)
            self.keep(layer, f"pd.layer{i}", turn=True)
        for i, layer in enumerate(query.layers):
            self.keep(layer, f"dec.layer{i}", turn=True)
        self.handles.append(pixel.register_forward_hook(self.memories))
        self.handles.append(model.heads["fused"].pyramid.register_forward_pre_hook(self.taps))

    def keep(self, module: nn.Module, name: str, before: bool = False, turn: bool = False) -> None:
        def store(value: Tensor) -> None:
            value = F.relu(value) if name == "pd.output_conv" else value
            self.stages[name] = (value.transpose(0, 1) if turn else value).clone()

        if before:
            self.handles.append(module.register_forward_pre_hook(lambda m, args: store(args[0])))
        else:
            self.handles.append(module.register_forward_hook(lambda m, args, out: store(out)))

    def memories(self, module: nn.Module, args: tuple, out: tuple) -> None:
        self.stages.update({f"pd.memory{i}": m for i, m in enumerate(out[0])})

    def taps(self, module: nn.Module, args: tuple) -> None:
        self.stages.update({f"fused{i + 1}": m for i, m in enumerate(args[0])})

    def __enter__(self) -> None:
        pass

    def __exit__(self, *problem: object) -> None:
        for handle in self.handles:
            handle.remove()


def tolerance(stage: str) -> tuple[float, float]:
    """Largest difference of single values over the standard deviation, and of the deviation itself, relative.

    What the order of float32 sums alone moves grows through 24 random blocks, so stages that read the last ones get
    the mark of the last ones.
    """
    if stage.startswith("input"):
        return 1e-6, 1e-6
    if stage.startswith("tokens"):
        return 1e-5, 1e-5
    if stage.startswith("block"):
        index = int(stage[5:].split(".")[0])
        single = 1e-5 if index <= 5 else 3e-4 if index <= 11 else 1e-2
        return single, 1e-4
    if stage in LAST or stage.startswith("vis."):
        return 1e-2, 1e-4
    if stage.startswith(("fused", "fpn", "text")):
        return 5e-4, 1e-4
    return 1e-3, 1e-4


def rows(folder: Path, stages: Stages) -> Iterator[Row]:
    """(stage, single difference, its mark, difference of the deviation, its mark), in the order of the computation."""
    for stage, want in json.loads((folder / "eva_stats.json").read_text()).items():
        if stage == "argmax":
            continue
        got = stages[stage].double()
        if sorted(n for n in got.shape if n > 1) != sorted(n for n in want["shape"] if n > 1):
            raise ValueError(f"{stage} has the shape {tuple(got.shape)}, stored is {want['shape']}.")
        flat = got.reshape(-1)[:: want["sample_step"]][:16].numpy()
        single = np.abs(flat - np.array(want["samples"])).max() / want["std"]
        deviation = abs(got.std(unbiased=False).item() / want["std"] - 1)
        yield stage, float(single), tolerance(stage)[0], deviation, tolerance(stage)[1]


def differences(stages: Stages, exact: Stages) -> Iterator[Row]:
    """Of two runs, as `rows`, but over whole tensors: (stage, 99 % of the single differences, mark, difference of the
    deviation, mark)."""
    for stage, want in exact.items():
        want, got = want.double().numpy(), stages[stage].double().numpy()
        single = np.quantile(np.abs(got - want), 0.99) / want.std()
        yield stage, float(single), tolerance(stage)[0], float(abs(got.std() / want.std() - 1)), tolerance(stage)[1]


def excerpts(folder: Path, stages: Stages) -> Iterator[tuple[str, float, float, float]]:
    """(name, 99 % of the differences over the deviation, the largest, mark of the stage) of dense excerpts, which a
    shift by one position or swapped halves would change everywhere."""

    def all_of(name: str, count: int, first: int = 0) -> Tensor:
        return torch.cat([stages[f"{name}{i}"] for i in range(first, first + count)])

    checks: list[tuple[str, str, Tensor, str]] = []
    for i in range(1, 5):
        checks.append(("backbone", f"fused{i}", stages[f"fused{i}"][0, ::7, ::3, ::3], f"fused{i}"))
        step = {1: 9, 2: 5, 3: 3, 4: 2}[i]
        checks.append(("backbone", f"fpn{i}", stages[f"fpn{i}"][0, ::31, ::step, ::step], f"fpn{i}"))
    checks += [("backbone", name, stages[name][0, ::37, ::5], name) for name in ("tokens_dino", "tokens_vlm")]
    visual = stages["vis.embedding_raw"][0, ::7, ::3, ::3]
    checks.append(("backbone", "vis_embedding_raw", visual, "vis.embedding_raw"))
    checks.append(("backbone", "vis_global", stages["vis.global"], "vis.global"))
    checks += [("text_score", f"text_{key}", stages[f"text.{key}"], "text") for key in ("raw", "diff", "final")]
    checks.append(("text_score", "score_map", stages["score_map"], "score_map"))
    checks.append(("decoder", "cls", all_of("dec.cls", 10), "dec.cls"))
    checks.append(("decoder", "mask_last", stages["dec.mask9"][0, :, ::2, ::2], "dec.mask"))
    checks.append(("decoder", "masks_strided", all_of("dec.mask", 10)[:, :, ::8, ::8], "dec.mask"))
    queries = torch.cat([stages[f"dec.layer{i}"].transpose(0, 1) for i in range(9)])
    checks.append(("decoder", "queries", queries, "dec.layer"))
    checks.append(("decoder", "query_init", stages["dec.query_feat_init"], "dec.query"))
    for i, step in enumerate((2, 4, 8)):
        checks.append(("decoder", f"memory{i}", stages[f"pd.memory{i}"][0, ::5, ::step, ::step], f"pd.memory{i}"))
    checks.append(("decoder", "mask_features", stages["pd.mask_features"][0, ::5, ::8, ::8], "pd.mask_features"))
    checks.append(("semantic", "sem_128", stages["sem_512"][0, :, ::4, ::4], "sem"))
    checks.append(("semantic", "sem_lowres_strided", stages["sem_lowres"][0, :, ::4, ::4], "sem"))
    for file, key, got, stage in checks:
        with np.load(folder / f"eva_{file}.npz") as stored:
            want = stored[key]
        if got.numel() != want.size:
            raise ValueError(f"{key} has the shape {tuple(got.shape)}, stored is {want.shape}.")
        difference = np.abs(got.double().numpy().reshape(want.shape) - want) / want.std()
        yield key, float(np.quantile(difference, 0.99)), float(difference.max()), tolerance(stage)[0]


GROUPS = {
    "inputs and tokens": ("input", "tokens"),
    "blocks 0 to 5 with their MVFusers": tuple(f"block{i}." for i in range(6)),
    "blocks 6 to 11": tuple(f"block{i}." for i in range(6, 12)),
    "blocks 12 to 23": tuple(f"block{i}." for i in range(12, 24)),
    "class texts and MTEnhancer": ("text",),
    "joint embedding and text similarity": ("vis", "score_map"),
    "pyramid, the three finer levels": ("fused1", "fused2", "fused3", "fpn1", "fpn2", "fpn3"),
    "pyramid, the coarsest level": ("fused4", "fpn4"),
    "pixel decoder": ("pd.", "memory", "mask_features"),
    "query decoder": ("dec.", "quer"),
    "class and mask logits": ("dec.cls", "dec.mask", "cls", "mask_last", "masks_strided"),
    "semantic map": ("sem",),
}


def group(stage: str) -> str:
    """Which of `GROUPS` a stage, or the excerpt of one, belongs to: that of the longest fitting start."""
    fitting = [(len(start), name) for name, starts in GROUPS.items() for start in starts if stage.startswith(start)]
    return max(fitting)[1]


def grouped(table: Iterable[Row], values: Iterable[tuple[str, float, float, float]]) -> list[dict[str, str]]:
    """One row of text for each group: how many stages, and of every kind of difference the one that comes nearest to
    its mark, as "difference (mark)". table, values: of `rows` and `excerpts`."""
    table, values = list(table), list(values)
    found = []
    for name in GROUPS:
        own = [row for row in table if group(row[0]) == name]
        dense = [row for row in values if group(row[0]) == name]
        pairs = {
            "single values": [row[1:3] for row in own],
            "deviation": [row[3:5] for row in own],
            "99 % of all values": [(most, mark) for _, most, _, mark in dense],
            "all values": [(worst, 10 * mark) for _, _, worst, mark in dense],
        }
        nearest = {kind: max(p, key=lambda pair: pair[0] / pair[1], default=None) for kind, p in pairs.items()}
        texts = {k: "" if pair is None else f"{pair[0]:.1e} ({pair[1]:.0e})" for k, pair in nearest.items()}
        found.append({"stages": name, "count": str(len(own)), **texts})
    return found


def mask_margins(folder: Path, stages: Stages) -> list[float]:
    """Of every pixel whose class differs from the stored mask: how far its two best scores lie apart."""
    want = np.array(Image.open(folder / "eva_argmax_512.png"))
    scores = stages["sem_512"][0]
    different = scores.argmax(0).numpy() != want
    best, second = scores.topk(2, dim=0).values
    return (best - second).numpy()[different].tolist()
