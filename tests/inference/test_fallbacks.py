"""Masks of streams without a trained decoder: made by what they say, repeatable, and called by their name."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import mfuser
from mfuser import images, presets
from mfuser.cli import main
from mfuser.config import STREAMS
from mfuser.inference import fallbacks
from mfuser.inference.analysis import CLUSTERS, MASK_ORIGINS
from mfuser.inference.masks import upsampled_argmax
from mfuser.inference.segmenter import Segmenter
from mfuser.loading import MFuser
from mfuser.weights import folder as folder_module

NAMES = ("road", "lorry", "zebra crossing")


@pytest.fixture(scope="module")
def paper_preset(tiny_preset):
    """The tiny preset as the paper trains one: with a fused decoder alone."""
    return replace(tiny_preset, name="paper", streams=("fused",))


@pytest.fixture(scope="module")
def segmenter(paper_preset, build_model) -> Segmenter:
    return Segmenter(build_model(paper_preset), precision="float32")


@pytest.fixture(scope="module")
def street() -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (6, 9, 3)).astype(np.uint8)
    return images.resize(coarse, 160, 224)


# -- the two ways -----------------------------------------------------------------------------------------------------


def test_zero_shot_is_the_closest_text():
    texts = np.eye(3, 8, dtype=np.float32)
    dense = texts[[[0, 1, 2, 2]]]  # (1, 4, 8)
    scores, confidence = fallbacks.zero_shot(dense.astype(np.float16), texts, 0.1)
    assert scores.shape == (1, 3, 1, 4) and scores.argmax(1).flatten().tolist() == [0, 1, 2, 2]
    expected = np.exp(10) / (np.exp(10) + 2)
    np.testing.assert_allclose(confidence.numpy(), expected, rtol=1e-5)


def test_clusters_are_groups_of_like_directions():
    directions = np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32)
    kind = np.random.default_rng(1).integers(0, 3, (8, 10))
    length = np.random.default_rng(2).uniform(0.5, 2, (8, 10, 1)).astype(np.float32)
    found = fallbacks.cluster(directions[kind] * length, 3).argmax(1)[0].numpy()
    assert {len(np.unique(found[kind == k])) for k in range(3)} == {1} and len(np.unique(found)) == 3


def test_clusters_are_repeatable_and_never_more_than_tokens():
    tokens = np.random.default_rng(0).normal(size=(12, 20, 32)).astype(np.float16)
    assert torch.equal(fallbacks.cluster(tokens), fallbacks.cluster(tokens))
    assert fallbacks.cluster(tokens).shape == (1, CLUSTERS, 12, 20)
    assert fallbacks.cluster(tokens[:2, :3]).shape == (1, 6, 2, 3)
    assert fallbacks.cluster(np.ones((4, 4, 8), np.float16)).shape == (1, 1, 4, 4)


def test_clusters_take_the_commonest_class_and_say_how_common():
    clusters = np.array([[0, 0, 0, 0, 5, 5]], np.uint8)
    mask = np.array([[13, 13, 13, 2, 10, 10]], np.uint8)
    coloured, purity = fallbacks.label_clusters(clusters, mask)
    assert coloured.tolist() == [[13, 13, 13, 13, 10, 10]] and purity.tolist() == [[0.75] * 4 + [1.0] * 2]
    assert coloured.dtype == np.uint8 and purity.dtype == np.float32


# -- in an analysis ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [None, NAMES])
def test_every_column_has_a_mask_that_says_what_it_is(segmenter, street, classes):
    analysis = segmenter.analyse(street, classes=classes)
    assert tuple(analysis.masks) == tuple(analysis.confidence) == STREAMS
    assert analysis.made == {"vfm": "clusters", "vlm": "zero-shot", "fused": "decoder"}
    assert set(analysis.made.values()) <= set(MASK_ORIGINS)
    assert [analysis.title(s) for s in STREAMS] == ["VFM only (clusters)", "VLM only (zero-shot)", "MFuser"]
    for stream in STREAMS:
        mask, confidence = analysis.masks[stream], analysis.confidence[stream]
        assert mask.shape == confidence.shape == (160, 224) and mask.dtype == np.uint8
        assert confidence.dtype == np.float32 and 0 < confidence.min() and confidence.max() <= 1 + 1e-6
    command = "python -m train fit --streams vfm --preset paper --data DATA --out WEIGHTS"
    assert analysis.ran["training"]["vfm"] == command and set(analysis.ran["training"]) == {"vfm", "vlm"}
    assert set(np.unique(analysis.masks["vfm"])) <= set(np.unique(analysis.masks["fused"]))
    assert pickle.loads(pickle.dumps(analysis)).made == analysis.made


def test_zero_shot_mask_is_the_similarity_panels_argmax(segmenter, street):
    analysis = segmenter.analyse(street)
    fields = np.stack([analysis.similarity(name, "vlm") for name in analysis.classes])
    assert (fields.argmax(0) == analysis.masks["vlm"]).mean() > 0.99  # two interpolations, to the last digits
    confidence = np.exp(fields / 0.05).max(0) / np.exp(fields / 0.05).sum(0)
    assert np.corrcoef(confidence.ravel(), analysis.confidence["vlm"].ravel())[0, 1] > 0.9


def test_cluster_mask_can_be_made_again_from_the_analysis(segmenter, street):
    analysis = segmenter.analyse(street)
    near = upsampled_argmax(fallbacks.cluster(analysis.tokens["vfm"]), analysis.size)[0].numpy()
    mask, purity = fallbacks.label_clusters(near, analysis.masks["fused"])
    assert np.array_equal(mask, analysis.masks["vfm"])
    np.testing.assert_allclose(purity, analysis.confidence["vfm"], atol=1e-5)  # kept in 16 bits
    again = segmenter.analyse(street)
    assert all(np.array_equal(again.masks[s], analysis.masks[s]) for s in STREAMS)


def test_masks_without_a_decoder_count_no_decoder(segmenter, street, tiny_model):
    ran = segmenter.analyse(street).ran
    assert ran["parameters"]["vfm"] == sum(p.numel() for p in tiny_model.vfm.parameters())
    assert all(ran["milliseconds"][s] > 0 for s in STREAMS)


# -- a decoder that was trained later ---------------------------------------------------------------------------------


def test_a_stream_trained_into_the_folder_takes_the_place_of_the_fallback(
    paper_preset, build_model, tiny_preset, street, tmp_path, monkeypatch
):
    monkeypatch.setitem(presets.PRESETS, "paper", paper_preset)
    full = build_model(replace(tiny_preset, name="paper"))
    folder_module.save_folder(full, tmp_path)
    (tmp_path / "stream-vlm.safetensors").unlink()
    loaded = mfuser.load(tmp_path, device="cpu", precision="float32")
    assert set(loaded.preset.streams) == {"vfm", "fused"}
    analysis = loaded.analyse(street)
    assert analysis.made == {"vfm": "decoder", "vlm": "zero-shot", "fused": "decoder"}
    expected = Segmenter(full, precision="float32").analyse(street).masks["vfm"]
    assert (analysis.masks["vfm"] == expected).mean() > 0.999  # loading folds norms: the last digits differ
    assert set(analysis.ran["training"]) == {"vlm"}


def test_with_streams_adds_what_is_missing(paper_preset):
    assert presets.with_streams(paper_preset, ["fused"]) is paper_preset
    assert presets.with_streams(paper_preset, ["vlm", "fused", "vlm"]).streams == ("fused", "vlm")


# -- command line -----------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(paper_preset, segmenter, street, tmp_path, monkeypatch) -> Path:
    folder_module.save_folder(segmenter.model, tmp_path / "weights")
    monkeypatch.setitem(presets.PRESETS, "paper", replace(paper_preset, weights=tmp_path / "weights"))
    monkeypatch.chdir(tmp_path)
    images.save(tmp_path / "street.png", street)
    return tmp_path


def test_segment_tells_how_each_mask_was_made(folder, capsys):
    assert main(["segment", "street.png", "--preset", "paper", "--out", "results"]) == 0
    written = json.loads((folder / "results" / "street" / "analysis.json").read_text())
    origins = {stream: mask["made"] for stream, mask in written["masks"].items()}
    assert origins == {"vfm": "clusters", "vlm": "zero-shot", "fused": "decoder"}
    assert f"{CLUSTERS} clusters" in written["masks"]["vfm"]["how"] and "train" not in written["masks"]["fused"]
    assert written["masks"]["vlm"]["train"].startswith("python -m train fit --streams vlm --preset paper")
    message = capsys.readouterr().err
    assert (
        "the vfm mask is clusters" in message
        and "the vlm mask is zero-shot" in message
        and len(message.splitlines()) == 2
    )
    assert main(["segment", "street.png", "--preset", "paper", "--quiet", "--out", "results"]) == 0
    assert capsys.readouterr().err == ""


def test_segment_takes_a_class_list(folder):
    arguments = ["--classes", "Road, lorry,zebra crossing", "--out", "results"]
    assert main(["segment", "street.png", "--preset", "paper", *arguments]) == 0
    out = folder / "results" / "street"
    written = json.loads((out / "analysis.json").read_text())
    assert written["classes"] == list(NAMES) and written["classes_trained"] is False
    mask, colour = images.load(out / "mask-fused.png")[..., 0], images.load(out / "colour-fused.png")
    analysis = mfuser.load("paper", precision="float32", device="cpu", classes=NAMES).analyse("street.png")
    assert set(written["shares"]["fused"]) <= set(NAMES) and mask.max() < 3
    assert np.array_equal(colour, analysis.palette[mask])


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [("", "The class list is empty"), ("car", "needs two names"), ("car,bus,Car", "in the list twice")],
)
def test_class_lists_that_cannot_be_used_are_one_sentence(folder, capsys, classes: str, sentence: str):
    assert main(["segment", "street.png", "--preset", "paper", "--classes", classes, "--out", "results"]) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err and len(captured.err.strip().splitlines()) == 1 and captured.out == ""


# -- the paper's pairs ------------------------------------------------------------------------------------------------


def test_the_papers_pairs_fill_every_column(pair_preset, street):
    torch.manual_seed(0)
    siglip = pair_preset.vlm.family == "siglip"
    ids = torch.randint(2, 32000, (19, 5)) if siglip else None  # stand for those of a vocabulary on the hub
    segmenter = Segmenter(MFuser(pair_preset, ids).eval(), precision="float32")
    analysis = segmenter.analyse(street, resolution=64)
    assert analysis.made == {"vfm": "clusters", "vlm": "zero-shot", "fused": "decoder"}
    assert all(analysis.masks[s].shape == (160, 224) and analysis.masks[s].max() < 19 for s in STREAMS)
    assert np.array_equal(segmenter.analyse(street, resolution=64).masks["vfm"], analysis.masks["vfm"])
    if siglip and not segmenter.model.vlm.vocabulary_is_here():
        with pytest.raises(ValueError, match="tokenizer"):
            segmenter.analyse(street, classes=NAMES)
        return
    own = segmenter.analyse(street, resolution=64, classes=NAMES)
    assert own.classes == NAMES and all(own.masks[s].max() < 3 for s in STREAMS)
