"""The model zoo as data: what runs here, why not, and what would make it run."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
import torch

from mfuser import cityscapes, config, hub, presets
from mfuser.cli import main
from mfuser.config import STREAMS
from mfuser.presets import NANO, PRESETS
from mfuser.weights import availability, tensors
from mfuser.weights import files as files_module


def test_every_preset_says_whether_it_runs_here():
    rows = presets.available()
    assert [row["name"] for row in rows] == list(PRESETS)
    for row in rows:
        assert row.keys() >= {"name", "title", "runnable", "why", "command"}
        if row["runnable"]:
            assert row["why"] is None and row["command"] is None
        else:
            assert row["why"] and row["command"]


def test_missing_weights_are_named_with_the_command(tmp_path, monkeypatch):
    files = files_module.weight_files(NANO)
    for name in files[:2]:
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.setattr(presets, "PRESETS", {"nano": dataclasses.replace(NANO, weights=tmp_path)})
    (row,) = presets.available()
    assert row["runnable"] is False
    assert all(name in row["why"] for name in files[2:]) and not any(name in row["why"] for name in files[:2])
    assert row["command"].startswith("git checkout") and row["command"].endswith(tmp_path.name)
    for name in files[2:]:
        (tmp_path / name).write_bytes(b"x")
    (row,) = presets.available()
    assert (row["runnable"], row["why"], row["command"]) == (True, None, None)


PAPER = [name for name, preset in PRESETS.items() if preset.vfm.source is not None]


@pytest.fixture
def no_weights(tmp_path, monkeypatch) -> Path:
    """An empty folder of the user's, and an empty cache of the hub."""
    monkeypatch.setenv("MFUSER_WEIGHTS", str(tmp_path / "home"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "home"


def status(name: str) -> dict:
    return next(row for row in presets.available() if row["name"] == name)


def test_the_papers_pairs_are_there():
    assert PAPER == [
        "dinov2-l+eva02-clip-l", "dinov2-l+clip-l", "dinov2-l+siglip-l",
        "dinov2-b+clip-b", "dinov2-b+eva02-clip-b", "dinov2-b+siglip-b",
    ]  # fmt: skip
    for name in PAPER:
        preset = PRESETS[name]
        own, patch = preset.vfm.options, 14 if name == "dinov2-l+eva02-clip-l" else 16
        assert own["patch"] == preset.vlm.options["patch"] == patch, "equal patches make equal grids"
        assert own["grid"] == preset.vlm.options["grid"] == 512 // patch
        assert preset.taps == ((7, 11, 15, 23) if "-l+" in name else (3, 5, 7, 11))
        assert preset.streams == ("fused",) and preset.decoder.class_tokens == 5
        assert preset.fusion.projections == (preset.vlm.family == "clip")


@pytest.mark.parametrize("name", PAPER)
def test_a_pair_without_weights_names_the_command(name: str, no_weights):
    row = status(name)
    assert not row["runnable"] and "stream-fused.safetensors" in row["why"]
    if "-l+" in name:
        vlm = name.partition("+")[2]
        assert row["command"].startswith(f"python -m mfuser import-official iter_20000.pth --vlm {vlm} --out ")
        assert "https://github.com/devinxzhang/MFuser" in row["why"], "where the checkpoint comes from"
    else:
        for encoder in (PRESETS[name].vfm, PRESETS[name].vlm):
            assert f"hf download {encoder.source.repo} {encoder.source.files[0]}" in row["command"]
        assert f"python -m train fit --preset {name}" in row["command"]


@pytest.mark.parametrize("layout", ["flat", "by repository", "cache"])
def test_public_encoders_are_found_where_they_lie(layout: str, no_weights, tmp_path):
    name = "dinov2-b+clip-b"
    (no_weights / name).mkdir(parents=True)
    (no_weights / name / "stream-fused.safetensors").write_bytes(b"x")
    assert "encoder-vfm" in status(name)["why"] and "hf download" in status(name)["command"]
    assert "train fit" not in status(name)["command"], "what is there need not be trained"
    for encoder in (PRESETS[name].vfm, PRESETS[name].vlm):
        repo, file = encoder.source.repo, encoder.source.files[0]
        if layout == "cache":
            folder = tmp_path / "cache" / f"models--{repo.replace('/', '--')}"
            (folder / "refs").mkdir(parents=True)
            (folder / "refs" / "main").write_text("abc")
            place = folder / "snapshots" / "abc" / file
        else:
            place = no_weights / (repo.rsplit("/", 1)[-1] if layout == "by repository" else "") / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"x")
        assert hub.find(encoder.source) == place == hub.fetch(encoder.source)
    row = status(name)
    assert (row["runnable"], row["why"], row["command"]) == (True, None, None)


SIGLIPS = ["dinov2-l+siglip-l", "dinov2-b+siglip-b"]


@pytest.mark.parametrize("name", SIGLIPS)
def test_siglip_runs_with_its_vocabulary_or_token_ids(name: str, no_weights):
    folder, command = no_weights / name, "hf download timm/ViT-B-16-SigLIP tokenizer.json"
    for file in files_module.weight_files(PRESETS[name]):
        tensors.save(folder / file, {})
    row = status(name)
    assert not row["runnable"] and "vocabulary" in row["why"] and "safetensors" not in row["why"]
    assert row["command"].endswith(command)  # after that of the package tokenizers where that is missing
    tensors.save(folder / "stream-fused.safetensors", {}, {"class_ids": "[]"})
    assert (status(name)["runnable"], status(name)["why"], status(name)["command"]) == (True, None, None)
    (folder / "stream-fused.safetensors").write_bytes(b"damaged")
    assert not status(name)["runnable"]


@pytest.mark.parametrize("name", SIGLIPS)
def test_siglip_runs_where_its_vocabulary_lies(name: str, no_weights, monkeypatch):
    pytest.importorskip("tokenizers")
    for file in files_module.weight_files(PRESETS[name]):
        tensors.save(no_weights / name / file, {})
    (no_weights / "tokenizer.json").write_bytes(b"x")
    assert status(name)["runnable"]
    find_spec = availability.importlib.util.find_spec
    monkeypatch.setattr(availability.importlib.util, "find_spec", lambda n: None if n == "tokenizers" else find_spec(n))
    assert (status(name)["runnable"], status(name)["command"]) == (False, "pip install tokenizers")


@pytest.mark.parametrize("name", PAPER)
def test_the_vocabulary_is_the_one_that_the_text_tower_reads(name: str):
    from mfuser.encoders.registry import ENCODERS

    vlm = PRESETS[name].vlm
    with torch.device("meta"):
        tokenizer = ENCODERS[vlm.family](**vlm.options)._tokenizer
    assert getattr(tokenizer, "source", None) == vlm.vocabulary and (vlm.vocabulary is not None) == (name in SIGLIPS)


def test_a_file_instead_of_the_users_folder_is_one_sentence(tmp_path, monkeypatch, capsys):
    file = tmp_path / "stream-fused.safetensors"
    file.write_bytes(b"x")
    monkeypatch.setenv("MFUSER_WEIGHTS", str(file))
    for words in (["info"], ["segment", "absent.jpg", "--preset", PAPER[0], "--out", str(tmp_path / "out")]):
        assert main(words) == 2
        sentence = capsys.readouterr().err
        assert sentence.startswith(f"mfuser {words[0]}: ") and len(sentence.splitlines()) == 1
        assert "MFUSER_WEIGHTS" in sentence and str(file) in sentence and "folder" in sentence


def test_missing_public_weights_are_one_sentence(no_weights, tmp_path):
    source = PRESETS["dinov2-b+clip-b"].vlm.source
    with pytest.raises(hub.MissingError) as error:
        hub.fetch(source)
    assert f"hf download {source.repo} {source.files[0]}" in str(error.value)
    assert "\n" not in str(error.value)
    given = tmp_path / "my-own.safetensors"
    given.write_bytes(b"x")
    assert hub.fetch(source, given) == given, "a file that is given is taken"


@pytest.mark.parametrize(
    ("environment", "resolved"),
    [
        ({}, True),
        ({"https_proxy": "http://proxy.invalid:3128"}, False),
        ({"all_proxy": "http://proxy.invalid:3128"}, False),
        ({"http_proxy": "http://proxy.invalid:3128"}, True),
        ({"https_proxy": "http://proxy.invalid:3128", "no_proxy": "hub.invalid"}, True),
        ({"https_proxy": "http://proxy.invalid:3128", "no_proxy": "other.invalid,localhost"}, False),
        ({"https_proxy": "http://proxy.invalid:3128", "no_proxy": "*"}, True),
    ],
    ids=lambda value: (
        ",".join(f"{k}={v.removeprefix('http://')}" for k, v in value.items()) or "none"
        if isinstance(value, dict)
        else ""
    ),
)
def test_the_hubs_name_is_resolved_here_only_without_a_proxy(
    environment: dict[str, str], resolved: bool, no_weights, tmp_path, monkeypatch
):
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://hub.invalid")
    asked, fetched = [], tmp_path / "fetched.safetensors"
    monkeypatch.setattr(hub.socket, "getaddrinfo", lambda host, port: asked.append((host, port)))
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda repo, name: str(fetched))
    assert hub.fetch(PRESETS["dinov2-b+clip-b"].vlm.source) == fetched
    assert asked == ([("hub.invalid", 443)] if resolved else [])


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ValueError, match="nanno") as error:
        presets.get("nanno")
    assert all(name in str(error.value) for name in PRESETS)


def test_weight_files_follow_the_streams(tiny_preset):
    assert files_module.weight_files(tiny_preset) == [
        "encoder-vfm.safetensors",
        "encoder-vlm.safetensors",
        "stream-vfm.safetensors",
        "stream-vlm.safetensors",
        "stream-fused.safetensors",
    ]


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_presets_are_consistent(preset):
    assert preset.name in PRESETS and PRESETS[preset.name] is preset
    assert "fused" in preset.streams and set(preset.streams) <= set(STREAMS)
    assert len(preset.taps) == 4 and list(preset.taps) == sorted(set(preset.taps))
    assert preset.divisor <= preset.resolution <= preset.longest
    assert preset.decoder.width % preset.decoder.heads == 0
    assert preset.decoder.width % preset.decoder.norm_groups == 0
    assert preset.licence and preset.title


def test_the_papers_widths_are_the_defaults():
    decoder = config.DecoderConfig()
    assert (decoder.width, decoder.heads, decoder.pixel_layers, decoder.query_layers) == (256, 8, 6, 9)
    assert (decoder.pixel_ffn, decoder.query_ffn, decoder.enhancer_width, decoder.prompts) == (2048, 2048, 256, 8)


def test_with_classes_changes_the_classes_only():
    changed = presets.with_classes(NANO, ("a", "b"))
    assert changed.classes == ("a", "b") and NANO.classes == cityscapes.CLASSES
    assert dataclasses.replace(changed, classes=NANO.classes) == NANO


def test_presets_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        NANO.name = "mine"
