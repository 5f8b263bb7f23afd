"""Sizes at which the network sees an image, and the paper's windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mfuser.inference.windows import network_size, sliding_scores, sliding_size, window_places, working_size
from mfuser.presets import NANO, PRESETS


@pytest.mark.parametrize(
    ("size", "resolution", "expected"),
    [
        ((720, 960), None, (480, 640)),
        ((960, 720), None, (640, 480)),
        ((1080, 1920), None, (480, 864)),
        ((480, 480), 512, (512, 512)),
        ((200, 3000), None, (64, 1024)),  # the long side decides
        ((16, 4000), None, (32, 1024)),  # never less than one multiple
        ((100, 101), 64, (64, 64)),
    ],
)
def test_working_size(size: tuple[int, int], resolution: int | None, expected: tuple[int, int]):
    assert working_size(size, NANO, resolution) == expected


def test_working_size_is_always_legal():
    rng = np.random.default_rng(0)
    for _ in range(300):
        size, resolution = tuple(rng.integers(16, 5000, 2).tolist()), int(rng.integers(32, 1025))
        h, w = working_size(size, NANO, resolution)
        assert h % 32 == 0 == w % 32 and 32 <= min(h, w) and max(h, w) <= 1024
        scale = min(resolution / min(size), 1024 / max(size))
        assert all(abs(n - max(32, m * scale)) <= 16 + 1e-6 for n, m in zip((h, w), size, strict=True))


@pytest.mark.parametrize("resolution", [0, -5, 31, 1025, 100000])
def test_resolutions_out_of_range_are_refused(resolution: int):
    with pytest.raises(ValueError, match=f"Resolution {resolution} is out of range: choose 32 to 1024 pixels"):
        working_size((480, 640), NANO, resolution)


def test_windows_of_cityscapes_are_the_papers():
    places = list(window_places(1024, 2048))
    ys, xs = [0, 341, 512], [0, 341, 682, 1023, 1364, 1536]
    assert places == [(y, x, 512, 512) for y in ys for x in xs] and len(places) == 18


@pytest.mark.parametrize(
    ("size", "places"),
    [
        ((64, 96), [(0, 0, 64, 96)]),
        ((512, 512), [(0, 0, 512, 512)]),
        ((512, 513), [(0, 0, 512, 512), (0, 1, 512, 512)]),
        ((480, 853), [(0, 0, 480, 512), (0, 341, 480, 512)]),
    ],
)
def test_windows_of_small_images(size: tuple[int, int], places: list):
    assert list(window_places(*size)) == places


def test_windows_cover_every_pixel():
    for height, width in ((700, 1333), (513, 2047), (100, 1200)):
        seen = np.zeros((height, width), bool)
        for y, x, h, w in window_places(height, width):
            assert y + h <= height and x + w <= width
            seen[y : y + h, x : x + w] = True
        assert seen.all()


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1024, 2048), (1024, 2048)),
        ((512, 1024), (1024, 2048)),
        ((1080, 1920), (1024, 1820)),
        ((500, 2000), (512, 2048)),
        ((2048, 1024), (2048, 1024)),
        ((3000, 4000), (1024, 1365)),
    ],
)
def test_images_keep_their_ratio_for_sliding_windows(size: tuple[int, int], expected: tuple[int, int]):
    preset = PRESETS["dinov2-l+eva02-clip-l"]
    assert sliding_size(size, preset) == expected
    assert sliding_size(size, preset, 512)[0] <= max(512, expected[0])


def test_a_cityscapes_image_has_the_papers_18_windows():
    places = list(window_places(*sliding_size((1024, 2048), PRESETS["dinov2-l+clip-l"])))
    assert len(places) == 18 and {p[2:] for p in places} == {(512, 512)}
    assert sorted({y for y, *_ in places}) == [0, 341, 512]
    assert sorted({x for _, x, *_ in places}) == [0, 341, 682, 1023, 1364, 1536]


def test_a_single_pass_has_the_native_grid_where_it_can():
    assert working_size((512, 512), PRESETS["dinov2-l+eva02-clip-l"]) == (504, 504)  # 36 x 36 patches of 14
    assert working_size((512, 512), PRESETS["dinov2-l+clip-l"]) == (512, 512)


def test_sliding_windows_need_a_preset_that_has_them():
    large = PRESETS["dinov2-l+clip-l"]
    assert network_size((720, 960), large, "sliding") == sliding_size((720, 960), large)
    assert network_size((720, 960), large, "sliding", 512) == sliding_size((720, 960), large, 512)
    assert network_size((720, 960), large) == working_size((720, 960), large)
    assert network_size((720, 960), NANO, "sliding") == working_size((720, 960), NANO)
    with pytest.raises(ValueError, match="Resolution 9 is out of range"):
        network_size((720, 960), large, "sliding", 9)


@pytest.mark.parametrize("batch", [None, 2, 5, 100])
def test_scores_of_windows_are_averaged_however_they_are_batched(batch: int | None):
    """Two images of four windows; scores are of a quarter of the size, and depend on what lies around a pixel."""
    pixels, sizes = torch.rand(2, 3, 600, 700), []

    def scores(crops: torch.Tensor) -> dict[str, torch.Tensor]:
        sizes.append(len(crops))
        cells = F.avg_pool2d(crops, 4)
        return {"vfm": cells - cells.mean((-1, -2), keepdim=True), "vlm": cells[:, :1]}

    found = sliding_scores(scores, pixels, batch)
    assert {s: tuple(v.shape) for s, v in found.items()} == {"vfm": (2, 3, 600, 700), "vlm": (2, 1, 600, 700)}
    total, count = torch.zeros(2, 3, 600, 700), torch.zeros(600, 700)
    places = list(window_places(600, 700))
    assert len(places) == 4 and sum(sizes) == 8 and max(sizes) <= max(2, batch or 2)
    for y, x, h, w in places:
        own = scores(pixels[..., y : y + h, x : x + w])["vfm"]
        total[..., y : y + h, x : x + w] += F.interpolate(own, size=(h, w), mode="bilinear", align_corners=False)
        count[y : y + h, x : x + w] += 1
    assert count.max() == 4
    torch.testing.assert_close(found["vfm"], total / count)
