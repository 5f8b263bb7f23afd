"""Who may import whom, and what lies where: the arrows that must never be, in one place.

Imports inside functions count as well, so that none of them can hide a circle. Imports under `TYPE_CHECKING` do not
count, and may therefore serve annotations only.
"""

from __future__ import annotations

import ast
import graphlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("mfuser", "train")
NETWORK = ("mfuser.model", "mfuser.encoders", "mfuser.fusion", "mfuser.decoder")
# Importer -> what it never reaches, not by way of others either. A package stands for all of its modules.
NEVER: dict[str, tuple[str, ...]] = {
    "mfuser": ("train",),
    **dict.fromkeys(NETWORK, ("mfuser.weights", "mfuser.inference", "mfuser.demo", "mfuser.cli")),
    **dict.fromkeys(
        ("mfuser.cityscapes", "mfuser.images", "mfuser.pixels", "mfuser.pictures", "mfuser.weather"),
        (*NETWORK, "mfuser.loading", "mfuser.weights", "mfuser.inference", "mfuser.demo", "mfuser.cli"),
    ),
    "mfuser.weights": ("mfuser.inference", "mfuser.demo", "mfuser.cli"),
    "mfuser.inference": ("mfuser.demo", "mfuser.cli"),
    "train.fit": ("train.score", "train.adapt", "train.measure", "train.ablate", "train.reproduce"),
    "train.metrics": ("train.fit", "train.score", "train.adapt", "train.measure", "train.ablate", "train.reproduce"),
}
# Importer -> all that it may reach in its own package.
ONLY: dict[str, tuple[str, ...]] = {
    "mfuser.config": ("mfuser.cityscapes",),
    "train.data": ("train.runtime",),
}
GRADIO = "mfuser.demo"  # the one package that may import gradio; app.py lies outside of all packages
MOST_FILES, MOST_LINES = 14, 200


def build(*packages: str) -> grimp.ImportGraph:
    """All imports of packages, those inside functions included and those under `TYPE_CHECKING` left out."""
    return grimp.build_graph(
        *packages, include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None
    )


# -- rules over the graph of imports ----------------------------------------------------------------------------------


def forbidden_arrows(graph: grimp.ImportGraph) -> Iterator[str]:
    """Chains of imports that `NEVER` or `ONLY` rules out."""
    for importer, targets in NEVER.items():
        for target in targets:
            if {importer, target} <= graph.modules:
                for chain in graph.find_shortest_chains(importer, target):
                    yield " -> ".join(chain)
    for importer, allowed in ONLY.items():
        if importer not in graph.modules:
            continue
        package = importer.partition(".")[0]
        for found in graph.find_upstream_modules(importer, as_package=True):
            inside = any(found == name or found.startswith(name + ".") for name in (importer, *allowed))
            if found.startswith(package + ".") and not inside:
                yield f"{importer} -> {found}"


def gradio_outside_the_page(graph: grimp.ImportGraph) -> Iterator[str]:
    """Modules besides `GRADIO` that import gradio."""
    for library in {"gradio", "gradio_client"} & graph.modules:
        for module in graph.find_modules_that_directly_import(library):
            if module != GRADIO and not module.startswith(GRADIO + "."):
                yield f"{module} -> {library}"


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """A circle in a graph {importer: imported}, or an empty list."""
    try:
        graphlib.TopologicalSorter(arrows).prepare()
    except graphlib.CycleError as error:
        return [" <- ".join(error.args[1])]
    return []


def circles_of_modules(graph: grimp.ImportGraph) -> list[str]:
    """A circle between modules."""
    return circle({module: graph.find_modules_directly_imported_by(module) for module in graph.modules})


def circles_of_rooms(graph: grimp.ImportGraph) -> list[str]:
    """A circle between rooms: the folders of a package, and the files beside them."""

    def room(module: str) -> str:
        return ".".join(module.split(".")[:2])

    arrows: dict[str, set[str]] = {}
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            if room(module) != room(imported):
                arrows.setdefault(room(module), set()).add(room(imported))
    return circle(arrows)


# -- rules over the files ---------------------------------------------------------------------------------------------


def sources(root: Path) -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((root / package).rglob("*.py"))


def misplaced_files(root: Path) -> Iterator[str]:
    """Files on the top level of a package that should lie in a room, and a `model.py` that is too long."""
    for path in sorted((root / "train").glob("*.py")):
        if path.name not in ("__init__.py", "__main__.py"):
            yield f"train/{path.name} lies on the top level of train"
    files = list((root / "mfuser").glob("*.py"))
    if len(files) > MOST_FILES:
        yield f"mfuser has {len(files)} files on its top level, {MOST_FILES} are the most"
    lines = len((root / "mfuser" / "model.py").read_text().splitlines())
    if lines > MOST_LINES:
        yield f"mfuser/model.py has {lines} lines, {MOST_LINES} are the most"


def folders_without_purpose(root: Path) -> Iterator[str]:
    """Folders of modules whose `__init__.py` is missing or has no docstring."""
    for folder in sorted({path.parent for path in sources(root)}):
        init = folder / "__init__.py"
        if not init.is_file() or not ast.get_docstring(ast.parse(init.read_text())):
            yield f"{folder.relative_to(root)} does not say in __init__.py what it is for"


def used_at_run_time(root: Path) -> Iterator[str]:
    """Names imported under `TYPE_CHECKING` alone that code outside of annotations reads."""
    for path in sources(root):
        tree = ast.parse(path.read_text())
        typing_only = set(imported_for_typing(tree))
        for name in names_read(tree) if typing_only else ():
            if name in typing_only:
                yield f"{path.relative_to(root)} reads {name}, which is imported under TYPE_CHECKING"


def imported_for_typing(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for inner in node.body:
                if isinstance(inner, (ast.Import, ast.ImportFrom)):
                    yield from ((alias.asname or alias.name).partition(".")[0] for alias in inner.names)


def names_read(node: ast.AST) -> Iterator[str]:
    """Names that run, which those of annotations do not under `from __future__ import annotations`."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Load):
                yield child.id
            if isinstance(child, ast.AST):
                yield from names_read(child)


GRAPH_RULES = [forbidden_arrows, gradio_outside_the_page, circles_of_modules, circles_of_rooms]
FILE_RULES = [misplaced_files, folders_without_purpose, used_at_run_time]


# -- the house as it is -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return build(*PACKAGES)


@pytest.mark.parametrize("rule", GRAPH_RULES, ids=lambda rule: rule.__name__)
def test_imports(graph, rule: Callable):
    assert not list(rule(graph))


@pytest.mark.parametrize("rule", FILE_RULES, ids=lambda rule: rule.__name__)
def test_files(rule: Callable):
    assert not list(rule(ROOT))


def test_every_name_in_the_rules_exists(graph):
    named = {*NEVER, *ONLY, GRADIO, "gradio"}.union(*NEVER.values(), *ONLY.values())
    assert named <= graph.modules, "a rule about a module that is gone guards nothing"


# -- every rule catches what it is there for --------------------------------------------------------------------------

PLANTED_IMPORTS = [
    (forbidden_arrows, ["mfuser.cli.info -> train.fit.loop"]),
    (forbidden_arrows, ["mfuser.model -> mfuser.weights.tensors"]),
    (forbidden_arrows, ["mfuser.decoder.head -> mfuser.helper", "mfuser.helper -> mfuser.inference.load"]),
    (forbidden_arrows, ["mfuser.encoders.vlm -> mfuser.demo.layout"]),
    (forbidden_arrows, ["mfuser.fusion.stack -> mfuser.cli.common"]),
    (forbidden_arrows, ["mfuser.weather.fog -> mfuser.model"]),
    (forbidden_arrows, ["train.fit.loop -> train.score.command"]),
    (forbidden_arrows, ["train.metrics.scoring -> train.fit.loop"]),
    (forbidden_arrows, ["mfuser.config -> mfuser.presets"]),
    (forbidden_arrows, ["train.data.sets -> train.metrics.scoring"]),
    (gradio_outside_the_page, ["mfuser.cli.info -> gradio"]),
    (gradio_outside_the_page, ["train.fit.board -> gradio_client"]),
    (circles_of_modules, ["mfuser.cli.info -> mfuser.cli.common", "mfuser.cli.common -> mfuser.cli.info"]),
    (circles_of_rooms, ["train.words.teach -> train.texts.a", "train.texts.b -> train.words.similarity_maps"]),
]


@pytest.mark.parametrize(("rule", "arrows"), PLANTED_IMPORTS, ids=lambda x: "; ".join(x) if isinstance(x, list) else "")
def test_a_planted_import_is_caught(rule: Callable, arrows: list[str]):
    graph = grimp.ImportGraph()
    for name in {*NEVER, *ONLY}.union(*NEVER.values(), *ONLY.values()):
        graph.add_module(name)
    allowed = [("mfuser.config", "mfuser.cityscapes"), ("train.data.sets", "train.runtime.files")]
    for importer, imported in [*allowed, ("mfuser.demo.layout", "gradio"), ("train.fit.loop", "mfuser.model")]:
        graph.add_import(importer=importer, imported=imported)
    assert not any(list(other(graph)) for other in GRAPH_RULES), "what is allowed passes"
    for arrow in arrows:
        importer, imported = arrow.split(" -> ")
        graph.add_import(importer=importer, imported=imported)
    assert list(rule(graph))


def test_imports_inside_functions_count_and_those_for_annotations_do_not(tmp_path, monkeypatch):
    folder = tmp_path / "planted"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "a.py").write_text("def run():\n    from planted import b\n")
    (folder / "b.py").write_text("import planted.a\n")
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from planted import c\n"
    (folder / "c.py").write_text("import planted.d\n")
    (folder / "d.py").write_text(typed)
    monkeypatch.syspath_prepend(tmp_path)
    (found,) = circles_of_modules(build("planted"))
    assert set(found.split(" <- ")) == {"planted.a", "planted.b"}


PLANTED_FILES = [
    (misplaced_files, "train/report.py", '"""A file."""\n'),
    (misplaced_files, "mfuser/one_more.py", '"""A file."""\n'),
    (misplaced_files, "mfuser/model.py", "x = 1\n" * (MOST_LINES + 1)),
    (folders_without_purpose, "mfuser/ops/__init__.py", ""),
    (folders_without_purpose, "train/room/loop.py", '"""A file of a folder without __init__.py."""\n'),
    (
        used_at_run_time,
        "mfuser/weights/folder.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from mfuser.loading import MFuser\nx = MFuser()\n",
    ),
]


@pytest.mark.parametrize(("rule", "name", "text"), PLANTED_FILES, ids=[name for _, name, _ in PLANTED_FILES])
def test_a_planted_file_is_caught(tmp_path, rule: Callable, name: str, text: str):
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for number in range(MOST_FILES - len(list((tmp_path / "mfuser").glob("*.py")))):
        (tmp_path / "mfuser" / f"filler{number}.py").write_text("")
    assert not list(rule(tmp_path))
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    assert list(rule(tmp_path))
