"""The conditions by name: what each renders, and the physical parameter that drives it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Description:
    """One condition: what people read, and the physical parameter that drives the rendering."""

    sentence: str  # what the rendering does
    parameter: str  # name of the physical parameter
    unit: str  # of its values
    values: tuple[float, float, float, float, float]  # at severity 1 to 5

    def at(self, severity: int) -> str:
        """The parameter at a severity (1 to 5) for people, for example 'visibility 150 m'."""
        return f"{self.parameter} {self.values[severity - 1]:g} {self.unit}"


# The parameters are physics: visibility is that of Koschmieder (1924), rainfall is the depth of water in an hour. Which
# values the five severities have is taste, within these classes: fog is a visibility below 1 km; the World
# Meteorological Organization calls rain moderate from 2.5 mm/h, heavy from 10 mm/h and violent from 50 mm/h; snow is
# commonly called heavy below a visibility of 400 to 500 m. A stop is a factor of 2 in light.
DESCRIPTIONS: dict[str, Description] = {
    "fog": Description(
        "Koschmieder's law: contrast decays with distance towards the colour of the sky, in slightly uneven banks.",
        "visibility", "m", (500, 250, 130, 75, 45),
    ),
    "rain": Description(
        "Streaks at four distances, a dimmed scene, a wet road that mirrors it, drops on the lens in heavy rain.",
        "rainfall", "mm/h", (3, 8, 18, 35, 70),
    ),
    "snow": Description(
        "Flakes at four distances in a white veil, cooler colours, and snow that settles on ground and ledges.",
        "visibility", "m", (1200, 700, 400, 250, 150),
    ),
    "night": Description(
        "Daylight taken away, blue-shifted; headlights on the road ahead, glow around lamps, photon and read noise.",
        "daylight reduced by", "stops", (1.5, 2.5, 3.5, 4.5, 5.5),
    ),
}  # fmt: skip
CONDITIONS: tuple[str, ...] = tuple(DESCRIPTIONS)
