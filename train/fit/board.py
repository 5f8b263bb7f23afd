"""What is seen of a run while it trains: pictures in its folder, and TensorBoard where it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch.nn.functional as F
from PIL import Image

from mfuser.cityscapes import IGNORE, colorize
from mfuser.decoder.head import MFuserOutput


class Board:
    """Scalars and pictures of one stream. Without TensorBoard only the last pictures are kept, as a file.

    Args:
        folder: of the run.
        stream: "fused", "vfm" or "vlm".
        tensorboard: whether to write for TensorBoard where it is installed; `why_not` says why it is not, else "".
    """

    def __init__(self, folder: Path, stream: str, tensorboard: bool):
        self.folder, self.stream, self.writer, self.why_not = folder, stream, None, ""
        if not tensorboard:
            self.why_not = "switched off"
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.why_not = "not installed: pip install -r train/requirements.txt"
            return
        self._make = SummaryWriter

    def _writer(self, step: int) -> Any:
        """The writer, opened at the first step that it gets: what a killed run wrote from there on is dropped."""
        if self.writer is None and not self.why_not:
            folder = self.folder / "tensorboard" / self.stream
            self.writer = self._make(folder, purge_step=step, flush_secs=20)
        return self.writer

    def scalars(self, step: int, values: dict[str, Any]) -> None:
        """Numbers, and one level of named numbers within."""
        if (writer := self._writer(step)) is None:
            return
        for name, value in values.items():
            for tag, number in value.items() if isinstance(value, dict) else [("", value)]:
                writer.add_scalar(f"{name}/{tag}" if tag else name, number, step)

    def pictures(
        self, step: int, pixels: np.ndarray, labels: np.ndarray, members: np.ndarray, out: MFuserOutput
    ) -> None:
        """Show one sample as `make_panel` draws it; arguments are those of `make_panel`."""
        panel = make_panel(pixels, labels, members, out)
        Image.fromarray(panel).save(self.folder / f"stream-{self.stream}.png")
        if (writer := self._writer(step)) is not None:
            writer.add_image("input, truth, prediction, score map", panel, step, dataformats="HWC")

    def close(self) -> None:
        """Write what is left."""
        if self.writer is not None:
            self.writer.close()


def make_panel(pixels: np.ndarray, labels: np.ndarray, members: np.ndarray, out: MFuserOutput) -> np.ndarray:
    """Input, ground truth, prediction, and the score map's best class of one sample, side by side.

    Args:
        pixels: (3, H, W) uint8 RGB.
        labels: (H, W) uint8 group indices, 255 = ignore.
        members: (G, K) bool, classes of each group; a group has the colour of its first class.
        out: of a batch of one.

    Returns:
        (H, 4 W, 3) uint8 RGB.
    """
    height, width = labels.shape
    first = np.full(256, IGNORE, np.uint8)
    for group, row in enumerate(members):
        if row.any():
            first[group] = np.flatnonzero(row)[0]
    semantic = F.interpolate(out.semantic(), size=(height, width), mode="bilinear", align_corners=False)
    guess = semantic[0].argmax(0).byte().cpu().numpy()
    likeliest = out.score_map[0].float().argmax(0).byte().cpu().numpy()
    likeliest = cv2.resize(likeliest, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    truth = colorize(first[labels])
    return np.concatenate([pixels.transpose(1, 2, 0), truth, colorize(guess), colorize(likeliest)], axis=1)
