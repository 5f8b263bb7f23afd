"""A small labelled set on disk and a folder with encoders of the tiny preset."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from mfuser import presets
from mfuser.weights import tensors
from train.texts import wordnet


@pytest.fixture
def cityscapesscripts() -> Callable[[str], ModuleType]:
    """Modules of the official scripts. They are in no requirements file: with what they ask for comes a package
    `typing`, which stands before Python's own."""
    how = "pip install --no-deps cityscapesscripts pyquaternion"
    return lambda name: pytest.importorskip(f"cityscapesscripts.{name}", reason=f"wants the official scripts: {how}")


# Word, offset, offsets of hypernyms, gloss: a corner of WordNet with its own numbers.
WORDNET = (
    ("vehicle", "04524313", (), "carries people"),
    ("automotive", "03791235", ("04524313",), "runs on roads"),
    ("car auto automobile", "02958343", ("03791235",), 'has four wheels; "he drove a car"'),
    ("jalopy", "03593526", ("02958343",), "an old car"),
    ("person", "00007846", (), "a human being"),
    ("cyclist", "09986189", ("00007846",), "a person who rides a bicycle"),
    ("baker", "09828216", ("00007846",), "someone who bakes"),
    ("London", "08864000", (), "a town"),
    ("thing jalopy", "00002452", (), "a thing of another sense"),
    ("teapot", "04398044", (), "a pot for tea"),
    ("structure", "04341686", (), "built"),
    ("arch", "02733524", ("04341686",), "a curved structure"),
    ("anthology omnibus", "06594978", (), "selected writings"),
    ("charabanc omnibus", "02924116", ("03791235",), "a vehicle for many passengers; used for transport"),
    ("axle", "02764044", (), "a shaft on which wheels rotate"),
    ("choke", "03020034", (), "a valve"),
)
WORDNET_PARTS = {"04524313": ("02764044",), "02958343": ("03020034", "10332385")}


@pytest.fixture
def small_wordnet(tmp_path: Path, monkeypatch) -> Path:
    """A corner of WordNet in its own file format, in place of the package."""
    folder = tmp_path / "wordnet"
    folder.mkdir()
    lines, senses = ["  1 a licence"], {}
    for words, offset, parents, gloss in WORDNET:
        for word in words.split():
            senses.setdefault(word.lower(), []).append(offset)
        said = " ".join(f"{w} 0" for w in words.split())
        signs = [("@", parent) for parent in parents] + [("%p", part) for part in WORDNET_PARTS.get(offset, ())]
        pointers = "".join(f" {sign} {other} n 0000" for sign, other in signs)
        lines.append(f"{offset} 06 n {len(words.split()):02x} {said} {len(signs):03}{pointers} | {gloss}  ")
    (folder / "data.noun").write_text("\n".join(lines) + "\n")
    index = [f"{w} n {len(o)} 1 @ {len(o)} 0 {' '.join(o)}  " for w, o in senses.items()]
    (folder / "index.noun").write_text("\n".join(["  1 a licence", *index]) + "\n")
    monkeypatch.setattr(wordnet, "folder", lambda: folder)
    cached = (wordnet.nouns, wordnet.parts, wordnet.definitions, wordnet._synsets, wordnet._senses)
    for function in cached:
        function.cache_clear()
    yield folder
    for function in cached:
        function.cache_clear()


@pytest.fixture
def streets(tmp_path: Path) -> Path:
    """Six photographs to train on and three to evaluate, 48 x 64: sky above road, a car that moves."""
    root = tmp_path / "streets"
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 3)):
        for folder in ("images", "labels"):
            (root / split / folder).mkdir(parents=True)
        for i in range(count):
            label = np.full((48, 64), 10, np.uint8)
            label[24:] = 0
            label[20:32, 8 * i : 8 * i + 12] = 13
            label[46:] = 255
            colours = np.zeros((256, 3), np.uint8)
            colours[[0, 10, 13]] = (90, 90, 90), (150, 190, 240), (200, 30, 30)
            noise = rng.integers(-12, 13, (48, 64, 3))
            picture = np.clip(colours[label].astype(int) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(picture).save(root / split / "images" / f"{i}.png")
            Image.fromarray(label).save(root / split / "labels" / f"{i}.png")
    return root


@pytest.fixture
def tiny_run(tmp_path: Path, monkeypatch, tiny_preset, tiny_model) -> Path:
    """The tiny preset under its name, and a folder with its encoders."""
    monkeypatch.setitem(presets.PRESETS, tiny_preset.name, tiny_preset)
    folder = tmp_path / "run"
    for name in ("vfm", "vlm"):
        tensors.save(folder / f"encoder-{name}.safetensors", getattr(tiny_model, name).state_dict())
    return folder


@pytest.fixture
def trained(tiny_run, tiny_model) -> Path:
    """The tiny run with two streams."""
    for stream in ("vlm", "fused"):
        tensors.save(tiny_run / f"stream-{stream}.safetensors", tiny_model.state_for(stream))
    return tiny_run


class ByColour(nn.Module):
    """A model that tells road, sky and car by their colours, in cells of 4 pixels; "vlm" takes every car for a bus."""

    colours = torch.tensor([[90.0, 90, 90], [150, 190, 240], [200, 30, 30]])[:, :, None, None]

    def __init__(self, preset):
        super().__init__()
        self.preset = preset

    def embed(self, pixels, name):
        return {name: pixels}

    def features(self, embedded, stream):
        return embedded["vfm" if stream == "fused" else stream]

    def forward(self, pixels, stream):
        return self.decode(pixels, stream)

    def decode(self, pixels, stream):
        cells = F.avg_pool2d(pixels, 4)
        near = torch.exp(-(cells[:, None] - self.colours).square().mean(2) / 500)
        scores = torch.zeros(len(pixels), 19, *cells.shape[-2:])
        scores[:, [0, 10, 15 if stream == "vlm" else 13]] = near
        return SimpleNamespace(semantic=lambda: scores)


@pytest.fixture
def seeing(tiny_preset) -> ByColour:
    return ByColour(tiny_preset)


@pytest.fixture
def data_root(tmp_path, streets) -> Path:
    """A data folder in the layout that `reproduce-nano` reads."""
    root = tmp_path / "data"
    shutil.copytree(streets, root / "camvid")
    for split in ("train", "val"):
        folder = root / "idd_lite" / split
        shutil.copytree(streets / split / "images", folder / "images")
        (folder / "labels_group").mkdir()
        for path in (streets / split / "labels").iterdir():
            label = np.asarray(Image.open(path))
            groups = np.select([label == 0, label == 10, label == 13], [0, 6, 3], 255).astype(np.uint8)
            Image.fromarray(groups).save(folder / "labels_group" / path.name)
    shutil.copytree(streets / "val" / "images", root / "dawn_fog" / "images")
    return root


@pytest.fixture
def rendered(data_root, streets) -> Path:
    """In place of rendered streets, beside the data folder."""
    folder = data_root.parent / "scenes"
    shutil.copytree(streets / "train", folder)
    return folder
