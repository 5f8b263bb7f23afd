"""`python -m train spots`: are hand-labelled points of photographs in bad weather given the right class?

No set of real fog, rain, snow and night with labels comes with the training data, so 1379 points of 53 photographs of
DAWN were labelled by hand (`dawn.json`), before any model was looked at. They lie inside things, away from edges: what
they compare is models, and an accuracy on them is higher than one of all pixels.
"""

from __future__ import annotations

import json
from pathlib import Path

DAWN = Path(__file__).with_name("dawn.json")
COPIES = Path(__file__).with_name("copies.txt")  # of DAWN, nearly the same as a labelled one


def held_back() -> frozenset[str]:
    """Names of DAWN's photographs that no training may see: the labelled ones, and near copies of these."""
    return frozenset(json.loads(DAWN.read_text())) | frozenset(COPIES.read_text().split())
