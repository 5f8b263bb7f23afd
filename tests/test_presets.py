"""The model zoo as data: what runs here, why not, and what would make it run."""

from __future__ import annotations

import dataclasses

import pytest

from mfuser import cityscapes, presets
from mfuser.presets import NANO, PRESETS, STREAMS


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
    files = presets.weight_files(NANO)
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


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ValueError, match="Unknown preset 'nanno'; choose one of nano"):
        presets.get("nanno")


def test_weight_files_follow_the_streams(tiny_preset):
    assert presets.weight_files(tiny_preset) == [
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
    decoder = presets.DecoderConfig()
    assert (decoder.width, decoder.heads, decoder.pixel_layers, decoder.query_layers) == (256, 8, 6, 9)
    assert (decoder.pixel_ffn, decoder.query_ffn, decoder.enhancer_width, decoder.prompts) == (2048, 2048, 256, 8)


def test_with_classes_changes_the_classes_only():
    changed = presets.with_classes(NANO, ("a", "b"))
    assert changed.classes == ("a", "b") and NANO.classes == cityscapes.CLASSES
    assert dataclasses.replace(changed, classes=NANO.classes) == NANO


def test_presets_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        NANO.name = "mine"
