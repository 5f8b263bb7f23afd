"""The five conditions: what each does to sky, surfaces and air of the same street. All amounts come from the seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from train.scenes import CONDITIONS
from train.scenes.sky import Sky

KOSCHMIEDER = 3.912  # -ln 0.02: at the visibility, two percent of the contrast are left (Koschmieder 1924)


@dataclass(frozen=True)
class Weather:
    """visibility: metres. wet, snow: 0..1 on the ground. drops, streaks, flakes: how many, times a thousand for the
    last two. lamps: 1 when vehicles, windows and street lamps are lit as at night. mean: exposure. bloom: glare of
    the lens."""

    condition: str
    sky: Sky
    visibility: float
    wet: float = 0.0
    snow: float = 0.0
    streaks: float = 0.0
    flakes: float = 0.0
    drops: int = 0
    lamps: float = 0.0
    wind: float = 0.0
    mean: float = 0.2
    bloom: float = 0.04

    @property
    def extinction(self) -> float:
        """1/m."""
        return KOSCHMIEDER / self.visibility

    def card(self) -> dict:
        values = asdict(self)
        return {
            k: ({n: _short(v) for n, v in x.items()} if isinstance(x, dict) else _short(x)) for k, x in values.items()
        }


def sample(seed: int, condition: str) -> Weather:
    """The weather of a seed in one of `CONDITIONS`. Raises ValueError for another name."""
    if condition not in CONDITIONS:
        raise ValueError(f"There is no weather {condition!r}: choose from {', '.join(CONDITIONS)}.")
    rng = np.random.default_rng([seed, 8, CONDITIONS.index(condition)])
    azimuth = rng.uniform(-180, 180)
    wind = rng.normal(scale=1.2)
    overcast = Sky(rng.uniform(25, 60), azimuth, 1.0, 0.6, 1.0, 0.0, seed)
    if condition == "fog":
        visibility = float(np.exp(rng.uniform(np.log(55), np.log(260))))
        return Weather(
            condition, overcast, visibility, wet=rng.uniform(0, 0.35), mean=rng.uniform(0.27, 0.34), bloom=0.03
        )
    if condition == "rain":
        sky = Sky(rng.uniform(20, 50), azimuth, 1.0, 0.6, 0.75, 0.0, seed)
        return Weather(
            condition,
            sky,
            rng.uniform(900, 2600),
            wet=rng.uniform(0.8, 1.0),
            streaks=rng.uniform(1.2, 3.2),
            drops=int(rng.integers(14, 70)),
            lamps=0.12,
            wind=wind,
            mean=rng.uniform(0.16, 0.2),
            bloom=0.06,
        )
    if condition == "snow":
        return Weather(
            condition,
            overcast,
            rng.uniform(300, 900),
            wet=0.35,
            snow=rng.uniform(0.7, 1.0),
            flakes=rng.uniform(1.5, 4.5),
            drops=int(rng.integers(0, 10)),
            wind=wind,
            mean=rng.uniform(0.36, 0.44),
        )
    if condition == "night":
        sky = Sky(-8.0, azimuth, rng.uniform(0, 0.5), 0.3, 1.0, 1.0, seed)
        return Weather(condition, sky, rng.uniform(4000, 9000), wet=0.0 if rng.random() < 0.6 else 0.6, lamps=1.0,
                       mean=rng.uniform(0.085, 0.115), bloom=0.09)  # fmt: skip
    return _clear(rng, seed, azimuth)


def _clear(rng: np.random.Generator, seed: int, azimuth: float) -> Weather:
    """Good visibility, from blue sky to overcast, morning to evening."""
    cover = float(rng.choice((rng.uniform(0.0, 0.25), rng.uniform(0.3, 0.6), 1.0), p=(0.4, 0.35, 0.25)))
    low = rng.random() < 0.25
    elevation = rng.uniform(9, 20) if low else rng.uniform(22, 58)
    if abs((azimuth + 180) % 360 - 180) < 25 and low:
        azimuth += 60  # straight into a low sun nobody sees anything
    sky = Sky(elevation, azimuth, cover, rng.uniform(0.15, 0.6), 1.0, 0.0, seed)
    return Weather("clear", sky, float(np.exp(rng.uniform(np.log(6000), np.log(40000)))), mean=rng.uniform(0.19, 0.25))


def _short(value):
    return round(value, 4) if isinstance(value, float) else value
