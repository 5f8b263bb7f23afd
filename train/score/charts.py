"""Confusion matrices as pictures."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import Normalize

from mfuser.pictures.figures import make_axes, make_figure, render
from train.metrics.confusion import ConfusionMatrix


def confusion_picture(matrix: ConfusionMatrix, title: str = "", width: int = 1280) -> np.ndarray:
    """Shares of every true class, in per cent of its row; classes without truth are left out as rows."""
    shown = np.flatnonzero(matrix.present)
    rows = np.concatenate([matrix.counts, matrix.missed[:, None]], axis=1)[shown].astype(float)
    shares = 100 * rows / np.maximum(rows.sum(1, keepdims=True), 1)
    columns = [*matrix.names, *(["(others)"] if matrix.missed.any() else [])]
    shares = shares[:, : len(columns)]
    figure = make_figure(width, round(width * 0.85), dark=False)
    axes = make_axes(figure, dark=False)
    axes.imshow(shares, cmap="viridis", norm=Normalize(0, 100), aspect="auto")
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(shown)), [matrix.names[i] for i in shown])
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.spines[:].set_visible(False)
    for (row, column), value in np.ndenumerate(shares):
        if value >= 0.5:
            axes.text(
                column, row, f"{value:.0f}", ha="center", va="center", size=6, color="#111" if value > 60 else "w"
            )
    if title:
        axes.set_title(title, size=9.5, weight="bold", parse_math=False)
    return render(figure)
