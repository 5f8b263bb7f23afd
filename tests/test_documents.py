"""What the documents name is there: files, links, headings, commands and their options; and they stay short."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shlex
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import tyro

from mfuser.cli import build_parser
from train.__main__ import COMMANDS
from train.__main__ import main as train

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part == "runs" for part in path.relative_to(ROOT).parts)
)
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
LONGEST = {"README.md": 12_000, "train/RESULTS.md": 15_000}  # bytes
FOLDERS = ("mfuser", "train", "tests", "assets")
OF_DATA = re.compile(r"train/(images|labels)")  # folders of a user's data set, not ours
ENDS = {"|", ";", "&&", ">", "&"}  # what ends a command's arguments
VARIABLES = {"$STREAM": "fused", "$DATA": ""}  # of the loops in documents


def commands_of(text: str) -> list[tuple[list[str], bool]]:
    """Words after `-m` of every command, and whether it stands alone on its line: then it is meant to be run."""
    text, found = re.sub(r"\\\n\s*", " ", text), []  # continued lines
    for line in text.splitlines():
        for start in re.finditer(r"(?:python[\d.]*|-per-node \d+) -m (?=(?:mfuser|train)\b)", line):
            rest = re.split(r"`|\s#|\s{3,}", line[start.end() :])[0]
            for name, value in VARIABLES.items():
                rest = rest.replace(name, value)
            try:
                words = shlex.split(rest)
            except ValueError:  # a sentence with an apostrophe
                words = rest.split()
            words = words[: next((i for i, word in enumerate(words) if word in ENDS), None)]
            alone = "`" not in line and re.match(r"\s*(\S*python|torchrun)", line) is not None
            found.append((words, alone and "--help" not in words))
    return found


def cases(program: str) -> list[tuple[str, list[str], bool]]:
    """(document, words after the program, meant to be run) of each command, each once."""
    seen: dict[tuple[str, ...], tuple[str, bool]] = {}
    for name, path in zip(NAMES, DOCUMENTS, strict=True):
        for words, alone in commands_of(path.read_text(encoding="utf-8")):
            if words[0] == program and len(words) > 1 and words[1] not in ("COMMAND", "--help"):
                key = tuple(words[1:])
                seen[key] = (name, alone or seen.get(key, ("", False))[1])
    return [(name, list(words), alone) for words, (name, alone) in seen.items()]


class Parsed(Exception):
    """A command's arguments are read, and nothing runs."""


def stop_after(read: Callable) -> Callable:
    """A reader of arguments that ends with Parsed; it exits, or raises ValueError, where they do not parse."""

    def stop(*args, **kwargs):
        read(*args, **kwargs)
        raise Parsed

    return stop


@cache
def options_of(command: str) -> frozenset[str]:
    """Long options that `python -m train COMMAND --help` lists."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        train([command, "--help"])
    return frozenset(re.findall(r"--[a-z][a-z0-9-]*", text.getvalue()))


def slug(heading: str) -> str:
    """The anchor that a heading gets on GitHub."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")


def headings(path: Path) -> set[str]:
    """Anchors of a document."""
    outside = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    return {slug(title) for title in re.findall(r"^#+ (.*)$", outside, flags=re.M)}


def broken_links(path: Path) -> list[str]:
    """Relative links of a document that lead nowhere: no file, or no such heading in it."""
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file) if file else path
        if not target.exists() or (anchor and anchor not in headings(target)):
            broken.append(link)
    return broken


def missing_paths(text: str) -> list[str]:
    """Paths below the project's folders that a text names and that are not there."""
    named = re.findall(rf"(?<![\w/.:{{-])((?:{'|'.join(FOLDERS)})/[\w/.-]*[\w/])(?![\w{{*]|::)", text)
    return sorted({name for name in named if not (ROOT / name).exists() and not OF_DATA.match(name)})


@pytest.mark.parametrize("name", LONGEST)
def test_short_enough(name: str):
    assert (ROOT / name).stat().st_size <= LONGEST[name]


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str):
    assert broken_links(ROOT / name) == []


@pytest.mark.parametrize("name", NAMES)
def test_paths_exist(name: str):
    assert missing_paths((ROOT / name).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(("name", "words", "alone"), cases("mfuser"))
def test_commands_of_mfuser_parse(name: str, words: list[str], alone: bool):
    if alone:
        build_parser().parse_args(words)  # exits, saying why, where it does not parse
        return
    with pytest.raises(SystemExit) as end:  # a sentence names it without all that it needs
        build_parser().parse_args([words[0], "--help"])
    assert end.value.code == 0, name


@pytest.mark.parametrize(("name", "words", "alone"), cases("train"))
def test_commands_of_train_parse(name: str, words: list[str], alone: bool, monkeypatch):
    command, options = words[0], {word.partition("=")[0] for word in words if word.startswith("--")}
    assert command in COMMANDS, name
    assert options - options_of(command) == set(), name
    if not alone:
        return
    for module, reader in ((tyro, "cli"), (argparse.ArgumentParser, "parse_args")):
        monkeypatch.setattr(module, reader, stop_after(getattr(module, reader)))
    with pytest.raises(Parsed):
        assert train(words) == 0, name


def test_the_tree_in_the_readme_has_every_folder():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    listed = {line.split()[0].rstrip("/") for line in text.splitlines() if re.match(r" {4}[\w./]+/? {2,}", line)}
    packages = {
        str(path.parent.relative_to(ROOT)) for path in ROOT.glob("*/*/__init__.py") if path.parts[-3] in FOLDERS
    }
    packages = {name for name in packages if not name.startswith("tests")} | {"app.py", "mfuser", "assets", "tests"}
    assert packages - listed == set()


def test_a_broken_document_is_found(tmp_path: Path):
    """The helpers above see what is wrong: a dead link, a dead anchor, a dead path, an option that is not there."""
    bad = tmp_path / "bad.md"
    bad.write_text(
        "# One two\n\n[a](none.md) [b](#one-two) [c](#three)\n\n    python -m train fit --no-such 1 \\\n  --lr 2\n"
    )
    assert broken_links(bad) == ["none.md", "#three"]
    assert missing_paths("`mfuser/exact.py`, mfuser/ops/exact.py and train/fit.py") == [
        "mfuser/exact.py",
        "train/fit.py",
    ]
    (((_, command, *words), alone),) = commands_of(bad.read_text())
    assert command == "fit" and alone
    assert {word for word in words if word.startswith("--")} - options_of("fit") == {"--no-such"}
