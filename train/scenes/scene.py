"""A whole scene from a seed, and where its parts come from."""

from __future__ import annotations

from dataclasses import dataclass

from train.scenes import camera, furnish, layout, street, traffic
from train.scenes.camera import Camera
from train.scenes.mesh import Mesh
from train.scenes.street import Street


@dataclass
class Scene:
    """A street with everything in it, the mesh of its ground and houses, and the camera that looks at it."""

    seed: int
    street: Street
    static: Mesh
    camera: Camera


def make(seed: int, kind: str | None = None) -> Scene:
    """The scene of a seed: the same in every weather. Raises ValueError for an unknown kind of street."""
    if seed < 0:
        raise ValueError(f"A seed of {seed} is not possible: choose 0 or more.")
    made = street.sample(seed, kind)
    traffic.populate(made)
    furnish.furnish(made)
    return Scene(seed, made, layout.build(made), camera.sample(seed))
