"""Class lists of the user's own: what is refused, how positions are mixed, and that the trained list is untouched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import mfuser
from mfuser import images
from mfuser.cityscapes import CLASSES
from mfuser.config import STREAMS
from mfuser.decoder.head import MFuserOutput
from mfuser.inference import open_vocabulary
from mfuser.inference.segmenter import Segmenter

NAMES = ("road", "lorry", "zebra crossing", "car")


@pytest.fixture(scope="module")
def segmenter(tiny_model) -> Segmenter:
    return Segmenter(tiny_model, precision="float32")


@pytest.fixture(scope="module")
def street() -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (6, 9, 3)).astype(np.uint8)
    return images.resize(coarse, 64, 96)


# -- lists ------------------------------------------------------------------------------------------------------------


def test_lists_are_tidied_and_the_trained_one_is_none():
    assert open_vocabulary.check([" Road", "zebra   crossing"], CLASSES) == ("road", "zebra crossing")
    assert open_vocabulary.check([name.upper() for name in CLASSES], CLASSES) is None
    assert open_vocabulary.check(CLASSES[::-1], CLASSES) == CLASSES[::-1]
    assert open_vocabulary.split(" car,, zebra crossing \nsky,") == ["car", "zebra crossing", "sky"]


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        ([], "needs two names at least"),
        (["car"], "needs two names at least"),
        (["car", " "], "has an empty name"),
        (["car", "bus", "Car "], "'car' is in the list twice"),
        ([f"thing {i}" for i in range(41)], "has 41 names: 40 are the most"),
        (["car", "x" * 61], "has 61 characters: 60 are the most"),
        ("car, bus", r"not one text: pass \['car', 'bus'\]"),
    ],
)
def test_lists_that_cannot_be_used_are_one_sentence(classes, sentence: str):
    with pytest.raises(ValueError, match=sentence) as caught:
        open_vocabulary.check(classes, CLASSES)
    assert "\n" not in str(caught.value)


def test_a_name_longer_than_the_text_tower_is_refused(segmenter, street):
    long = "a b c d e f g h i j k l m n"
    for ask in (segmenter.check_classes, lambda names: segmenter.analyse(street, classes=names)):
        with pytest.raises(ValueError, match="is longer than the text tower reads"):
            ask(["car", long])
    fits = ("car", "a b c d e f g h i j")  # 12 tokens with both ends, 16 positions less 4 prompts
    assert segmenter.check_classes(fits) == fits


# -- texts and positions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", STREAMS)
@torch.no_grad()
def test_trained_names_keep_text_and_positions_and_new_ones_mix_them(tiny_model, stream: str):
    words = open_vocabulary.words(tiny_model, stream, NAMES)
    own = tiny_model.class_text(stream)
    for i, name in ((0, "road"), (3, "car")):
        k = CLASSES.index(name)
        assert torch.equal(words.text[i], own[k])
        assert torch.equal(words.mix[i], torch.eye(19)[k])
    assert words.mix.shape == (4, 19) and (words.mix >= 0).all()
    torch.testing.assert_close(words.mix.sum(1), torch.ones(4))
    cosines = torch.nn.functional.cosine_similarity(words.text[1][None], own)
    torch.testing.assert_close(words.mix[1], (cosines / open_vocabulary.TEMPERATURE).softmax(0))
    assert words.mix[1].argmax() == cosines.argmax()


@torch.no_grad()
def test_words_are_exact_inside_autocast(tiny_model):
    exact = open_vocabulary.words(tiny_model, "fused", NAMES)
    with torch.autocast("cpu", torch.bfloat16):
        found = open_vocabulary.words(tiny_model, "fused", NAMES)
    assert torch.equal(found.text, exact.text) and torch.equal(found.mix, exact.mix)


@torch.no_grad()
def test_temperature_runs_from_the_closest_name_to_the_mean(tiny_model):
    low, high = (open_vocabulary.words(tiny_model, "fused", NAMES, t).mix[1] for t in (1e-6, 1e6))
    assert low.max() == pytest.approx(1) and torch.allclose(high, torch.full((19,), 1 / 19), atol=1e-5)


def test_a_score_is_the_mask_times_the_chance_to_be_something():
    classes, masks = [torch.randn(1, 3, 20)], [torch.randn(1, 3, 4, 5)]
    scores = MFuserOutput(classes, masks, None, None, None, [], named=True).semantic()
    something = 1 - classes[0].softmax(-1)[..., -1]
    torch.testing.assert_close(scores, masks[0].sigmoid() * something[..., None, None])


# -- masks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("windows", ["single", "sliding"])
def test_the_trained_list_is_bit_identical(segmenter, tiny_model, street, windows: str):
    plain = segmenter.analyse(street, windows)
    for classes in (list(CLASSES), [f" {name.title()} " for name in CLASSES]):
        asked = segmenter.analyse(street, windows, classes=classes)
        built = Segmenter(tiny_model, precision="float32", classes=classes).analyse(street, windows)
        for other in (asked, built):
            assert other.classes == CLASSES and other.trained_classes
            for stream in STREAMS:
                assert np.array_equal(other.masks[stream], plain.masks[stream])
                assert np.array_equal(other.confidence[stream], plain.confidence[stream])


@pytest.mark.parametrize("windows", ["single", "sliding"])
def test_masks_are_of_the_list_that_was_given(segmenter, street, windows: str):
    analysis = segmenter.analyse(street, windows, classes=NAMES)
    assert analysis.classes == NAMES and not analysis.trained_classes and analysis.palette.shape == (4, 3)
    for stream in STREAMS:
        assert analysis.masks[stream].shape == (64, 96) and analysis.masks[stream].max() < 4
        assert set(analysis.shares(stream)) <= set(NAMES)
        confidence = analysis.confidence[stream]
        assert 1 / 4 - 1e-5 <= confidence.min() and confidence.max() <= 1 + 1e-6
    assert analysis.text().shape == analysis.text(before=True).shape == (4, 48)


@torch.no_grad()
def test_scores_are_between_0_and_1(tiny_model, pixels):
    scores = tiny_model(pixels, words=open_vocabulary.words(tiny_model, "fused", NAMES)).semantic()
    assert scores.shape == (2, 4, 16, 24) and scores.min() >= 0 and scores.max() <= 1
    assert scores.std() > 0.01


def test_encoders_run_once_for_several_lists(tiny_model, street, monkeypatch):
    segmenter, runs = Segmenter(tiny_model, precision="float32"), []
    encode_pixels = segmenter._encode_pixels
    monkeypatch.setattr(segmenter, "_encode_pixels", lambda *a: runs.append(1) or encode_pixels(*a))
    segmenter.remember = 10**8
    first = segmenter.analyse(street)
    own, again = segmenter.analyse(street, classes=NAMES), segmenter.analyse(street)
    assert len(runs) == 1 and first.ran["encoders_ran"] == "now" and own.ran["encoders_ran"] == "earlier"
    fresh = Segmenter(tiny_model, precision="float32").analyse(street, classes=NAMES)
    for stream in STREAMS:
        assert np.array_equal(again.masks[stream], first.masks[stream])
        assert np.array_equal(own.masks[stream], fresh.masks[stream])
    segmenter.analyse(street[:, ::-1].copy(), classes=NAMES)
    segmenter.remember = 1  # no room: nothing is kept
    segmenter.analyse(street)
    assert len(runs) == 2 and not len(segmenter._cache)


@pytest.fixture(scope="module")
def photographs() -> list[Path]:
    folder = Path(mfuser.__file__).resolve().parents[2] / "shared" / "data" / "camvid" / "val" / "images"
    if not folder.is_dir():
        pytest.skip("no CamVid photographs beside this checkout")
    return sorted(folder.glob("*.jpg"))


@pytest.fixture(scope="module")
def nano() -> Segmenter:
    segmenter = mfuser.load("nano", device="cpu", precision="float32")
    segmenter.remember = 10**9
    return segmenter


def iou(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    return sum((a & b).sum() for a, b in pairs) / sum((a | b).sum() for a, b in pairs)


def test_nano_finds_cars_by_another_name(nano, photographs):
    plain = nano.analyse(photographs[3]).masks["fused"] == CLASSES.index("car")
    names = ["automobile" if name == "car" else name for name in CLASSES]
    found = nano.analyse(photographs[3], classes=names).masks["fused"] == CLASSES.index("car")
    assert plain.mean() > 0.02 and iou([(plain, found)]) > 0.9


SYNONYMS = {"automobile": "car", "motor car": "car", "street": "road", "trees": "vegetation", "tree": "vegetation",
            "house": "building", "clouds": "sky", "pedestrian": "person", "pavement": "sidewalk"}  # fmt: skip
SIX = {"road": "road", "sky": "sky", "tree": "vegetation", "house": "building", "automobile": "car", "person": "person"}


@pytest.mark.slow
@pytest.mark.timeout(1200)
@torch.inference_mode()
def test_measure_how_well_other_names_find_what_the_trained_ones_find(nano, photographs):
    """Prints the IoU with the trained name's mask, one name changed, for several temperatures; then of a short list."""
    model, found = nano.model, {}
    pixels = [nano.to_pixels(images.load(p), (480, 640)) for p in photographs[::30]]
    features = [model.features(model.embed(x)) for x in pixels]
    own = [model.decode(f, "fused").semantic().argmax(1) for f in features]
    for temperature in (0.001, 0.003, 0.01, 0.03, 0.1):
        for name, trained in SYNONYMS.items():
            names, k = [name if c == trained else c for c in CLASSES], CLASSES.index(trained)
            words = open_vocabulary.words(model, "fused", names, temperature)
            masks = [model.decode(f, "fused", words).semantic().argmax(1) for f in features]
            pairs = [((a == k).numpy(), (b == k).numpy()) for a, b in zip(own, masks, strict=True)]
            found[temperature, name] = 100 * iou(pairs)
        row = {name: float(found[temperature, name]) for name in SYNONYMS}
        print(f"\n{temperature}: mean {np.mean(list(row.values())):.1f}", {n: round(v, 1) for n, v in row.items()})
    words = open_vocabulary.words(model, "fused", list(SIX))
    masks = [model.decode(f, "fused", words).semantic().argmax(1) for f in features]
    for i, (name, trained) in enumerate(SIX.items()):
        pairs = [((a == CLASSES.index(trained)).numpy(), (b == i).numpy()) for a, b in zip(own, masks, strict=True)]
        print(f"of six: {name} {100 * iou(pairs):.1f}")
    assert found[open_vocabulary.TEMPERATURE, "automobile"] > 85
