"""Curves over the steps of one training, or of several trainings alike: numbers in, (H, W, 3) uint8 RGB out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.lines import Line2D

from mfuser.pictures.figures import make_axes, make_figure, render


@dataclass(frozen=True)
class Line:
    """A quantity over the steps, in one run or in several that differ in their seeds."""

    title: str
    colour: str  # as matplotlib reads it
    runs: Sequence[Mapping[int, float]]  # {step: value} of each run

    def mean(self) -> dict[int, float]:
        """Mean over the runs at the steps that all of them have."""
        common = set.intersection(*(set(run) for run in self.runs))
        return {step: float(np.mean([run[step] for run in self.runs])) for step in sorted(common)}


def curves(series: Mapping[str, Mapping[int, float]], label: str) -> np.ndarray:
    """One panel of `run_curves` with a line for each name, {name: {step: value}}, that fits all values."""
    lines = [Line(name, f"C{number}", [values]) for number, (name, values) in enumerate(series.items())]
    return run_curves({label: lines}, since=0.0)


def run_curves(
    panels: Mapping[str, Sequence[Line]], width: int = 900, height: int = 400, since: float = 0.25
) -> np.ndarray:
    """Panels below each other, with one legend: a thin line for each run and a thick one for their mean.

    Args:
        panels: {label of the vertical axis: lines}.
        width: of the picture in pixels.
        height: of a panel in pixels.
        since: share of the steps after which the vertical axis fits the values; beside the first losses the
            differences of the rest would not be seen.

    Returns:
        (panels x height and the legend, width, 3) uint8 RGB.
    """
    colours = {line.title: line.colour for lines in panels.values() for line in lines}
    columns = 2 if max(map(len, colours)) > 24 else 3
    figure = make_figure(width, height * len(panels) + 36 * -(-len(colours) // columns), dark=False)
    for place, (label, lines) in enumerate(panels.items(), 1):
        axes = make_axes(figure, dark=False, grid="y", place=(len(panels), 1, place))
        last = max(step for line in lines for run in line.runs for step in run)
        late = [value for line in lines for run in line.runs for step, value in run.items() if step >= since * last]
        for line in lines:
            for run in line.runs if len(line.runs) > 1 else ():
                axes.plot(list(run), list(run.values()), color=line.colour, linewidth=0.6, alpha=0.55)
            mean = line.mean()
            marker = "o" if len(mean) < 20 else None
            axes.plot(list(mean), list(mean.values()), color=line.colour, linewidth=2, marker=marker, markersize=3.5)
        margin = 0.06 * (max(late) - min(late)) or 0.06 * abs(max(late)) or 1.0
        axes.set_xlim(0, last * 1.01)
        axes.set_ylim(min(late) - margin, max(late) + margin)
        axes.set_ylabel(label, parse_math=False)
    axes.set_xlabel("step")
    handles = [Line2D([], [], color=colour, linewidth=2, label=title) for title, colour in colours.items() if title]
    if handles:
        figure.legend(handles=handles, loc="outside upper center", ncols=columns, frameon=False, fontsize=8)
    return render(figure)


def smoothed(series: Mapping[int, float], share: float = 0.05) -> dict[int, float]:
    """Means around each step.

    Args:
        series: {step: value}.
        share: width of the window of steps, as a share of all steps.

    Returns:
        {step: mean} of the same steps, sorted.
    """
    steps, values = np.array(sorted(series)), np.array([series[step] for step in sorted(series)])
    reach = share * steps[-1] / 2
    near = (np.abs(steps - step) <= reach for step in steps)
    return {int(step): float(values[own].mean()) for step, own in zip(steps, near, strict=True)}
