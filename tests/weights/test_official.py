"""The authors' checkpoints: every entry accounted for, everything wrong named, and nothing changed on the way."""

from __future__ import annotations

import json
from collections import OrderedDict

import pytest
import torch
from torch import Tensor

from mfuser import config, presets
from mfuser.cli import main
from mfuser.loading import MFuser
from mfuser.weights import availability, files, folder, official
from mfuser.weights.files import MisfitError, WeightsError
from mfuser.weights.official import Origin

IDS = torch.randint(2, 32000, (19, 5), generator=torch.Generator().manual_seed(5))


@pytest.fixture
def state(official_state: dict[str, Tensor]) -> dict[str, Tensor]:
    return dict(official_state)


def build(state: dict[str, Tensor], preset: config.Preset) -> MFuser:
    return MFuser.from_official(state, token_ids=IDS, preset=preset)


# -- every entry of the real checkpoints, without their values ---------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "vlm", "used", "constant", "inert", "millions"),
    [("eva", "eva02-clip-l", 1656, 50, 2, 851.7), ("clip", "clip-l", 1538, 0, 1, 902.8),
     ("siglip", "siglip-l", 1785, 0, 99, 1127.5 - 51.4)],
)  # fmt: skip
def test_every_entry_of_the_released_checkpoints_has_its_place(
    reference_folder, file: str, vlm: str, used: int, constant: int, inert: int, millions: float
):
    shapes = json.loads((reference_folder / f"keys_{file}.json").read_text())
    state = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    with torch.device("meta"):
        model = MFuser(presets.get(f"dinov2-l+{vlm}"))
    model.vlm.text.shorten(model.preset.decoder.prompts + 5)
    assert official.recognise(shapes) == vlm
    found = official.account(model, shapes)
    assert [len(found.used), len(found.constant), len(found.inert)] == [used, constant, inert]
    assert sorted([*found.used, *found.constant, *found.inert]) == sorted(shapes), "each entry in exactly one list"
    own = model.state_dict()
    taken = {n: origin.take(state).shape for n, origin in official.origins(own, model.preset).items()}
    assert taken == {n: t.shape for n, t in own.items() if n != "vlm.logit_scale"}
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)


# -- values ------------------------------------------------------------------------------------------------------------


def test_the_round_trip_changes_no_bit(state, pair_preset, tmp_path, monkeypatch):
    """Official -> ours -> saved -> loaded: the same values in every tensor, and each official value is in ours."""
    first = build(state, pair_preset)
    folder.save_folder(first, tmp_path)
    monkeypatch.setitem(presets.PRESETS, pair_preset.name, pair_preset)
    second = MFuser.from_preset(pair_preset, weights=tmp_path)
    assert files.preset_name(tmp_path) == pair_preset.name
    one, two = first.state_dict(), second.state_dict()
    assert one.keys() == two.keys() and all(torch.equal(one[n], two[n]) for n in one)
    assert all(one[n].dtype == two[n].dtype for n in one)
    assert torch.equal(first.class_ids, second.class_ids)
    for name, origin in official.origins(two, pair_preset).items():
        assert torch.equal(two[name], origin.take(state)), name
    pixels = torch.rand(1, 3, 32, 32) * 255
    with torch.no_grad():
        # The tensors are the same; products may differ in the last digits with where these lie in memory.
        torch.testing.assert_close(first(pixels).semantic(), second(pixels).semantic(), rtol=1e-4, atol=1e-4)


def test_packed_entries_keep_their_order(state, pair_preset):
    model, own = build(state, pair_preset), {}
    if pair_preset.vlm.family == "siglip":
        prefix = "backbone.encoder.layers.2.self_attn."
        own = {"qkv": model.vlm.trunk.blocks[2].attn.qkv.weight.chunk(3)}
        assert all(torch.equal(own["qkv"][i], state[f"{prefix}{x}_proj.weight"]) for i, x in enumerate("qkv"))
        packed = state["backbone.head.attention.in_proj_bias"]
        assert torch.equal(model.vlm.trunk.attn_pool.q.bias, packed[:64])
        assert torch.equal(model.vlm.trunk.attn_pool.kv.bias, packed[64:])
    if pair_preset.vlm.family == "eva02-clip":
        mlp = model.vlm.trunk.blocks[1].mlp
        assert torch.equal(mlp.fc1_g.weight, state["backbone.blocks.1.mlp.w1.weight"])  # the one that passes SiLU
        assert torch.equal(mlp.fc1_x.weight, state["backbone.blocks.1.mlp.w2.weight"])


def test_a_model_from_a_checkpoint_trains_like_any_other(state, pair_preset):
    model = build(state, pair_preset).train_mode("fused")
    output = model(torch.rand(1, 3, 32, 32) * 255)
    (output.mask_logits[-1].square().mean() + output.class_logits[-1].square().mean()).backward()
    for name in ("fusion.adapters.0.in_proj.weight", "heads.fused.prompts"):
        assert model.get_parameter(name).grad.abs().sum() > 0
    assert all(p.grad is None for p in [*model.vfm.parameters(), *model.vlm.parameters()])


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_everything_wrong_is_named_at_once(state, pair_preset):
    del state["decode_head.cls_embed.weight"], state["backbone.dinov2.blocks.3.ls1.gamma"]
    state["backbone.fpn9.weight"] = torch.zeros(1)
    state["gamma"] = torch.zeros(7)
    with pytest.raises(MisfitError) as error:
        build(state, pair_preset)
    message = str(error.value)
    assert "missing: backbone.dinov2.blocks.3.ls1.gamma, decode_head.cls_embed.weight" in message
    assert "not of this model: backbone.fpn9.weight" in message
    assert f"wrong shape: gamma (7,) instead of ({pair_preset.vlm.options['embed_dim']},)" in message


def test_single_entries_are_needed(state, pair_preset):
    with torch.device("meta"):
        model = MFuser(pair_preset)
    model.vlm.text.shorten(pair_preset.decoder.prompts + 5)
    found = official.account(model, state)
    for name in [*found.used][::9]:
        with pytest.raises(MisfitError, match="missing: " + name.replace(".", r"\.") + "$"):
            official.convert({n: t for n, t in state.items() if n != name}, model)
    free = {n: t for n, t in state.items() if n not in found.constant and n not in found.inert}
    assert official.convert(free, model).keys() == model.state_dict().keys(), "constants are computed when absent"


@pytest.mark.parametrize("family", ["eva02-clip"], indirect=True)
def test_rotary_tables_are_compared(state, pair_preset):
    name = "backbone.blocks.2.attn.rope.freqs_cos"
    right = state[name]
    for wrong in (right + 0.01, torch.where(right == right[3, 3], float("nan"), right)):
        state[name] = wrong
        with pytest.raises(MisfitError, match=f"Rotary tables of the checkpoint differ from the released ones: {name}"):
            build(state, pair_preset)
    state[name] = state[name][:-1]
    with pytest.raises(MisfitError, match=r"wrong shape: .*freqs_cos \(15, 32\) instead of \(16, 32\)"):
        build(state, pair_preset)


def test_the_variant_is_recognised_and_checked():
    for vlm, sign in official.SIGNS.items():
        assert official.recognise([sign, "contexts"]) == vlm
        other = next(v for v in official.SIGNS if v != vlm)
        with pytest.raises(MisfitError, match=f"is the authors' for '{vlm}', not for '{other}'"):
            official.recognise([sign], other)
    with pytest.raises(WeightsError, match="is none of the authors'"):
        official.recognise(["fc.weight"])
    with pytest.raises(ValueError, match="Unknown vlm 'clip'; choose one of eva02-clip-l, clip-l, siglip-l"):
        official.recognise([], "clip")


@pytest.mark.parametrize("ids", [torch.zeros(19, 4, dtype=torch.int64), torch.zeros(19, 5), torch.zeros(5, 19)])
def test_token_ids_of_another_shape_are_refused(pair_preset, ids: Tensor):
    with pytest.raises(ValueError, match=r"must be \(19, 5\) int64, got .*: one row per class name"):
        MFuser(pair_preset, ids)


@pytest.mark.parametrize("family", ["siglip"], indirect=True)
def test_class_names_without_a_vocabulary_are_one_sentence(state, pair_preset, tmp_path, monkeypatch):
    monkeypatch.setenv("MFUSER_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    model = MFuser.from_official(state, preset=pair_preset)
    with pytest.raises(ValueError, match="The class names need a vocabulary, or token_ids. .*run `(hf|pip) "):
        model(torch.zeros(1, 3, 32, 32))
    model.set_class_ids(IDS)
    assert model(torch.zeros(1, 3, 32, 32)).text.isfinite().all()


# -- files -------------------------------------------------------------------------------------------------------------


def write(state: dict[str, Tensor], path, zipped: bool = True) -> None:
    """As mmcv saves it, optimizer and meta data included."""
    meta = {"epoch": 1, "iter": 20000, "CLASSES": ("road", "sidewalk"), "config": "model = dict()"}
    optimizer = {"state": {0: {"step": 3, "exp_avg": torch.zeros(4)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]}
    whole = {"meta": meta, "state_dict": OrderedDict(state), "optimizer": optimizer}
    torch.save(whole, path, _use_new_zipfile_serialization=zipped)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_gives_the_same_model(state, pair_preset, tmp_path, zipped: bool):
    write({f"module.{n}": t for n, t in state.items()} if not zipped else state, tmp_path / "iter.pth", zipped)
    one = MFuser.from_official(tmp_path / "iter.pth", token_ids=IDS, preset=pair_preset).state_dict()
    two = build(state, pair_preset).state_dict()
    assert all(torch.equal(one[n], two[n]) for n in two)


def test_a_file_that_runs_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("executed",))

    torch.save({"state_dict": {"a": torch.ones(1)}, "meta": Evil()}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match="holds more than tensors and plain data"):
        official.read(tmp_path / "x.pth")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04" + b"\xff" * 99])
def test_a_damaged_file_is_one_sentence(tmp_path, content: bytes):
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(WeightsError, match="x.pth cannot be read as weights"):
        official.read(tmp_path / "x.pth")
    with pytest.raises(WeightsError, match="There is no file .*none.pth.*authors' release, https://github.com/"):
        official.read(tmp_path / "none.pth")
    with pytest.raises(WeightsError, match=f"{tmp_path.name} is a folder: pass the checkpoint file in it"):
        official.read(tmp_path)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="holds no tensors by name"):
        official.read(tmp_path / "list.pth")


def test_import_writes_a_folder_with_a_card(state, pair_preset, tmp_path, monkeypatch, capsys):
    vlm = next(v for v in availability.OFFICIAL if v.startswith(pair_preset.vlm.family))
    monkeypatch.setitem(presets.PRESETS, f"dinov2-l+{vlm}", pair_preset)
    monkeypatch.setitem(presets.PRESETS, pair_preset.name, pair_preset)
    monkeypatch.setenv("MFUSER_WEIGHTS", str(tmp_path))

    def runnable() -> bool:
        return next(s["runnable"] for s in presets.available() if s["name"] == pair_preset.name)

    assert not runnable()
    write(state, tmp_path / "iter_20000.pth")
    (tmp_path / "ids.json").write_text(json.dumps(IDS.tolist()))
    arguments = ["import-official", str(tmp_path / "iter_20000.pth"), "--out", str(tmp_path / pair_preset.name)]
    assert main([*arguments, "--vlm", vlm, "--token-ids", str(tmp_path / "ids.json")]) == 0
    assert f"{len(state)} entries" in capsys.readouterr().out
    card = json.loads((tmp_path / pair_preset.name / "card.json").read_text())
    assert len(card["used"]) + len(card["constant"]) + len(card["inert"]) == card["entries"] == len(state)
    assert runnable(), "the preset finds its weights in the user's folder"
    import mfuser

    segmenter = mfuser.load(tmp_path / pair_preset.name, device="cpu", precision="float32")
    assert segmenter.preset is pair_preset and torch.equal(segmenter.model.class_ids, IDS)
    other = next(v for v in availability.OFFICIAL if v != vlm)
    assert main([*arguments, "--vlm", other]) == 2
    assert f"for {vlm!r}, not for {other!r}" in capsys.readouterr().err
    (tmp_path / "ids.json").write_text("[[1, 2], [3]]")
    assert main([*arguments, "--token-ids", str(tmp_path / "ids.json")]) == 2


@pytest.mark.parametrize("given", [False, True])
def test_import_ends_with_the_way_to_a_vocabulary_that_is_missing(
    state, pair_preset, tmp_path, monkeypatch, capsys, given: bool
):
    vlm = next(v for v in availability.OFFICIAL if v.startswith(pair_preset.vlm.family))
    monkeypatch.setitem(presets.PRESETS, f"dinov2-l+{vlm}", pair_preset)
    monkeypatch.setenv("MFUSER_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    write(state, tmp_path / "iter_20000.pth")
    (tmp_path / "ids.json").write_text(json.dumps(IDS.tolist()))
    ids = ["--token-ids", str(tmp_path / "ids.json")] if given else []
    assert main(["import-official", str(tmp_path / "iter_20000.pth"), "--out", str(tmp_path / "out"), *ids]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == (2 if vlm == "siglip-l" and not given else 1)
    if len(lines) == 2:
        assert "hf download timm/ViT-B-16-SigLIP tokenizer.json`, or import again with --token-ids FILE." in lines[1]


def test_load_takes_a_checkpoint(state, pair_preset, tmp_path, monkeypatch):
    import numpy as np

    import mfuser

    vlm = next(v for v in availability.OFFICIAL if v.startswith(pair_preset.vlm.family))
    monkeypatch.setitem(presets.PRESETS, f"dinov2-l+{vlm}", pair_preset)
    write(state, tmp_path / "iter_20000.pth")
    segmenter = mfuser.load(tmp_path / "iter_20000.pth", device="cpu", precision="float32")
    assert segmenter.weights == "iter_20000.pth" and segmenter.preset is pair_preset
    if segmenter.model.class_ids is None:  # no vocabulary here
        segmenter.model.set_class_ids(IDS)
    image = np.random.default_rng(0).integers(0, 256, (40, 70, 3)).astype(np.uint8)
    analysis = segmenter.analyse(image, layers=True)
    assert analysis.made == {"vfm": "clusters", "vlm": "zero-shot", "fused": "decoder"} and analysis.masks[
        "fused"
    ].shape == (40, 70)
    assert analysis.tokens.keys() == {"vfm", "vlm", "fused"} and len(analysis.layers) == 4
    named = mfuser.load(f"dinov2-l+{vlm}", device="cpu", precision="float32", weights=tmp_path / "iter_20000.pth")
    assert named.preset is pair_preset
    with pytest.raises(ValueError, match="is a checkpoint of the authors, .*: not for preset 'nano'"):
        mfuser.load("nano", weights=tmp_path / "iter_20000.pth")
    with pytest.raises(ValueError, match="Two sources of weights"):
        mfuser.load(tmp_path / "iter_20000.pth", weights=tmp_path)


# -- the notation ------------------------------------------------------------------------------------------------------


def test_origins_take_what_their_notation_says():
    state = {f"{x}_proj.w": torch.full((2, 3), float(i)) for i, x in enumerate("qkv")}
    packed = Origin.parse("{q,k,v}_proj.w")
    assert packed.names == ("q_proj.w", "k_proj.w", "v_proj.w") and packed.shape((6, 3)) == (2, 3)
    assert torch.equal(packed.take(state), torch.cat([state[n] for n in packed.names]))
    whole = {"w": torch.arange(6.0)}
    assert Origin.parse("w[0]").take(whole).tolist() == [0, 1] and Origin.parse("w[0]").shape((2,)) == (6,)
    assert Origin.parse("w[1:]").take(whole).tolist() == [2, 3, 4, 5] and Origin.parse("w[1:]").shape((4,)) == (6,)
    assert Origin.parse("w[None]").take(whole).shape == (1, 6) and Origin.parse("w[None]").shape((1, 6)) == (6,)
