"""The two vision stages, on street pictures and with a random network in the ImageNet network's place: what the student
must answer is what the teacher sees there, and the whole stage runs, learns and gives weights that fit."""

from __future__ import annotations

from dataclasses import replace

import cv2
import pytest
import timm
import torch

import mfuser.encoders  # noqa: F401  before timm's models are made
from mfuser import weather
from mfuser.encoders.nano import TRUNKS
from mfuser.weights import tensors as tensors_module
from train.pretrain import text, trunk, vfm, vlm
from train.pretrain.crops import gather, random_softness, weathered, with_weather
from train.runtime.training_steps import RunConfig


@pytest.fixture
def imagenet(monkeypatch) -> None:
    """Random networks in place of the packages' weights, the same at every call."""

    def make(size: str):
        torch.manual_seed(5)
        return timm.create_model(f"tf_efficientnet_{size}", pretrained=False)

    monkeypatch.setattr(trunk, "imagenet_lite", make)


def test_every_picture_gets_weather_of_its_own_and_the_same_again(streets):
    pictures, _, _ = gather([f"camvid:{streets}"], labelled=False)
    found = weathered(pictures, 3)
    assert found.shape == pictures.shape and found.dtype == torch.uint8
    assert all((a.int() - b).abs().float().mean() > 1 for a, b in zip(found, pictures, strict=True))
    assert torch.equal(weathered(pictures[:3], 3), found[:3]) and not torch.equal(weathered(pictures, 4), found)
    clear = pictures[0].permute(1, 2, 0).numpy()
    made = [weather.apply(clear, c, s, 0) for c in weather.CONDITIONS for s in range(1, 6)]
    assert any(torch.equal(torch.from_numpy(m).permute(2, 0, 1), found[0]) for m in made)


def test_a_share_of_a_batch_is_in_weather_beside_its_clear_self():
    clear, weather_of = torch.zeros(400, 3, 2, 2, dtype=torch.uint8), torch.ones(400, 3, 2, 2, dtype=torch.uint8)
    for share, least, most in ((0.0, 0, 0), (0.3, 80, 160), (1.0, 400, 400)):
        both = with_weather(clear, weather_of, share, torch.Generator().manual_seed(0))
        changed = both[:, 3:].flatten(1).float()
        assert both.shape == (400, 6, 2, 2) and not both[:, :3].any() and torch.equal(changed.amin(1), changed.amax(1))
        assert least <= changed[:, 0].sum() <= most


def test_half_of_the_pictures_become_softer_each_as_one_gaussian_blurs_it():
    sharp = torch.rand(40, 3, 24, 32, generator=torch.Generator().manual_seed(1)) * 255
    found = random_softness(sharp, torch.Generator().manual_seed(0))
    changed = (found - sharp).abs().flatten(1).amax(1) > 1
    assert 12 <= changed.sum() <= 28 and torch.allclose(found[~changed], sharp[~changed], atol=1e-3)
    sigmas, strengths = torch.linspace(0.3, 2.2, 381).tolist(), []
    for before, after in zip(sharp[changed], found[changed], strict=True):
        image, ours = before.permute(1, 2, 0).numpy(), after.permute(1, 2, 0).numpy()
        blurs = (cv2.GaussianBlur(image, (11, 11), s, borderType=cv2.BORDER_REFLECT_101) for s in sigmas)
        gaps = [abs(blur - ours).max() for blur in blurs]
        assert min(gaps) < 1
        strengths.append(sigmas[gaps.index(min(gaps))])
    assert 0.39 < min(strengths) < 0.8 and 1.6 < max(strengths) < 2.01, "one for each picture"
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(random_softness(sharp, torch.Generator().manual_seed(0)), found)


@pytest.mark.parametrize("size", TRUNKS)
def test_targets_of_a_patch_are_what_the_teacher_sees_there(imagenet, size):
    """At twice the resolution: one stride-32 feature, 2 x 2 of stride 16 and 4 x 4 of stride 8 for a patch of 16."""
    teacher = trunk.Teacher(size)
    pixels = torch.rand(2, 3, 64, 96) * 255
    maps = teacher(pixels)
    found = vfm.targets_of(teacher, pixels, 16)
    patch = 1 * 3 + 2  # row 1, column 2 of the student's 2 x 3
    for stride, many in ((32, 1), (16, 2), (8, 4)):
        assert found[stride].shape == (2, 6, TRUNKS[size][stride] * many**2)
        own = maps[stride][:, :, many : 2 * many, 2 * many : 3 * many]  # of that patch
        every = maps[stride].unfold(2, many, many).unfold(3, many, many).permute(0, 2, 3, 1, 4, 5).reshape(12, -1)
        expected = (own.reshape(2, -1) - every.mean(0)) / every.std(0).clamp_min(1e-4)
        torch.testing.assert_close(found[stride][:, patch], expected, rtol=1e-3, atol=1e-3)


def test_missing_packages_are_named(monkeypatch):
    with pytest.raises(ValueError, match=r"EfficientNet-Lite7: pip install -r train/requirements-pretrain\.txt"):
        trunk.imagenet_lite("lite7")


@pytest.fixture
def small(monkeypatch) -> RunConfig:
    """Steps of few and small crops."""
    for stage in (vfm, vlm):
        monkeypatch.setattr(stage, "CROP", 64)
    return RunConfig(iterations=3, batch=2, lr=1e-3, warmup=1)


def test_distillation_comes_nearer_to_the_teacher(imagenet, small, streets, fresh_model, tmp_path, monkeypatch):
    seen = []
    terms = vfm.Readout.forward

    def record(self, tokens, targets):
        found = terms(self, tokens, targets)
        seen.append(sum(found.values()).item())
        return found

    monkeypatch.setattr(vfm.Readout, "forward", record)
    softened, soften = [], vfm.random_softness
    monkeypatch.setattr(vfm, "random_softness", lambda x, draws: softened.append(x.shape[-1]) or soften(x, draws))
    config = replace(small, iterations=30, state=tmp_path / "vfm.state.pt")
    tensors = vfm.train(fresh_model, [f"camvid:{streets}"], tmp_path, config)
    assert len(seen) == 30 and sum(seen[-5:]) < 0.97 * sum(seen[:5])
    assert softened == [vfm.CROP] * 30, "the student's picture, never the teacher's"
    average = fresh_model.vfm.state_dict()
    assert tensors.keys() == average.keys(), "the encoder and nothing of what only pre-training needs"
    assert any(not torch.equal(t, average[n]) for n, t in tensors.items()), "a moving average, not the last step"
    norms = [n for n in tensors if n.endswith("running_mean")]
    start = trunk.imagenet_lite(fresh_model.vfm.trunk.size).state_dict()
    assert norms and all(
        torch.equal(tensors[n], start[n.removeprefix("trunk.").replace("stages", "blocks")])
        for n in norms
        if "stages" in n
    ), "batch norms keep ImageNet's statistics"


def test_alignment_runs_and_leaves_the_text_tower(imagenet, small, streets, fresh_model, tmp_path, monkeypatch):
    tower = {n: t.clone() for n, t in fresh_model.vlm.text.state_dict().items()}
    tensors_module.save(tmp_path / text.OUTPUT, tower)
    before = {n: t.clone() for n, t in fresh_model.vlm.state_dict().items()}
    config = replace(small, state=tmp_path / "vlm.state.pt")
    sets = [f"camvid:{streets}", f"camvid:{streets}/val"]
    softened = []
    monkeypatch.setattr(vlm, "random_softness", lambda x, g: softened.append(x.shape) or random_softness(x, g))
    tensors = vlm.train(fresh_model, sets, tmp_path, config)
    shown = config.batch + config.batch // 2
    assert softened == config.iterations * [(shown, 3, vlm.CROP, vlm.CROP)], "all that the student sees, nothing else"
    moved = {n for n, t in tensors.items() if not torch.equal(t, before[n])}
    assert any(n.startswith("blocks.") for n in moved) and any(n.startswith("head.") for n in moved)
    assert all(torch.equal(tensors[f"text.{n}"], t) for n, t in tower.items())
    assert all(t.isfinite().all() for t in tensors.values() if t.is_floating_point())
