"""A picture analysed by the built-in model, once."""

from __future__ import annotations

import pytest

import mfuser
from mfuser.config import ASSETS


@pytest.fixture(scope="session")
def nano_analysis():
    """An example street, at a size that is quick."""
    return mfuser.load("nano", precision="float32").analyse(
        ASSETS / "examples" / "street-02.jpg", resolution=320, layers=True
    )
