"""What surfaces are made of: pattern, gloss, how they get wet, keep snow and shine at night."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Surface:
    """pattern: of `textures`, `scale` metres across. picture: of `faces`, over the whole uv square. rough: 0 mirror
    to 1 matt. bump: millimetres of relief. tinted: takes the colour of the copy. macro: share of large-scale
    variation. wet: how much water darkens and glosses it; ground: puddles stand on it. snow: how much settles on it.
    glow: light it gives by day and at night, times its colour; steady: sampled as a light source.
    """

    pattern: str | None = None
    scale: float = 2.0
    picture: str | None = None
    rough: float = 0.8
    metal: float = 0.0
    bump: float = 0.0
    tinted: bool = False
    coat: float = 0.0
    through: float = 0.0  # light that passes leaves
    macro: float = 0.0
    wet: float = 0.5
    ground: str = ""  # "road", "walk" or "soil"
    snow: float = 1.0
    glow: tuple[float, float] = (0.0, 0.0)
    dim: float = 1.0  # of its colour when it does not glow


SURFACES: dict[str, Surface] = {
    "asphalt": Surface("asphalt", 3.0, rough=0.85, bump=3, macro=0.35, wet=1.0, ground="road", snow=0.8, dim=0.085),
    "cobbles": Surface("cobbles", 5.0, rough=0.75, bump=8, macro=0.3, wet=1.0, ground="road", snow=0.8, dim=0.28),
    "paint": Surface("paint", 2.2, rough=0.6, bump=1, macro=0.25, wet=0.8, ground="road", snow=0.8),
    "tar": Surface(rough=0.5, wet=0.8, ground="road", snow=0.8),
    "iron": Surface("gravel", 0.8, rough=0.5, metal=0.6, wet=0.8, ground="road", snow=0.7),
    "rail": Surface(rough=0.3, metal=1.0, wet=0.3, ground="road", snow=0.3),
    "slabs": Surface("slabs", 4.0, rough=0.85, bump=3, macro=0.25, wet=0.9, ground="walk"),
    "bricks laid": Surface("pavers", 4.0, rough=0.85, bump=3, macro=0.25, wet=0.9, ground="walk"),
    "kerb": Surface("kerb", 4.0, rough=0.8, bump=2, macro=0.2, wet=0.9, ground="walk", snow=0.8),
    "gravel": Surface("gravel", 2.0, rough=0.95, bump=8, macro=0.2, wet=0.8, ground="walk"),
    "grass": Surface("grass", 3.0, rough=0.95, bump=20, macro=0.3, wet=0.5, ground="soil"),
    "brick": Surface("brick", 2.0, rough=0.9, bump=6, macro=0.15, wet=0.5),
    "plaster": Surface("plaster", 6.0, rough=0.92, bump=2, macro=0.16, wet=0.35),
    "stone": Surface("stone", 3.0, rough=0.85, bump=4, macro=0.12, wet=0.45),
    "concrete": Surface("concrete", 3.0, rough=0.88, bump=2, macro=0.15, wet=0.6),
    "panels": Surface("panels", 4.8, rough=0.45, bump=2, macro=0.06, wet=0.3),
    "ribbed": Surface("ribbed", 4.0, rough=0.5, metal=0.2, bump=25, macro=0.1, wet=0.3),
    "slats": Surface("slats", 1.6, rough=0.7, bump=10, wet=0.3),
    "roof": Surface("roof", 2.4, rough=0.8, bump=25, macro=0.2, wet=0.7),
    "wood": Surface("wood", 1.5, rough=0.75, bump=2, macro=0.1, wet=0.6),
    "wicker": Surface("slats", 0.3, rough=0.8, wet=0.4),
    "bark": Surface("bark", 1.0, rough=0.95, bump=15, wet=0.5, snow=0.7),
    "leaf": Surface(rough=0.6, through=0.35, wet=0.25, snow=0.75),
    "blade": Surface(rough=0.7, through=0.3, wet=0.25, snow=0.9),
    "cloth": Surface("cloth", 0.9, rough=0.95, wet=0.25, snow=0.25),
    "curtain": Surface(rough=0.9, wet=0.0, snow=0.0, glow=(0.0, 0.12)),
    "painted": Surface("concrete", 3.0, rough=0.45, macro=0.06, wet=0.2),
    "metal": Surface("concrete", 2.0, rough=0.38, metal=0.75, wet=0.2, snow=0.6),
    "gloss": Surface(rough=0.12, wet=0.1, snow=0.4),
    "rubber": Surface("concrete", 1.0, rough=0.8, wet=0.3, snow=0.2),
    "car paint": Surface(rough=0.4, metal=0.15, tinted=True, coat=0.8, wet=0.1, snow=0.9),
    "car glass": Surface(rough=0.03, wet=0.1, snow=0.5),
    "coach glass": Surface(rough=0.04, wet=0.1, snow=0.2, glow=(0.0, 5.0)),
    "window": Surface(rough=0.04, wet=0.0, snow=0.0),
    "window lit": Surface(rough=0.04, wet=0.0, snow=0.0, glow=(0.0, 0.3), dim=0.04),
    "head lamp": Surface(rough=0.1, wet=0.1, snow=0.1, glow=(0.0, 30.0)),
    "tail lamp": Surface(rough=0.15, wet=0.1, snow=0.1, glow=(0.02, 9.0)),
    "street lamp": Surface(rough=0.4, wet=0.1, snow=0.0, glow=(0.0, 14.0)),
    "signal": Surface(rough=0.2, wet=0.1, snow=0.0, glow=(3.0, 5.0)),
    "signs": Surface(picture="signs", rough=0.4, wet=0.05, snow=0.1, glow=(0.0, 0.05)),
    "shops": Surface(picture="shops", rough=0.5, wet=0.1, snow=0.0, glow=(0.0, 0.5)),
    "plate": Surface(picture="plate", rough=0.4, wet=0.1, snow=0.2, glow=(0.0, 0.06)),
    "directions": Surface(picture="directions", rough=0.4, wet=0.05, snow=0.1, glow=(0.0, 0.05)),
    "display": Surface(picture="display", rough=0.4, wet=0.05, snow=0.0, glow=(1.2, 1.6)),
}
