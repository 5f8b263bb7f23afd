"""Surfaces as Blender's materials. Water, snow and lamps are numbers in them, set for all at once."""

from __future__ import annotations

import numpy as np

from train.scenes import faces, textures
from train.scenes.nodes import Nodes
from train.scenes.surfaces import SURFACES, Surface

LABEL_OF_MATERIAL = 1  # the pass index of a material is its train id + 1: 0 is the sky


class Materials:
    """Makes and keeps a material for each surface and class."""

    def __init__(self, bpy):
        self.bpy = bpy
        self._made: dict[tuple[str, int], object] = {}
        self._images: dict[str, object] = {}
        self._knobs: dict[str, list] = {"wet": [], "snow": [], "lamps": []}
        self._values = {"wet": 0.0, "snow": 0.0, "lamps": 0.0}

    def set(self, wet: float, snow: float, lamps: float) -> None:
        """Weather of every material, made or yet to be made."""
        self._values = {"wet": wet, "snow": snow, "lamps": lamps}
        for name, value in self._values.items():
            for output in self._knobs[name]:
                output.default_value = value

    def get(self, surface: str, label: int):
        """The material of a surface as part of a class. Raises KeyError for an unknown surface."""
        if (surface, label) not in self._made:
            self._made[surface, label] = self._make(surface, label, SURFACES[surface])
        return self._made[surface, label]

    def _image(self, key: str, s: Surface):
        if key not in self._images:
            values = textures.pattern(key) if s.pattern else faces.picture(key)[::-1].astype(np.float32) / 255
            if values.ndim == 2:
                values = np.repeat(values[..., None], 3, axis=2)
            h, w = values.shape[:2]
            image = self.bpy.data.images.new(key, w, h, alpha=False)
            image.colorspace_settings.name = "Non-Color" if s.pattern else "sRGB"
            image.pixels.foreach_set(
                np.concatenate([values, np.ones((h, w, 1), np.float32)], axis=2).astype(np.float32).ravel()
            )
            image.update()
            image.pack()
            self._images[key] = image
        return self._images[key]

    def _make(self, name: str, label: int, s: Surface):
        material = self.bpy.data.materials.new(f"{name} {label}")
        material.pass_index = label + LABEL_OF_MATERIAL
        material.cycles.emission_sampling = "NONE"
        tree = material.node_tree
        tree.nodes.clear()
        n = Nodes(tree)
        colour, relief = self._colour(n, s)
        wet, snow, lamps = (self._knob(n, key) for key in ("wet", "snow", "lamps"))
        rough: object = s.rough
        position = n.add("ShaderNodeNewGeometry").outputs["Position"]
        normal = None
        if s.bump and relief is not None:
            bump = n.add("ShaderNodeBump", Strength=0.7, Distance=s.bump / 1000)
            n.link(relief, bump.inputs["Height"])
            normal = bump.outputs[0]
        if s.wet:
            colour, rough, normal = self._wet(n, s, colour, rough, normal, wet, position)
        if s.snow:
            colour, rough = self._snow(n, s, colour, rough, snow, position, label)
        shader = n.add("ShaderNodeBsdfPrincipled", Metallic=s.metal)
        n.put(colour, shader.inputs["Base Color"])
        n.put(rough, shader.inputs["Roughness"])
        if normal is not None:
            n.link(normal, shader.inputs["Normal"])
        if s.coat:
            shader.inputs["Coat Weight"].default_value, shader.inputs["Coat Roughness"].default_value = s.coat, 0.04
        if name in ("window", "window lit"):
            shader.inputs["IOR"].default_value = 1.7  # two panes mirror more than one
        if max(s.glow) > 0:
            day, night = s.glow
            strength = n.math("ADD", n.math("MULTIPLY", lamps, night - day), day)
            if name in ("head lamp", "tail lamp"):  # who parks has them off
                strength = n.math("MULTIPLY", strength, n.add("ShaderNodeObjectInfo").outputs["Alpha"])
            n.put(self._glow(n, s, name), shader.inputs["Emission Color"])
            n.link(strength, shader.inputs["Emission Strength"])
        surface = shader.outputs[0]
        if s.through:
            leaf = n.add("ShaderNodeBsdfTranslucent")
            n.put(colour, leaf.inputs[0])
            mix = n.add("ShaderNodeMixShader", Factor=s.through)
            n.link(surface, mix.inputs[1])
            n.link(leaf.outputs[0], mix.inputs[2])
            surface = mix.outputs[0]
        n.link(surface, n.add("ShaderNodeOutputMaterial").inputs[0])
        return material

    def _knob(self, n: Nodes, key: str):
        output = n.add("ShaderNodeValue").outputs[0]
        output.default_value = self._values[key]
        self._knobs[key].append(output)
        return output

    def _glow(self, n: Nodes, s: Surface, name: str):
        if name == "coach glass":
            return n.vector("MULTIPLY", n.paint(), (5.0, 3.6, 2.3))
        return n.picture(self._image(s.picture, s), 1.0) if s.picture else n.paint()

    def _colour(self, n: Nodes, s: Surface):
        """Base colour, and the pattern as relief."""
        colour = n.paint()
        if s.picture:
            return n.picture(self._image(s.picture, s), 1.0), None
        if s.tinted:
            colour = n.vector("MULTIPLY", colour, n.add("ShaderNodeObjectInfo").outputs["Color"])
        relief = None
        if s.pattern:
            relief = n.picture(self._image(s.pattern, s), 1 / s.scale)
            colour = n.scaled(n.vector("MULTIPLY", colour, relief), 2.0 * s.dim)
        elif s.dim != 1:
            colour = n.scaled(colour, s.dim)
        if s.macro:
            noise = n.noise(n.add("ShaderNodeNewGeometry").outputs["Position"], 0.35, 3)
            factor = n.range(noise, 0.3, 0.7, 1 - s.macro / 2, 1 + s.macro / 2)
            colour = n.scaled(colour, factor)
        if s.ground == "road":
            # Wheels polish two darker tracks a lane, and every place has its own stains.
            across = n.separate(n.add("ShaderNodeUVMap").outputs[0], 0)
            track = n.math("COSINE", n.math("MULTIPLY", across, 2 * np.pi / 1.62))
            stain = n.noise(n.add("ShaderNodeNewGeometry").outputs["Position"], 1.1, 5, 0.7)
            worn = n.math("ADD", n.math("MULTIPLY", track, 0.06), n.math("MULTIPLY", stain, 0.5))
            colour = n.scaled(colour, n.math("ADD", worn, 0.75))
        return colour, relief

    def _wet(self, n: Nodes, s: Surface, colour, rough, normal, wet, position):
        """Darker and glossier with water; puddles in the hollows of the ground."""
        water = n.math("MULTIPLY", wet, s.wet)
        if s.ground in ("road", "walk"):
            share = 0.52 if s.ground == "road" else 0.62
            puddle = n.math("MULTIPLY", n.range(n.noise(position, 0.22, 4, 0.62), share, share + 0.05, 0.0, 1.0), wet)
            film = n.math("ADD", n.math("MULTIPLY", water, 0.72), n.math("MULTIPLY", puddle, 0.28))
            rough = n.blend(film, rough, n.blend(puddle, 0.06, 0.01))
            colour = n.scaled(colour, n.range(puddle, 0, 1, 1, 0.45))
            if normal is not None:
                plain = n.add("ShaderNodeNewGeometry").outputs["Normal"]
                normal = n.vector_mix(
                    n.math("MULTIPLY", n.math("MAXIMUM", puddle, n.math("MULTIPLY", water, 0.75)), 1.0), normal, plain
                )
        else:
            rough = n.blend(n.math("MULTIPLY", water, 0.6), rough, 0.2)
        return n.scaled(colour, n.range(water, 0, 1, 1, 0.45)), rough, normal

    def _snow(self, n: Nodes, s: Surface, colour, rough, snow, position, label: int):
        """White where a face looks up; traffic has cut tracks into it on the road."""
        up = n.separate(n.add("ShaderNodeNewGeometry").outputs["Normal"], 2)
        if s.through:
            up = n.math("ABSOLUTE", up)
        noise = n.noise(position, 1.6, 4)
        low, high = (0.45, 0.75) if s.through else (0.7, 0.95)
        cover = n.range(n.math("ADD", up, n.math("MULTIPLY", noise, 0.5)), low, high, 0.0, s.snow)
        if s.ground == "road" and label == 0:
            across = n.separate(n.add("ShaderNodeUVMap").outputs[0], 0)
            track = n.math("COSINE", n.math("MULTIPLY", across, 2 * np.pi / 1.62))
            ridge = n.math("ADD", n.math("MULTIPLY", track, 0.2), n.noise(position, 0.9, 6, 0.7))
            cover = n.math("MULTIPLY", cover, n.range(ridge, 0.2, 0.72, 0.3, 1.0))
        amount = n.math("MULTIPLY", cover, snow)
        white = n.scaled((0.80, 0.84, 0.92), n.range(noise, 0.2, 0.8, 0.88, 1.04))
        return n.vector_mix(amount, colour, white), n.blend(amount, rough, 0.65)
