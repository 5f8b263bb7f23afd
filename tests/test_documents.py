"""What the documents name is there: files, links, headings, commands and their options; and they stay short."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

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
PIPES = {"|", ";", "&&", ">", "&"}  # what ends a command's arguments


def commands_of(text: str) -> list[list[str]]:
    """Words after `python` or `-m` of every command in code blocks, indented lines and backticks."""
    text = re.sub(r"\\\n\s*", " ", text)  # continued lines
    found = []
    for line in [*re.findall(r"`([^`\n]+)`", text), *text.splitlines()]:
        for start in re.finditer(r"(?:python[\d.]*|-per-node \d+) -m (?=(?:mfuser|train|pytest)\b)", line):
            rest = re.split(r"`|\s#|\s{3,}", line[start.end() :])[0]
            try:
                words = shlex.split(rest.split("$(")[0])
            except ValueError:  # a sentence with an apostrophe
                words = rest.split()
            found.append([w for w in words[: next((i for i, w in enumerate(words) if w in PIPES), None)] if w])
    return found


def cases(program: str) -> list[tuple[str, list[str]]]:
    """Each command of a program with the document that names it, each once."""
    seen = {}
    for name, path in zip(NAMES, DOCUMENTS, strict=True):
        for words in commands_of(path.read_text(encoding="utf-8")):
            if words and words[0] == program and len(words) > 1:
                seen.setdefault(tuple(words[1:]), name)
    return [(name, list(words)) for words, name in seen.items()]


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


@pytest.mark.parametrize(("name", "words"), cases("mfuser"))
def test_commands_of_mfuser_parse(name: str, words: list[str], capsys):
    if words in (["--help"], ["COMMAND", "--help"]):
        return
    if len(words) == 1:  # a command that a sentence names
        with pytest.raises(SystemExit) as end:
            build_parser().parse_args([*words, "--help"])
        assert end.value.code == 0, name
        return
    build_parser().parse_args(words)  # exits, saying why, where it does not parse


@pytest.mark.parametrize(("name", "words"), cases("train"))
def test_commands_of_train_exist_with_their_options(name: str, words: list[str]):
    command, options = words[0], {w.partition("=")[0] for w in words if w.startswith("--")}
    if command in ("COMMAND", "--help"):
        return
    assert command in COMMANDS, name
    assert options - options_of(command) == set(), name


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
    ((_, *words),) = commands_of(bad.read_text())
    assert {w for w in words if w.startswith("--")} - options_of("fit") == {"--no-such"}
