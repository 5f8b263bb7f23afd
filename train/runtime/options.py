"""What the command lines of several rooms share."""

from __future__ import annotations

from collections.abc import Sequence

import tyro

Append = tyro.conf.UseAppendAction


def joined(argv: Sequence[str], option: str) -> list[str]:
    """Arguments in which an option of many values stands once, with all that it was given when it is repeated."""
    values: list[str] = []
    rest: list[str] = []
    own = False
    for word in argv:
        if word.startswith("-"):
            name, _, value = word.partition("=")
            own = name == option
            (values if own else rest).extend(([value] if value else []) if own else [word])
        else:
            (values if own else rest).append(word)
    return [*rest, option, *values] if values else rest
