"""Pictures of features, similarities and masks: pure functions from arrays to arrays. No model code, no page code.

Pictures are (H, W, 3) uint8 RGB. Numbers are drawn in `charts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import matplotlib
import numpy as np

from mfuser.cityscapes import IGNORE, PALETTE, colorize, group_table

# What the page, the command line and the charts call the streams.
STREAM_TITLES = {"vfm": "VFM only", "vlm": "VLM only", "fused": "MFuser"}
COLOUR_MAPS = ("inferno", "viridis", "magma", "plasma", "cividis")  # the perceptually uniform ones
GREY = 128


def pca_rgb(tokens: np.ndarray, size: tuple[int, int], foreground: np.ndarray | None = None) -> np.ndarray:
    """First three principal components of a token grid as red, green and blue (as DINOv2, Oquab et al. 2023, Fig. 1).

    Each component is stretched between its 1st and 99th percentile. Its sign makes the loading of largest magnitude
    positive. A component without variance (constant tokens, C < 3) is mid-grey.

    Args:
        tokens: (h, w, C) float.
        size: (H, W) in pixels.
        foreground: (h, w) bool, the tokens to fit and show; the rest is grey. None for all.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: wrong shape, or tokens that are not finite.
    """
    tokens = np.asarray(tokens, dtype=np.float32)
    if tokens.ndim != 3 or tokens.size == 0:
        raise ValueError(f"pca_rgb needs tokens of shape (h, w, C), got {tokens.shape}; reshape to the patch grid.")
    if not np.isfinite(tokens).all():
        raise ValueError("pca_rgb cannot show tokens that are NaN or infinite; run the encoder in a wider precision.")
    h, w, channels = tokens.shape
    chosen = np.ones((h, w), bool) if foreground is None else np.asarray(foreground, bool)
    if chosen.shape != (h, w):
        raise ValueError(f"The foreground is {chosen.shape} but the token grid is {(h, w)}; give one flag per token.")
    rows = tokens[chosen].astype(np.float64)  # (N, C)
    grid = np.full((h, w, 3), float(GREY), np.float32)
    magnitude = np.abs(rows).max(initial=0.0)
    if len(rows) >= 2 and np.ptp(rows, axis=0).max() > 1e-6 * magnitude:
        from sklearn.decomposition import PCA  # here: it and what it imports take 0.1 GB, which not every use needs

        pca = PCA(n_components=min(3, len(rows), channels), random_state=0)
        scores = pca.fit_transform(rows)  # (N, n)
        loadings = pca.components_  # (n, C)
        largest = np.abs(loadings).argmax(axis=1)
        scores *= np.sign(loadings[np.arange(len(loadings)), largest])
        low, high = np.percentile(scores, (1, 99), axis=0)
        # Round-off dresses up as a component where the tokens have fewer than three dimensions.
        real = np.sqrt(pca.explained_variance_) > 1e-5 * np.sqrt(pca.explained_variance_[0])
        flat = high - low <= 1e-9 * np.ptp(scores, axis=0)  # a few outliers on a constant: stretch over the full range
        low, high = np.where(flat, scores.min(axis=0), low), np.where(flat, scores.max(axis=0), high)
        stretched = 255 * (scores - low) / np.where(high > low, high - low, 1)
        grid[chosen, : scores.shape[1]] = np.where(real, stretched.clip(0, 255), GREY)
    return np.rint(_resize(grid, size).clip(0, 255)).astype(np.uint8)


def heat(values: np.ndarray, low: float, high: float, cmap: str = "inferno") -> np.ndarray:
    """Colour a map.

    Args:
        values: (H, W) float, clipped to [low, high]. NaN is drawn as low.
        low: value of the first colour.
        high: value of the last colour.
        cmap: one of `COLOUR_MAPS`.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    values = np.nan_to_num(np.asarray(values, np.float32), nan=low, posinf=high, neginf=low)
    scaled = (values - low) / (high - low) if high > low else np.zeros_like(values)
    # Matplotlib's own lookup, through OpenCV in half of its time: every answer to a query waits for two or three.
    table = colour_map(cmap)(np.arange(256), bytes=True)[:, None, :3]
    return cv2.applyColorMap((scaled.clip(0, 1) * 256).clip(max=255).astype(np.uint8), np.ascontiguousarray(table))


def overlay(image: np.ndarray, colour: np.ndarray, opacity: float) -> np.ndarray:
    """Blend two pictures.

    Args:
        image: (H, W, 3) uint8, shown at opacity 0.
        colour: (H, W, 3) uint8, shown at opacity 1.
        opacity: of `colour`, clipped to [0, 1].

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: the sizes differ.
    """
    _same_size(image, colour)
    opacity = float(np.clip(opacity, 0, 1))
    return cv2.addWeighted(np.ascontiguousarray(image), 1 - opacity, np.ascontiguousarray(colour), opacity, 0)


def boundaries(mask: np.ndarray, width: int = 1) -> np.ndarray:
    """Borders between classes.

    Args:
        mask: (H, W) integers.
        width: of the borders in pixels.

    Returns:
        (H, W) bool.
    """
    mask = np.asarray(mask)
    edges = np.zeros(mask.shape, bool)
    edges[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    edges[:-1] |= mask[:-1] != mask[1:]
    if width > 1:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
        edges = cv2.dilate(edges.astype(np.uint8), kernel).astype(bool)
    return edges


def mask_overlay(
    image: np.ndarray, mask: np.ndarray, opacity: float = 0.55, edges: bool = True, colours: np.ndarray = PALETTE
) -> np.ndarray:
    """A mask in colours over a picture. Unlabelled pixels (255) show the picture.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) uint8 train ids.
        opacity: of the mask, in [0, 1].
        edges: draw thin borders in a darker tone of the class.
        colours: (K, 3) uint8 RGB of the classes.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: the sizes differ.
    """
    colour = colorize(mask, colours)
    blended = overlay(image, colour, opacity)
    if edges and opacity > 0:
        border = boundaries(mask, width=max(1, round(min(mask.shape) / 400)))
        blended[border] = colour[border] // 5 * 2
    unlabelled = mask == IGNORE
    blended[unlabelled] = image[unlabelled]
    return blended


def similarity_scale(maps: Sequence[np.ndarray]) -> tuple[float, float]:
    """One colour scale for several maps: the lowest 1st and the highest 99.9th percentile.

    Args:
        maps: (H, W) float each. NaN is left out.

    Returns:
        (low, high), always low < high.

    Raises:
        ValueError: no map.
    """
    if not len(maps):
        raise ValueError("A shared scale needs at least one similarity map.")
    finite = [values for values in (np.asarray(m, np.float32)[np.isfinite(m)] for m in maps) if values.size]
    if not finite:
        return 0.0, 1.0
    ends = np.array([np.percentile(values, (1, 99.9)) for values in finite], np.float64)  # both from one partition
    low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
    return (low, high) if high - low > 1e-3 else (low - 1e-3, low + 1e-3)


def disagreement(masks: Mapping[str, np.ndarray]) -> np.ndarray:
    """Number of distinct answers minus one, at each pixel. 255 is no answer.

    Args:
        masks: {stream: (H, W) uint8 train ids}.

    Returns:
        (H, W) uint8.
    """
    stack = np.sort(np.stack(list(masks.values())), axis=0)  # (streams, H, W)
    return ((stack[1:] != stack[:-1]) & (stack[1:] != IGNORE)).sum(axis=0).astype(np.uint8)


def disagreement_picture(masks: Mapping[str, np.ndarray], image: np.ndarray | None = None) -> np.ndarray:
    """Where the streams differ: dark grey where they agree, brighter the more answers there are.

    Args:
        masks: {stream: (H, W) uint8 train ids}.
        image: (H, W, 3) uint8 RGB to show in grey, or None.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: the sizes differ.
    """
    counts = disagreement(masks)
    base = np.full((*counts.shape, 3), 40, np.uint8)
    if image is not None:
        _same_size(image, base)
        base[:] = (cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY) * 0.45)[..., None]
    tones = heat(counts.astype(np.float32) + 1.2, 0, len(masks) + 0.2)  # one differing stream: red; all differ: yellow
    return np.where((counts > 0)[..., None], overlay(base, tones, 0.85), base)


def agreement(mask_a: np.ndarray, mask_b: np.ndarray, groups: dict[str, tuple[int, ...]] | None = None) -> float:
    """Mean IoU of two masks over the classes that either of them has.

    Pixels that are 255 in either mask are left out.

    Args:
        mask_a: (H, W) uint8 train ids.
        mask_b: (H, W) uint8 train ids.
        groups: classes to merge first, for example `cityscapes.COMMON`; None for none.

    Returns:
        A fraction in [0, 1]; 0.0 with nothing to compare, never NaN.

    Raises:
        ValueError: the sizes differ.
    """
    _same_size(mask_a, mask_b)
    if groups is not None:
        table = group_table(groups)
        mask_a, mask_b = table[mask_a], table[mask_b]
    valid = (mask_a != IGNORE) & (mask_b != IGNORE)
    pairs = mask_a[valid].astype(np.int64) * 256 + mask_b[valid]
    confusion = np.bincount(pairs, minlength=256 * 256).reshape(256, 256)
    intersection = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - intersection
    present = union > 0
    return float((intersection[present] / union[present]).mean()) if present.any() else 0.0


def colour_map(name: str) -> matplotlib.colors.Colormap:
    """A colour map by name.

    Args:
        name: one of `COLOUR_MAPS`.

    Raises:
        ValueError: another name. Only perceptually uniform maps are offered.
    """
    if name not in COLOUR_MAPS:
        raise ValueError(f"{name} is not a perceptually uniform colour map; use one of {', '.join(COLOUR_MAPS)}.")
    return matplotlib.colormaps[name]


def _resize(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    height, width = size
    smaller = height < picture.shape[0] or width < picture.shape[1]
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


def _same_size(a: np.ndarray, b: np.ndarray) -> None:
    if a.shape[:2] != b.shape[:2]:
        raise ValueError(f"The pictures differ in size, {a.shape[:2]} and {b.shape[:2]}; resize one of them first.")
