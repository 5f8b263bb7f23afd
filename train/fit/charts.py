"""Pictures of training and evaluation: curves of a log, a confusion matrix. Numbers in, (H, W, 3) uint8 RGB out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.lines import Line2D

from mfuser.pictures.figures import make_axes, make_figure, render


def curves(series: Mapping[str, Mapping[int, float]], label: str, width: int = 900, height: int = 420) -> np.ndarray:
    """One line for each name. series: {name: {step: value}}."""
    figure = make_figure(width, height, dark=False)
    axes = make_axes(figure, dark=False, grid="y")
    for name, line in series.items():
        steps: Sequence[int] = sorted(line)
        marker = "o" if len(steps) < 20 else None
        axes.plot(steps, [line[s] for s in steps], label=name, linewidth=1.6, marker=marker, markersize=4)
    axes.set_xlabel("step")
    axes.set_ylabel(label, parse_math=False)
    if len(series) > 1:
        axes.legend(frameon=False, fontsize=7.5)
    return render(figure)


@dataclass(frozen=True)
class Line:
    """What a row of an ablation gave over the steps, in several runs that differ in their seeds.

    runs: {step: value} of each.
    """

    title: str
    colour: str
    runs: Sequence[Mapping[int, float]]

    def mean(self) -> dict[int, float]:
        """Mean over the runs at the steps that all of them have."""
        common = set.intersection(*(set(run) for run in self.runs))
        return {step: float(np.mean([run[step] for run in self.runs])) for step in sorted(common)}


def run_curves(panels: Mapping[str, Sequence[Line]], width: int = 900, height: int = 400) -> np.ndarray:
    """Panels below each other, with one legend: a thin line for each run and a thick one for their mean.

    panels: {label of the vertical axis: lines}. height: of a panel in pixels. The axis fits what comes after the first
    quarter of the steps, beside which the differences of the rest would not be seen.
    """
    names = {line.title: line.colour for lines in panels.values() for line in lines}
    columns = 2 if max(map(len, names)) > 24 else 3
    figure = make_figure(width, height * len(panels) + 36 * -(-len(names) // columns), dark=False)
    for place, (label, lines) in enumerate(panels.items(), 1):
        axes = make_axes(figure, dark=False, grid="y", place=(len(panels), 1, place))
        last = max(step for line in lines for run in line.runs for step in run)
        late = [value for line in lines for run in line.runs for step, value in run.items() if step >= last / 4]
        for line in lines:
            for run in line.runs if len(line.runs) > 1 else ():
                axes.plot(list(run), list(run.values()), color=line.colour, linewidth=0.6, alpha=0.55)
            mean = line.mean()
            marker = "o" if len(mean) < 20 else None
            axes.plot(list(mean), list(mean.values()), color=line.colour, linewidth=2, marker=marker, markersize=3.5)
        margin = 0.06 * (max(late) - min(late)) or 1.0
        axes.set_xlim(0, last * 1.01)
        axes.set_ylim(min(late) - margin, max(late) + margin)
        axes.set_ylabel(label, parse_math=False)
    axes.set_xlabel("step")
    handles = [Line2D([], [], color=colour, linewidth=2, label=title) for title, colour in names.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, frameon=False, fontsize=8)
    return render(figure)


def smoothed(series: Mapping[int, float], share: float = 0.05) -> dict[int, float]:
    """Means over a window of steps around each step, by default a twentieth of all steps wide."""
    steps, values = np.array(sorted(series)), np.array([series[step] for step in sorted(series)])
    reach = share * steps[-1] / 2
    near = (np.abs(steps - step) <= reach for step in steps)
    return {int(step): float(values[own].mean()) for step, own in zip(steps, near, strict=True)}
