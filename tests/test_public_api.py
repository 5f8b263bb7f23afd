"""Names that others rely on, and what importing them must not do."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import mfuser

ROOT = Path(mfuser.__file__).resolve().parent.parent

# Refuses connections before anything is imported, imports modules one by one, and reports what each one brought.
GUARD = """
import importlib, json, socket, sys
def refuse(*args, **kwargs):
    raise AssertionError("a connection was opened")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
sys.path.insert(0, {root!r})
brought = {{}}
for name in {names!r}:
    module, _, attribute = name.partition(":")
    imported = importlib.import_module(module)
    if attribute:
        getattr(imported, attribute)
    brought[name] = sorted({{"gradio", "train", "torch", "timm", "open_clip"}} & set(sys.modules))
if "torch" in sys.modules:
    assert not sys.modules["torch"].cuda.is_initialized(), "a device was opened"
print(json.dumps(brought), file=sys.stderr)
"""


def imported(*names: str) -> dict[str, list[str]]:
    """Packages of interest in memory after importing each of some modules ("module" or "module:attribute")."""
    code = GUARD.format(root=str(ROOT), names=names)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "" and len(done.stderr.splitlines()) == 1, "importing prints nothing"
    return json.loads(done.stderr)


def test_importing_everything_is_silent_and_brings_neither_page_nor_training():
    brought = imported(*(f"mfuser:{name}" for name in mfuser.__all__))
    assert "torch" in brought["mfuser:load"], "the check would be empty"
    assert all(not {"gradio", "train"} & set(packages) for packages in brought.values())


def test_modules_without_a_model_do_not_load_torch():
    names = ["mfuser", "mfuser.cityscapes", "mfuser.presets", "mfuser.cli", "mfuser.images", "mfuser.weather"]
    names += ["mfuser.pictures.visualize", "mfuser.pictures.charts", "mfuser.inference.analysis"]
    assert imported(*names) == dict.fromkeys(names, [])


def test_no_module_outside_the_page_names_gradio_or_train():
    for path in (ROOT / "mfuser").rglob("*.py"):
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        imports = [line for line in lines if line.startswith(("import ", "from "))]
        assert not [line for line in imports if line.split()[1].split(".")[0] == "train"], path
        if "demo" not in path.relative_to(ROOT / "mfuser").parts:
            assert not [line for line in imports if line.split()[1].split(".")[0] == "gradio"], path


def test_promised_names():
    from mfuser.inference.analysis import Analysis

    assert set(mfuser.__all__) == {"MFuser", "Segmenter", "load", "presets", "weather"}
    assert list(inspect.signature(mfuser.load).parameters) == ["preset", "device", "precision", "weights", "classes"]
    assert list(inspect.signature(mfuser.Segmenter.analyse).parameters)[:4] == [
        "self",
        "image",
        "windows",
        "resolution",
    ]
    assert list(inspect.signature(mfuser.weather.apply).parameters) == ["image", "condition", "severity", "seed"]
    promised = {"masks", "confidence", "ran"} | {"shares", "pca", "similarity", "offsets", "layer", "text"}
    assert promised <= set(Analysis.__dataclass_fields__) | set(vars(Analysis))
    assert callable(mfuser.presets.available) and callable(mfuser.MFuser.from_preset)


def test_selective_scan_signature():
    from mfuser.fusion.selective_scan import selective_scan, selective_scan_reference

    names = ["u", "delta", "A", "B", "C", "D", "delta_bias", "delta_softplus"]
    assert list(inspect.signature(selective_scan).parameters) == [*names, "kernel"]
    assert list(inspect.signature(selective_scan_reference).parameters) == names


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mfuser.nothing
