"""A visitor's own label map for the picture on the stage: recognised, mapped to the 19 classes, scored."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from mfuser import images
from mfuser.cityscapes import CLASSES, IGNORE, PALETTE, label_id_table
from mfuser.inference.analysis import Analysis
from mfuser.stage.bundle import class_iou, pack

KINDS = ("trainIds", "labelIds", "colours")
AUTO = "auto"
LAST_LABEL_ID = 33
# Colours of the Cityscapes classes that are not among the 19 (Cordts et al. 2016): black stands for several of them.
# Pole group and licence plate are left out: their colours are those of pole and car.
VOID_COLOURS = (
    (0, 0, 0), (111, 74, 0), (81, 0, 81), (250, 170, 160), (230, 150, 140), (180, 165, 180), (150, 100, 100),
    (150, 120, 90), (0, 0, 90), (0, 0, 110),
)  # fmt: skip


class TruthError(ValueError):
    """A label map that cannot be used; the message is one sentence for the person who sent it."""


@dataclass(frozen=True)
class Truth:
    """A label map that was understood.

    Attributes:
        labels: (H, W) uint8 trainIds at the size of the analysis, 255 where unlabelled.
        kind: one of `KINDS`, what its values were.
        detected: False where a person said the kind.
    """

    labels: np.ndarray
    kind: str
    detected: bool

    @property
    def sentence(self) -> str:
        """What it was read as, and how much of it counts."""
        known = self.labels[self.labels != IGNORE]
        how = "Detected" if self.detected else "Read as you said"
        share = f"{100 * known.size / self.labels.size:.1f} % of the pixels are labelled"
        return f"{how}: Cityscapes {self.kind}, {len(np.unique(known))} of the 19 classes, {share}."


def read(data: bytes, analysis: Analysis, original: tuple[int, int], kind: str = AUTO) -> Truth:
    """Decode a label map and map its values to trainIds.

    Args:
        data: a PNG, lossless: grey or paletted ids, or colours.
        analysis: of the picture that it labels, with the trained classes.
        original: (H, W) of the picture as it was sent; the label map has this size, or that of the analysis.
        kind: one of `KINDS`, or "auto" to detect it.

    Returns:
        The label map at the size of the analysis, reduced without mixing classes.

    Raises:
        TruthError: no PNG, another size, values of no known kind, or an analysis with other classes.
        images.ImageError: a damaged file.
    """
    if kind != AUTO and kind not in KINDS:
        raise TruthError(f"Unknown kind of labels {kind[:20]!r}: choose {', '.join((AUTO, *KINDS))}.")
    if not analysis.trained_classes:
        raise TruthError(
            "Labels are in the 19 classes of Cityscapes, and this picture has your own: choose the 19 in the settings."
        )
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        raise TruthError("Labels must be a PNG: other formats such as JPEG change the values.")
    _check_size(data, original, analysis.size)
    colours = images.load(data)  # checks the file, and says what is wrong with it
    if colours.shape[:2] not in (original, analysis.size):
        raise TruthError("The label map is turned by its EXIF data: save it without them.")
    labels, found = _mapped(_reduced(colours, analysis.size), _ids(data, analysis.size), kind)
    if (labels == IGNORE).all():
        raise TruthError("The label map has no pixel of the 19 classes: nothing can be compared.")
    return Truth(labels, found, kind == AUTO)


def scores(analysis: Analysis, labels: np.ndarray) -> dict[str, list[float | None]]:
    """stream -> IoU of each class in 0..1, None for a class that is in neither. labels: (H, W) uint8 trainIds."""
    return {s: class_iou(analysis.masks[s], labels, len(analysis.classes)) for s in analysis.streams}


def encode(analysis: Analysis, truth: Truth) -> bytes:
    """The label map and its scores as a file of the stage's layout: the part "truth"; "iou" and "sentence"."""
    header = {"version": 1, "iou": scores(analysis, truth.labels), "kind": truth.kind, "sentence": truth.sentence}
    return pack(header, {"truth": truth.labels})


def _check_size(data: bytes, *sizes: tuple[int, int]) -> None:
    """Judge a PNG by its header, before anything is decoded."""
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    if (height, width) not in sizes:
        wanted = " or ".join(dict.fromkeys(f"{w} x {h}" for h, w in sizes))
        raise TruthError(f"The label map is {width} x {height} pixels, its picture {wanted}: they must be of one size.")


def _reduced(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The nearest pixel for each of (H, W): labels are never mixed."""
    rows, columns = (
        ((np.arange(to) + 0.5) * side / to).astype(int) for to, side in zip(size, array.shape[:2], strict=True)
    )
    return array if array.shape[:2] == size else array[rows[:, None], columns]


def _ids(data: bytes, size: tuple[int, int]) -> np.ndarray | None:
    """(H, W) values of a grey or paletted PNG as they are stored; None where it has colours."""
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        if image.mode not in ("L", "P", "1") and not image.mode.startswith("I"):
            return None
        return _reduced(np.asarray(image), size).astype(np.int64)


def _mapped(colours: np.ndarray, ids: np.ndarray | None, kind: str) -> tuple[np.ndarray, str]:
    """(labels, kind). Colours come first: a palette of other order makes the ids of a paletted file meaningless."""
    if kind in (AUTO, "colours"):
        labels, strange = _from_colours(colours)
        grey = ids is not None and (colours == colours[..., :1]).all()
        if strange is None and (kind == "colours" or not grey):
            return labels, "colours"
        if kind == "colours" or (ids is None and not (colours == colours[..., :1]).all()):
            raise TruthError(
                f"The label map has the colour {strange}, which is none of Cityscapes: use its colours, or ids."
            )
    if ids is None:
        ids = colours[..., 0].astype(np.int64)  # ids that were saved as red = green = blue
    values = np.unique(ids)
    values = values[(values != IGNORE) & (values != -1)]
    highest = int(values.max(initial=0))
    found = kind if kind != AUTO else "trainIds" if highest < len(CLASSES) else "labelIds"
    last = len(CLASSES) - 1 if found == "trainIds" else LAST_LABEL_ID
    if highest > last or int(values.min(initial=0)) < 0:
        raise TruthError(
            f"The label map has the value {highest}: trainIds end at {len(CLASSES) - 1}, labelIds at {LAST_LABEL_ID} "
            f"(255 is unlabelled)."
        )
    table = label_id_table() if found == "labelIds" else np.arange(256, dtype=np.uint8)
    return table[np.where(ids < 0, IGNORE, ids)], found


def _from_colours(colours: np.ndarray) -> tuple[np.ndarray, tuple[int, ...] | None]:
    """Labels of a picture in the colours of Cityscapes, and a colour that is none of them where there is one."""
    packed = (colours.astype(np.int32) @ np.array([65536, 256, 1], np.int32)).ravel()
    found, places = np.unique(packed, return_inverse=True)
    known = {_packed(colour): k for k, colour in enumerate(PALETTE.tolist())}
    known |= {_packed(colour): IGNORE for colour in VOID_COLOURS}
    strange = next((int(v) for v in found if int(v) not in known), None)
    table = np.array([known.get(int(v), IGNORE) for v in found], np.uint8)
    labels = table[places].reshape(colours.shape[:2])
    return labels, None if strange is None else (strange >> 16, strange >> 8 & 255, strange & 255)


def _packed(colour: list[int] | tuple[int, ...]) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]
