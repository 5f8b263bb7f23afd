"""The whole model, tiny and random: three streams, what is frozen, what is trained, what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mfuser.config import STREAMS, encoders_of
from mfuser.loading import MFuser
from mfuser.weights import folder


@pytest.mark.parametrize("stream", STREAMS)
@torch.no_grad()
def test_output_shapes(tiny_model, tiny_preset, pixels, stream: str):
    out = tiny_model(pixels, stream)
    classes = len(tiny_preset.classes)
    predictions = 1 + tiny_preset.decoder.query_layers
    assert [tuple(c.shape) for c in out.class_logits] == [(2, classes, classes + 1)] * predictions
    assert [tuple(m.shape) for m in out.mask_logits] == [(2, classes, 16, 24)] * predictions
    assert out.score_map.shape == (2, classes, 4, 6) and out.score_map.abs().max() <= 1 + 1e-5
    assert out.text.shape == (2, classes, tiny_model.vlm.embed_dim)
    assert out.visual.shape == (2, 1 + 24, tiny_model.vlm.embed_dim)
    assert out.semantic().shape == (2, classes, 16, 24)


@pytest.mark.parametrize("stream", STREAMS)
@torch.no_grad()
def test_a_batch_is_its_samples(tiny_model, pixels, stream: str):
    together = tiny_model(pixels, stream).semantic()
    for i in range(2):
        alone = tiny_model(pixels[i : i + 1], stream).semantic()
        # A mask that falls on the other side of the hard threshold would move far more than this.
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_each_encoder_may_be_shown_a_picture_of_its_own(tiny_model, pixels):
    darker = pixels * 0.5
    same = tiny_model({"vfm": pixels, "vlm": pixels}).class_logits[-1]
    assert torch.equal(same, tiny_model(pixels).class_logits[-1])
    apart = {"vfm": pixels, "vlm": darker}
    embedded = tiny_model.embed(apart)
    for name, shown in apart.items():
        assert torch.equal(embedded[name][0], tiny_model.embed(shown, name)[name][0])
    assert not torch.allclose(tiny_model(apart).class_logits[-1], same)
    with pytest.raises(ValueError, match="patch grids differ"):
        tiny_model({"vfm": pixels, "vlm": torch.cat([pixels, pixels], dim=-1)})
    assert torch.equal(tiny_model(apart, "vfm").class_logits[-1], tiny_model(pixels, "vfm").class_logits[-1])
    with pytest.raises(ValueError, match="'fused' needs pixels for 'vlm' too, got vfm"):
        tiny_model({"vfm": pixels})


@torch.no_grad()
def test_is_deterministic_in_evaluation(tiny_model, pixels):
    assert torch.equal(tiny_model(pixels).semantic(), tiny_model(pixels).semantic())


@torch.no_grad()
def test_fused_stream_is_equations_1_to_3(tiny_model, pixels):
    """Blocks, then the adapter on [VFM, VLM], then the sum; taps after the sum, VFM channels first."""
    model, embedded = tiny_model, tiny_model.embed(pixels)
    (d, grid), (v, _) = embedded["vfm"], embedded["vlm"]
    taps, length = [], d.shape[1]
    for i in range(4):
        d, v = model.vfm.block(i, d, grid), model.vlm.block(i, v, grid)
        offsets = model.fusion.adapters[i](torch.cat([d, v], 1))
        d, v = d + offsets[:, :length], v + offsets[:, length:]
        taps.append(torch.cat([d[:, 1:], v[:, 1:]], 2).transpose(1, 2).view(2, -1, 4, 6))
    features = model.features(embedded, "fused")
    assert all(torch.equal(a, b) for a, b in zip(features.taps, taps, strict=True))
    joint = model.vlm.dense(model.vlm.norm(v + model.fusion.joint(d)))
    assert torch.equal(features.visual, joint)


@torch.no_grad()
def test_sum_is_the_other_joint_embedding(tiny_preset, build_model, pixels):
    model = build_model(replace(tiny_preset, fusion=replace(tiny_preset.fusion, joint="sum")))
    f = model.features(model.embed(pixels), "fused")
    expected = model.vlm.dense(model.vlm.norm(f.vlm) + model.vfm.norm(f.vfm))
    assert model.fusion.joint is None and torch.equal(f.visual, expected)


@torch.no_grad()
def test_recorder_sees_every_pair_before_and_after(tiny_model, pixels):
    seen = []
    tiny_model(pixels, record=lambda *call: seen.append(call))
    assert [index for index, _, _ in seen] == [0, 1, 2, 3]
    for index, before, after in seen:
        offsets = tiny_model.fusion(index, before["vfm"], before["vlm"], (4, 6))
        for name, offset in zip(("vfm", "vlm"), offsets, strict=True):
            assert torch.equal(after[name], before[name] + offset) and offset.abs().max() > 0


@torch.no_grad()
def test_single_streams_do_not_change_with_the_adapters(fresh_model, pixels):
    before = {s: fresh_model(pixels, s).semantic() for s in STREAMS}
    for p in [*fresh_model.fusion.parameters(), *fresh_model.heads["fused"].parameters()]:
        p.add_(0.1 * torch.randn_like(p))
    after = {s: fresh_model(pixels, s).semantic() for s in STREAMS}
    assert torch.equal(before["vfm"], after["vfm"]) and torch.equal(before["vlm"], after["vlm"])
    assert not torch.allclose(before["fused"], after["fused"])


@torch.no_grad()
def test_the_vfm_stream_takes_its_pixels_from_the_vfm_only(fresh_model, pixels):
    before = fresh_model(pixels, "vfm").semantic()
    for name, p in fresh_model.vlm.named_parameters():
        if not name.startswith("text."):
            p.add_(torch.randn_like(p))
    assert torch.equal(fresh_model(pixels, "vfm").semantic(), before)


@torch.no_grad()
def test_encoders_of_different_width_and_depth_fuse(uneven_preset, build_model, pixels):
    model = build_model(uneven_preset)
    assert (model.vfm.width, model.vfm.depth) == (48, 6) and (model.vlm.width, model.vlm.depth) == (64, 4)
    seen = []
    out = model(pixels, record=lambda index, before, after: seen.append({n: t.shape[-1] for n, t in after.items()}))
    assert out.semantic().shape == (2, 19, 16, 24) and seen == [{"vfm": 48, "vlm": 64}] * 4
    features = model.features(model.embed(pixels), "fused")
    assert [t.shape[1] for t in features.taps] == [48 + 64] * 4
    alone = model.features(model.embed(pixels, "vfm"), "vfm")
    assert [t.shape[1] for t in alone.taps] == [48] * 4
    d, grid = model.embed(pixels, "vfm")["vfm"]
    for i in range(6):  # every block runs once, whatever the pairing
        d = model.vfm.block(i, d, grid)
    assert torch.equal(alone.vfm, d)


def test_sides_that_do_not_fit_are_refused_with_some_that_do(tiny_model):
    with pytest.raises(ValueError, match="multiples of 32: 64x100 is not, 64x96 is"):
        tiny_model(torch.zeros(1, 3, 64, 100))


def test_a_stream_without_decoder_and_an_unknown_one_are_refused(uneven_preset, build_model, pixels, tiny_model):
    with pytest.raises(ValueError, match="'uneven' has no trained decoder for 'vlm'"):
        build_model(uneven_preset)(pixels, "vlm")
    with pytest.raises(ValueError, match="Unknown stream 'both'; choose one of vfm, vlm, fused"):
        tiny_model(pixels, "both")
    assert [tuple(encoders_of(s)) for s in STREAMS] == [("vfm",), ("vlm",), ("vfm", "vlm")]


def test_class_text_follows_the_prompts(fresh_model):
    with torch.no_grad():
        before = fresh_model.class_text("fused").clone()
        assert fresh_model.class_text("fused") is fresh_model.class_text("fused"), "computed once"
        fresh_model.heads["fused"].prompts.add_(1)
        after = fresh_model.class_text("fused")
    assert not torch.allclose(before, after)
    expected = fresh_model.vlm.text(fresh_model.class_ids, fresh_model.heads["fused"].prompts)
    torch.testing.assert_close(after, expected.detach())


# -- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", STREAMS)
def test_gradients_reach_exactly_what_the_stream_trains(fresh_model, pixels, stream: str):
    model = fresh_model.train_mode(stream)
    out = model(pixels, stream)
    # Every output has a part in the loss: all predictions, and the score map.
    loss = sum(c.square().mean() for c in out.class_logits) + sum(m.square().mean() for m in out.mask_logits)
    (loss + model.alignment_logits(out.score_map).square().mean()).backward()
    trainable = model.trainable(stream)
    reached = {name for name, p in model.named_parameters() if p.grad is not None}
    assert reached == set(trainable)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == set(trainable)
    silent = {name for name in reached if not trainable[name].grad.abs().sum() > 0}
    assert silent == set()


@pytest.mark.parametrize("stream", STREAMS)
def test_training_mode_is_the_streams_own(fresh_model, stream: str):
    model = fresh_model.train_mode(stream)
    owners = model.owners(stream)
    assert ("fusion" in owners) == (stream == "fused") and f"heads.{stream}" in owners
    inside = {id(m) for owner in owners.values() for m in owner.modules()}
    for name, module in model.named_modules():
        assert name in ("", "heads") or module.training == (id(module) in inside), name


def test_a_step_changes_the_stream_and_nothing_else(fresh_model, pixels):
    model = fresh_model.train_mode("fused")
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimiser = torch.optim.SGD(model.trainable("fused").values(), lr=0.1)
    model(pixels).semantic().square().mean().backward()
    optimiser.step()
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert changed and changed <= set(model.trainable("fused"))
    assert any(name.startswith("fusion.adapters.0") for name in changed)


def test_alignment_logits_divide_by_the_temperature(tiny_model):
    cosines = torch.tensor([-1.0, 0.5])
    torch.testing.assert_close(tiny_model.alignment_logits(cosines), cosines / tiny_model.vlm.temperature)


def test_from_preset_takes_names_and_refuses_unknown_ones():
    with pytest.raises(ValueError, match="Unknown preset 'giant'; choose one of nano"):
        MFuser.from_preset("giant", pretrained=False)


def test_prepared_for_inference_it_counts_as_trained_and_refuses_training_and_saving(fresh_model, tmp_path):
    counts = fresh_model.count_parameters()
    assert counts["fused"] == sum(p.numel() for m in (fresh_model.vfm, fresh_model.vlm) for p in m.parameters()) + sum(
        p.numel() for p in fresh_model.trainable("fused").values()
    )
    prepared = fresh_model.for_inference().for_inference()
    assert prepared.count_parameters() == counts
    with pytest.raises(ValueError, match="prepared for inference"):
        prepared.train_mode("fused")
    with pytest.raises(ValueError, match="prepared for inference"):
        folder.save_folder(prepared, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_model_made_in_inference_mode_runs(tiny_preset):
    with torch.inference_mode():
        model = MFuser(tiny_preset).eval()
        assert model(torch.rand(1, 3, 64, 64) * 255).semantic().isfinite().all()
