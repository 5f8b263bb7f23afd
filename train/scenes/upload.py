"""Our meshes as Blender's."""

from __future__ import annotations

import numpy as np

from train.scenes.materials import Materials
from train.scenes.mesh import Mesh


def upload(bpy, materials: Materials, name: str, mesh: Mesh):
    """Our mesh as Blender's: one material a surface and class, colours and metres as attributes."""
    slots: dict[tuple[str, int], int] = {}
    vertices, loops, sizes, slot, smooth, uv, colour = [], [], [], [], [], [], []
    first = 0
    for p in mesh.patches:
        n, k = p.faces.shape
        vertices.append(p.vertices)
        loops.append((p.faces + first).ravel())
        sizes.append(np.full(n, k))
        slot.append(np.full(n, slots.setdefault((p.surface, p.label), len(slots))))
        smooth.append(np.full(n, p.smooth))
        uv.append(p.uv.reshape(-1, 2))
        colour.append(p.colour)
        first += len(p.vertices)
    vertices, loops, sizes = np.concatenate(vertices), np.concatenate(loops), np.concatenate(sizes)
    data = bpy.data.meshes.new(name)
    data.vertices.add(len(vertices))
    data.vertices.foreach_set("co", vertices.astype(np.float32).ravel())
    data.loops.add(len(loops))
    data.loops.foreach_set("vertex_index", loops.astype(np.int32))
    data.polygons.add(len(sizes))
    data.polygons.foreach_set("loop_start", (np.cumsum(sizes) - sizes).astype(np.int32))
    for pair in slots:
        data.materials.append(materials.get(*pair))
    data.polygons.foreach_set("material_index", np.concatenate(slot).astype(np.int32))
    data.polygons.foreach_set("use_smooth", np.concatenate(smooth))
    data.uv_layers.new(name="metres").data.foreach_set("uv", np.concatenate(uv).astype(np.float32).ravel())
    paint = data.attributes.new("paint", "FLOAT_VECTOR", "FACE")
    paint.data.foreach_set("vector", np.concatenate(colour).astype(np.float32).ravel())
    data.update(calc_edges=True)
    data.set_sharp_from_angle(angle=np.radians(38))
    return data
