"""What the command lines of several rooms share."""

from __future__ import annotations

from collections.abc import Sequence

import tyro

Append = tyro.conf.UseAppendAction


def joined(argv: Sequence[str], option: str) -> list[str]:
    """Merge the repetitions of an option that takes many values.

    Args:
        argv: a command line.
        option: its name with the dashes, "--data".

    Returns:
        The command line with the option once, at the end, with the values of all its repetitions.
    """
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
