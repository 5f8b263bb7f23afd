"""One sheet of what the features of a street look like: their first three principal components as colours."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from mfuser import config, images
from mfuser.inference.windows import working_size
from mfuser.pictures.figures import make_figure, render
from mfuser.pictures.visualize import pca_rgb
from train.measure.probe.evaluation import View
from train.measure.probe.features import TITLES, Encoders, ImageNetTrunk, Source, features_of

STREET = config.ASSETS / "examples" / "street-03.jpg"
WIDTH, CAPTION, QUALITY = 400, 42, 85  # pixels of a picture, pixels of the line above it, of the JPEG


def sheet(sources: Mapping[str, Source], street: np.ndarray, view: View) -> bytes:
    """A row of pictures for each folder, as JPEG: the street, its trunk, its encoders' last blocks, and fused.

    Args:
        sources: by the names of a table. An ImageNet trunk among them stands for every folder's own.
        street: (H, W, 3) uint8.
        view: gives the size at which the encoders read it.
    """
    resized = images.resize(street, *working_size(street.shape[:2], view.preset))
    pixels = torch.from_numpy(resized).permute(2, 0, 1)[None].float().to(view.hardware.device)
    trunks = [source for source in sources.values() if isinstance(source, ImageNetTrunk)]
    folders = {name: source for name, source in sources.items() if isinstance(source, Encoders)}
    cells = {}  # (folder, column) -> caption, picture
    for row, (name, source) in enumerate(folders.items()):
        cells[row, 0] = (name if len(folders) > 1 else "picture", street)
        shown = [(trunks[0] if trunks else source, None), *((source, kind) for kind in ("vfm", "vlm", "fused"))]
        for column, (of, kind) in enumerate(shown, 1):
            kind = kind or of.rows[0]
            if kind in of.rows:
                found = features_of(of.features(pixels).rows, kind)[0].cpu().numpy()
                cells[row, column] = TITLES.get(kind, f"ImageNet trunk, {kind}"), pca_rgb(found, street.shape[:2])
    columns = sorted({column for _, column in cells})
    height = round(WIDTH * street.shape[0] / street.shape[1]) + CAPTION
    figure = make_figure(WIDTH * len(columns), height * len(folders), dark=False)
    axes = figure.subplots(len(folders), len(columns), squeeze=False)
    for (row, place), own in np.ndenumerate(axes):
        own.axis("off")
        if (row, columns[place]) in cells:
            caption, picture = cells[row, columns[place]]
            own.imshow(picture)
            own.set_title(caption, size=8, parse_math=False)
    return images.encode(render(figure), ".jpg", QUALITY)
