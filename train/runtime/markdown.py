"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def number_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text, and the others numbers."""
    lines = [list(head), ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table of records, padded so that it reads well as text too. None is an empty cell."""
    names = list(rows[0])
    lines = [[("" if row[n] is None else str(row[n])) for n in names] for row in rows]
    widths = [max(len(n), *(len(line[i]) for line in lines)) for i, n in enumerate(names)]
    out = [names, ["-" * w for w in widths], *lines]
    return "\n".join("| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in out)
