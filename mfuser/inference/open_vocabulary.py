"""Experimental: a class list of the user's own in front of decoders that were trained for another one.

A decoder keeps three things of its K trained classes: a position for each query, a position for each text that the
pixels look at, and the columns of its class head. Another name gets a mix of the trained positions, weighted by a
softmax over the cosines of its text with the trained ones; and since no column is its own, its score is its mask times
the chance that its query is no "no object" (`MFuserOutput.semantic`). A name that was trained keeps its very text and
positions. With exactly the trained list nothing of this runs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mfuser.decoder.head import Words
from mfuser.loading import MFuser

MOST, CHARACTERS = 40, 60
# Of the softmax: sharp, so that it is a mix only between names almost equally close. Flatter mixes lost most of nano's
# classes by other names when its text tower was a smaller one; with this one 0.001 to 0.03 find the same:
# `python -m pytest tests/test_open_vocabulary.py -m slow -s` measures it.
TEMPERATURE = 0.01


def split(text: str) -> list[str]:
    """Names separated by commas, without the empty ones."""
    return [name for name in map(str.strip, text.replace("\n", ",").split(",")) if name]


def check(classes: Sequence[str], trained: Sequence[str]) -> tuple[str, ...] | None:
    """A class list in order, white space tidied and trained names as they were trained; None for the trained list.

    Raises ValueError for fewer than two names or more than 40, an empty or long name, and one that is there twice.
    """
    if isinstance(classes, str):
        raise ValueError(f"Classes are a list of names, not one text: pass {split(classes)}.")
    known = {name.casefold(): name for name in trained}
    names = [" ".join(str(name).split()) for name in classes]
    names = [known.get(name.casefold(), name) for name in names]
    if len(names) < 2:
        raise ValueError("A class list needs two names at least, for example road, car, sky: with one all is the same.")
    if len(names) > MOST:
        raise ValueError(f"The class list has {len(names)} names: {MOST} are the most.")
    for name in names:
        if not name:
            raise ValueError("The class list has an empty name: leave it out.")
        if len(name) > CHARACTERS:
            raise ValueError(f"The class name {name[:20]!r}... has {len(name)} characters: {CHARACTERS} are the most.")
    seen: set[str] = set()
    for name in names:
        if name.casefold() in seen:
            raise ValueError(f"The class {name!r} is in the list twice: leave one out.")
        seen.add(name.casefold())
    return None if tuple(names) == tuple(trained) else tuple(names)


def words(model: MFuser, stream: str, classes: Sequence[str], temperature: float = TEMPERATURE) -> Words:
    """Texts and mixes of names for the decoder of a stream, float32 also inside autocast.

    Raises ValueError for a name that the text tower cannot read to its end.
    """
    trained, own = list(model.preset.classes), model.class_text(stream)  # (K, C_t)
    text = own.new_empty(len(classes), own.shape[1])
    mix = own.new_zeros(len(classes), len(trained))
    new = [i for i, name in enumerate(classes) if name not in trained]
    for i, name in enumerate(classes):
        if name in trained:
            text[i], mix[i, trained.index(name)] = own[trained.index(name)], 1
    if new:
        prompts = model.heads[stream].prompts
        ids = token_ids(model, [classes[i] for i in new], prompts.shape[1]).to(own.device)
        with torch.autocast(own.device.type, enabled=False):  # the temperature magnifies rounding a hundred times
            found = model.vlm.text(ids, prompts).to(own.dtype)
            cosines = F.normalize(found.float(), dim=-1) @ F.normalize(own.float(), dim=-1).T
        text[new], mix[new] = found, (cosines / temperature).softmax(-1).to(mix.dtype)
    return Words(text, mix)


def token_ids(model: MFuser, names: Sequence[str], prompts: int) -> Tensor:
    """(n, T) int64: as long as the trained names are tokenized, or, where a name is longer, as the tower reads."""
    length = model.preset.decoder.class_tokens
    if not all(model.vlm.fits(name, length) for name in names):
        length = model.vlm.text.positions - prompts
    for name in names:
        if not model.vlm.fits(name, length):
            raise ValueError(f"The class name {name!r} is longer than the text tower reads: use fewer words.")
    return model.vlm.tokenize(list(names), length)
