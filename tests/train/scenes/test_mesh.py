"""Shapes: closed, outward, of the size asked for; bodies from capsules; positions on the road."""

from __future__ import annotations

import numpy as np
import pytest

from train.scenes.mesh import Mesh, linear, rotation
from train.scenes.road import Road
from train.scenes.sdf import body, surface_nets


def triangles(mesh: Mesh) -> np.ndarray:
    """(T, 3, 3) corners."""
    found = []
    for p in mesh.patches:
        corners = p.vertices[p.faces]
        found += [corners[:, [0, i, i + 1]] for i in range(1, corners.shape[1] - 1)]
    return np.concatenate(found)


def volume(corners: np.ndarray) -> float:
    """Of a closed surface with outward faces (divergence theorem)."""
    return float(np.einsum("ti,ti->t", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6)


def test_a_box_is_closed_and_faces_outwards():
    mesh = Mesh()
    mesh.box((-1, 2, 0), (2, 4, 5), "stone", 2)
    assert volume(triangles(mesh)) == pytest.approx(3 * 2 * 5)


@pytest.mark.parametrize("axis", ["x", "y"])
def test_tubes_and_plates_enclose_their_volume(axis):
    tube, plate = Mesh(), Mesh()
    tube.tube([(0, 0, 0), (0, 0, 2), (0, 0, 5)], 0.5, "metal", 5, sides=64)
    plate.disc((3, 4, 5), 0.5, "metal", 5, "#ffffff", axis, 64, thick=2.0)
    assert volume(triangles(tube)) == pytest.approx(np.pi * 0.25 * 5, rel=0.01)
    assert volume(triangles(plate)) == pytest.approx(np.pi * 0.25 * 2, rel=0.01)


def test_copies_are_turned_and_put_in_their_places():
    arrow, row = Mesh(), Mesh()
    arrow.box((-0.1, 0, 0), (0.1, 3, 1), "metal", 5)
    row.join(arrow, [(10, 0, 0), (20, 0, 0)], np.pi / 2)
    low, high = row.bounds
    np.testing.assert_allclose(low, (7, -0.1, 0), atol=1e-9)
    np.testing.assert_allclose(high, (20, 0.1, 1), atol=1e-9)
    assert volume(triangles(row)) == pytest.approx(2 * 0.2 * 3)
    np.testing.assert_allclose(rotation(np.pi / 2) @ (0, 1, 0), (-1, 0, 0), atol=1e-12)


def test_colours_become_linear():
    np.testing.assert_allclose(linear("#ff8000"), (1, 0.2159, 0), atol=1e-4)
    np.testing.assert_array_equal(linear((0.1, 0.2, 0.3)), (0.1, 0.2, 0.3))


def test_surface_nets_close_a_ball():
    x = np.arange(-12, 13)
    field = np.sqrt((np.stack(np.meshgrid(x, x, x, indexing="ij")) ** 2).sum(axis=0)) - 9.3
    vertices, quads = surface_nets(field)
    corners = vertices[quads] - 12
    np.testing.assert_allclose(np.linalg.norm(corners, axis=-1), 9.3, atol=0.35)
    split = np.concatenate([corners[:, [0, 1, 2]], corners[:, [0, 2, 3]]])
    assert volume(split) == pytest.approx(4 / 3 * np.pi * 9.3**3, rel=0.03)
    edges = np.sort(np.stack([quads, np.roll(quads, -1, axis=1)], axis=-1).reshape(-1, 2), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all(), "a closed surface has each edge twice"


def test_a_body_knows_which_limb_each_face_belongs_to():
    vertices, quads, nearest = body([((0, 0, 0), (0, 0, 1), 0.1, 0.1), ((0, 0, 1), (1, 0, 1), 0.08, 0.05)])
    middle = vertices[quads].mean(axis=1)
    assert set(nearest) == {0, 1}
    assert (nearest[middle[:, 2] < 0.6] == 0).all() and (nearest[middle[:, 0] > 0.4] == 1).all()


def test_a_straight_road_is_its_own_frame():
    road = Road()
    np.testing.assert_allclose(road.at([0.0, 50.0], 3.0, 0.2), [(3, 0, 0.2), (3, 50, 0.2)], atol=1e-9)


@pytest.mark.parametrize("bend", [(0.01, 0.01), (-0.01, 0.004)])
def test_a_bend_starts_at_the_camera_and_keeps_lengths(bend):
    road = Road(bend, rise=2.0)
    np.testing.assert_allclose(road.at(0.0, 0.0), 0, atol=1e-9)
    line = road.at(np.linspace(0, 100, 401), 0.0)[:, :2]
    assert np.linalg.norm(np.diff(line, axis=0), axis=1).sum() == pytest.approx(100, rel=1e-3)
    assert np.sign(line[-1, 0]) == np.sign(bend[0])  # a positive curvature bends to the right
    assert road.height(0.0) == 0 and road.height(230.0) == pytest.approx(2.0)
    across = road.at(60.0, 5.0) - road.at(60.0, 0.0)
    ahead = road.at(60.2, 0.0) - road.at(59.8, 0.0)
    assert across @ ahead == pytest.approx(0, abs=0.02) and np.linalg.norm(across) == pytest.approx(5)
