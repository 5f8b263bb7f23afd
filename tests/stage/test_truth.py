"""Labels of a visitor: whatever form they come in, the score is that of the trainIds; what is wrong is one sentence."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from mfuser import images
from mfuser.cityscapes import CLASSES, IGNORE, LABEL_IDS, PALETTE
from mfuser.stage import bundle, truth


@pytest.fixture(scope="module")
def labels(nano_analysis) -> np.ndarray:
    """The fused mask with an unlabelled strip and a wrong one."""
    found = nano_analysis.masks["fused"].copy()
    found[:20] = IGNORE
    found[-30:] = CLASSES.index("terrain")
    return found


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def paletted(values: np.ndarray, colours: np.ndarray) -> bytes:
    image = Image.fromarray(values, "P")
    image.putpalette(colours.astype(np.uint8).ravel().tolist())
    return png(image)


def as_label_ids(labels: np.ndarray) -> np.ndarray:
    return np.append(np.array(LABEL_IDS, np.uint8), np.zeros(256 - len(LABEL_IDS), np.uint8))[labels]


def as_colours(labels: np.ndarray) -> np.ndarray:
    return np.vstack([PALETTE, np.zeros((256 - len(PALETTE), 3), np.uint8)])[labels]


def forms(labels: np.ndarray) -> dict[str, tuple[bytes, str]]:
    """name -> (file, what it is to be read as)."""
    used, places = np.unique(labels, return_inverse=True)
    order = used[::-1]  # a palette as programs write it that count colours
    return {
        "trainIds": (images.encode(labels), "trainIds"),
        "labelIds": (images.encode(as_label_ids(labels)), "labelIds"),
        "colours": (images.encode(as_colours(labels)), "colours"),
        "colours with alpha": (png(Image.fromarray(as_colours(labels)).convert("RGBA")), "colours"),
        "16 bits": (png(Image.fromarray(labels.astype(np.uint16))), "trainIds"),
        "grey as RGB": (images.encode(np.repeat(as_label_ids(labels)[..., None], 3, -1)), "labelIds"),
        "palette of other colours": (paletted(labels, np.random.default_rng(0).integers(1, 99, (256, 3))), "trainIds"),
        "palette in another order": (
            paletted((len(used) - 1 - places).reshape(labels.shape).astype(np.uint8), as_colours(order)),
            "colours",
        ),
    }


FORMS = [
    "trainIds", "labelIds", "colours", "colours with alpha", "16 bits", "grey as RGB", "palette of other colours",
    "palette in another order",
]  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_labels(nano_analysis, labels, name):
    data, kind = forms(labels)[name]
    found = truth.read(data, nano_analysis, nano_analysis.size)
    assert found.kind == kind and kind in found.sentence
    np.testing.assert_array_equal(found.labels, labels)


def test_scores_are_those_of_the_trainids(nano_analysis, labels):
    found = truth.read(images.encode(as_label_ids(labels)), nano_analysis, nano_analysis.size)
    header, parts = bundle.decode(truth.encode(nano_analysis, found))
    np.testing.assert_array_equal(parts["truth"], labels)
    known, mask = labels != IGNORE, nano_analysis.masks["vlm"]
    for k in range(len(CLASSES)):
        both, either = ((known & op(mask == k, labels == k)).sum() for op in (np.logical_and, np.logical_or))
        assert header["iou"]["vlm"][k] == (pytest.approx(both / either) if either else None)


def test_a_kind_that_a_person_says_is_taken(nano_analysis, labels):
    few = np.where(labels == IGNORE, IGNORE, 7).astype(np.uint8)  # 7: a traffic sign, or as a labelId a road
    for kind, class_id in (("trainIds", 7), ("labelIds", 0)):
        found = truth.read(images.encode(few), nano_analysis, nano_analysis.size, kind)
        assert found.kind == kind and set(np.unique(found.labels)) == {class_id, IGNORE} and not found.detected


def test_labels_of_the_photograph_before_it_was_reduced_are_taken(nano_analysis, labels):
    original = tuple(2 * side for side in nano_analysis.size)
    large = labels.repeat(2, 0).repeat(2, 1)
    found = truth.read(images.encode(large), nano_analysis, original)
    np.testing.assert_array_equal(found.labels, labels)


def faults(labels: np.ndarray) -> dict[str, tuple[bytes, str]]:
    strange = as_colours(labels)
    strange[5, 5] = (1, 2, 3)
    return {
        "size": (images.encode(labels[:-1]), r"\d+ x \d+ pixels"),
        "value": (images.encode(np.where(labels == 0, 99, labels).astype(np.uint8)), "99"),
        "colour": (images.encode(strange), r"\(1, 2, 3\)"),
        "jpeg": (images.encode(as_colours(labels), ".jpg"), "PNG"),
        "damaged": (images.encode(labels)[:400], "damaged|not an image"),
        "nothing labelled": (images.encode(np.full_like(labels, IGNORE)), "no pixel"),
        "empty": (b"", "PNG"),
        "head alone": (b"\x89PNG\r\n\x1a\n", "0 x 0"),
    }


@pytest.mark.parametrize(
    "name", ["size", "value", "colour", "jpeg", "damaged", "nothing labelled", "empty", "head alone"]
)
def test_what_cannot_be_used_is_one_sentence(nano_analysis, labels, name):
    data, word = faults(labels)[name]
    with pytest.raises((truth.TruthError, images.ImageError), match=word):
        truth.read(data, nano_analysis, nano_analysis.size)


def test_a_huge_label_map_is_refused_before_it_is_decoded(nano_analysis, monkeypatch):
    monkeypatch.setattr(images, "load", lambda data: pytest.fail("the file was decoded"))
    data = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (60_000).to_bytes(4, "big") * 2
    with pytest.raises(truth.TruthError, match="60000 x 60000"):
        truth.read(data, nano_analysis, nano_analysis.size)


def test_own_classes_and_unknown_kinds_are_refused(nano_analysis, labels):
    own = dataclasses.replace(nano_analysis, classes=("road", "car"))
    with pytest.raises(truth.TruthError, match="19"):
        truth.read(images.encode(labels), own, own.size)
    with pytest.raises(truth.TruthError, match="labelIds"):
        truth.read(images.encode(labels), nano_analysis, nano_analysis.size, "voc")
