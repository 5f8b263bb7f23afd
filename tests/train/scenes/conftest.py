"""Scenes need no renderer to be described; what renders is skipped without one."""

from __future__ import annotations

import importlib.util

import pytest


@pytest.fixture
def blender() -> None:
    """Skips the test where Blender's module is not installed."""
    if not all(importlib.util.find_spec(name) for name in ("bpy", "OpenEXR")):
        pytest.skip("renders with Blender: install train/scenes/requirements.txt in an environment of its own")
