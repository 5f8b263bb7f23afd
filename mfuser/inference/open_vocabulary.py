"""Experimental: a class list of the user's own, for decoders that were trained for another one.

A decoder stores three things for each of its K trained classes: a position of the query, a position of the text that
the pixels attend to, and a column of the class head.
A new name gets a mix of the trained positions. The weights are a softmax over the cosines of its text with the texts
of the trained names.
No column of the class head belongs to a new name. Its score is its mask times the probability that its query is not
"no object" (`MFuserOutput.semantic`).
A name that was trained keeps its own text and positions. With exactly the trained list nothing of this runs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mfuser.decoder.head import Words
from mfuser.loading import MFuser

MOST, CHARACTERS = 40, 60  # names in a list, and characters in a name
# Of the softmax. It is low, so that only names that are almost equally close are mixed. Higher values lost most of
# nano's renamed classes when its text tower was a smaller one. With the present tower 0.001 to 0.03 do equally well:
# `python -m pytest tests/inference/test_open_vocabulary.py -m slow -s` measures it.
TEMPERATURE = 0.01


def split(text: str) -> list[str]:
    """Names separated by commas, without the empty ones."""
    return [name for name in map(str.strip, text.replace("\n", ",").split(",")) if name]


def check(classes: Sequence[str], trained: Sequence[str]) -> tuple[str, ...] | None:
    """Tidy and check a class list.

    Args:
        classes: names in the order of their indices.
        trained: names that the decoder was trained for.

    Returns:
        The names, with white space tidied and trained names spelled as they were trained. None for the trained list.

    Raises:
        ValueError: fewer than 2 names or more than 40, an empty or long name, or a name that is there twice.
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
    """Texts and mixing weights of class names for the decoder of one stream, in float32 also inside autocast.

    Args:
        model: the network.
        stream: a stream with a decoder.
        classes: N names, as `check` returns them.
        temperature: of the softmax over the cosines with the trained names.

    Raises:
        ValueError: a name is longer than the text tower reads.
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
    """Token ids of class names.

    Args:
        model: the network whose text tower will read them.
        names: n names.
        prompts: number of prompt tokens, which take up positions of the text tower.

    Returns:
        (n, T) int64. T is the length of the trained names, or all that the tower reads where a name is longer.

    Raises:
        ValueError: a name is longer than the text tower reads.
    """
    length = model.preset.decoder.class_tokens
    if not all(model.vlm.fits(name, length) for name in names):
        length = model.vlm.text.positions - prompts
    for name in names:
        if not model.vlm.fits(name, length):
            raise ValueError(f"The class name {name!r} is longer than the text tower reads: use fewer words.")
    return model.vlm.tokenize(list(names), length)
