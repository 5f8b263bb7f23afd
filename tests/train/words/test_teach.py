"""Teaching words: nouns sorted by class, the class names stay where they were, the phrases of the test are not seen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from mfuser import presets
from mfuser.weights import compact, tensors
from mfuser.weights import folder as folder_module
from train.__main__ import main
from train.data import CITYSCAPES
from train.texts import evaluation_phrases, sentence_encoder
from train.words import command, general_english, teach, teaching_texts


def test_threshold_stands_for_nothing():
    cosines = torch.tensor([[0.9, 0.1], [0.2, 0.1]])
    assert teach.threshold_logits(cosines, 0.4).argmax(1).tolist() == [0, 2]
    expected = torch.tensor([[0.9, 0.1, 0.4], [0.2, 0.1, 0.4]]) / teach.TEMPERATURE
    torch.testing.assert_close(teach.threshold_logits(cosines, 0.4), expected)


def test_names_that_find_the_pixels_of_others_are_not_apt():
    means = torch.eye(3)
    names = F.normalize(torch.tensor([[1.0, 0.2, 0], [0.2, 0.3, 0.9], [0, 1.0, 0.9], [0, 0, 1.0]]), dim=-1)
    assert teach.apt_names(names, means, torch.tensor([0, 1, 1, 255])).tolist() == [True, False, True, False, True]


def test_what_has_moved_is_put_back():
    generator = torch.Generator().manual_seed(0)
    hidden, projection = torch.randn(12, 32, generator=generator), torch.randn(32, 48, generator=generator)
    wanted = hidden @ projection + 0.05 * torch.randn(12, 48, generator=generator)
    other = torch.randn(100, 32, generator=generator)
    before = other @ projection
    teach.restore(projection, hidden @ projection, wanted)
    assert torch.allclose(hidden @ projection, wanted, atol=1e-4)
    assert ((other @ projection - before).norm(dim=-1) / before.norm(dim=-1)).max() < 0.05, "little else has changed"


def test_a_vision_tower_is_stored_in_few_bits_where_it_was(fresh_model):
    """Its values stay what they are: in few bits when they came from such a file, and as float16 when they did not."""
    vlm = fresh_model.vlm
    bits = vlm.stored_bits()
    texts = {name for name in bits if name.startswith("text.")}
    assert set(teach.bits_to_store(vlm)) == texts != set(bits)
    vlm.load_state_dict(compact.rounded(vlm.state_dict(), bits), strict=False)
    assert teach.bits_to_store(vlm) == bits


def test_the_command_moves_words_and_keeps_class_names(
    small_wordnet, tmp_path, streets, monkeypatch, tiny_preset, fresh_model, capsys
):
    monkeypatch.setitem(presets.PRESETS, tiny_preset.name, tiny_preset)
    old, new = tmp_path / "old", tmp_path / "new"
    folder_module.save_folder(fresh_model, old)
    arguments = ["teach", "--preset", "tiny", "--weights", str(old), "--out", str(new), "--data", f"camvid:{streets}"]
    assert main([*arguments, "--iterations", "40", "--batch", "32", "--general", "0", "--lr", "0.002"]) == 0
    said = capsys.readouterr().out
    assert "class embeddings moved by" in said
    assert sorted(p.name for p in new.iterdir()) == sorted(p.name for p in old.iterdir())
    before, after = (tensors.load(f / "encoder-vlm.safetensors")[0] for f in (old, new))
    changed = {name for name in before if not torch.allclose(before[name], after[name], atol=2e-3, rtol=2e-3)}
    assert changed and all(name.startswith("text.") for name in changed), "the vision tower stays"
    models = [type(fresh_model).from_preset(tiny_preset, weights=f) for f in (old, new)]
    drift = 0.0
    for stream in tiny_preset.streams:
        a, b = (m.class_text(stream).detach() for m in models)
        drift = max(drift, float(((a - b).norm(dim=-1) / a.norm(dim=-1)).max()))
    with torch.no_grad():
        a, b = (m.vlm.text(m.vlm.tokenize(["jalopy", "teapot"], 12), m.heads["fused"].prompts) for m in models)
    moved = (a - b).norm(dim=-1) / a.norm(dim=-1)
    assert drift < 0.15 and moved.max() > 3 * drift
    told = float(re.search(r"moved by ([\d.]+) %", said)[1]) / 100
    assert drift == pytest.approx(told, abs=1e-4), "what is said holds for the file"
    arguments[6] = str(tmp_path / "every")
    assert main([*arguments, "--iterations", "1", "--batch", "4", "--general", "0", "--every-word"]) == 0
    assert command.were_taught(tmp_path / "every") and not command.were_taught(new) and not command.were_taught(old)


def test_general_english_comes_with_chances(small_wordnet, tmp_path, monkeypatch):
    seen: list[str] = []

    def embed(every: list[str], cache: Path, device: str) -> torch.Tensor:
        seen.extend(every)
        return F.normalize(torch.randn(len(every), 16, generator=torch.Generator().manual_seed(0)), dim=-1)

    monkeypatch.setattr(sentence_encoder, "embed", embed)
    general = general_english.general_texts(8, tmp_path, "cpu", teaching_texts.Sampler())
    assert len(general.texts) == 8 and general.embeddings.shape == (8, 16)
    assert general.chances.shape == (8, 20) and torch.allclose(general.chances.sum(1), torch.ones(8), atol=1e-4)
    assert general.texts == seen[-8:] and not any(map(evaluation_phrases.holds_phrase, seen))
    assert general_english.general_texts(0, tmp_path, "cpu", teaching_texts.Sampler()) is None


def test_the_tower_learns_general_english(small_wordnet, tiny_preset, fresh_model):
    told = ["has four wheels", "a valve", "a town"]
    model = fresh_model
    general = general_english.General(
        told, F.normalize(torch.randn(3, model.vlm.embed_dim), dim=-1), torch.full((3, 20), 0.05)
    )
    means = {stream: F.normalize(torch.randn(19, model.vlm.embed_dim), dim=-1) for stream in teach.STREAMS}
    settings = teach.RunConfig(2, 8, 1e-3, warmup=1)
    before = model.vlm.text(model.vlm.tokenize(told, 12)).detach()
    assert teach.teach(model, CITYSCAPES, means, general, settings, teaching_texts.Sampler()) < 0.2
    assert not torch.allclose(model.vlm.text(model.vlm.tokenize(told, 12)), before)


def test_bad_input_is_one_sentence(small_wordnet, tmp_path, streets, monkeypatch, tiny_preset, fresh_model, capsys):
    monkeypatch.setitem(presets.PRESETS, tiny_preset.name, tiny_preset)
    folder_module.save_folder(fresh_model, tmp_path / "old")
    place = ["--preset", "tiny", "--weights", str(tmp_path / "old"), "--out", str(tmp_path / "old")]
    assert main(["teach"]) == 2 and "No photographs" in capsys.readouterr().err
    assert main(["teach", *place, "--data", str(streets)]) == 2 and "choose another --out" in capsys.readouterr().err
    with pytest.raises(ValueError, match="--general must not be negative"):
        teach.TeachConfig(general=-1)


def test_what_is_near_a_class_gets_its_chance():
    generator = torch.Generator().manual_seed(0)
    axes = torch.eye(8)[:3]
    known = F.normalize(axes.repeat(20, 1) + 0.1 * torch.randn(60, 8, generator=generator), dim=-1)
    found = general_english.chances(known, [0, 1, 3] * 20, axes, 5)
    assert found.shape == (3, 5) and torch.allclose(found.sum(1), torch.ones(3), atol=1e-5)
    assert found.argmax(1).tolist() == [0, 1, 3] and not found[:, [2, 4]].any(), "no chance without an example"
