"""Blender as a renderer: meshes, copies and lamps into its scene; light, class, thing and depth of each pixel out.

The only module that imports `bpy`, and only when a Renderer is made.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from train.scenes import prototypes
from train.scenes.camera import Camera
from train.scenes.lamps import Light
from train.scenes.materials import Materials
from train.scenes.mesh import Mesh, linear
from train.scenes.sky import Sky, panorama
from train.scenes.street import Street, Thing
from train.scenes.upload import upload

MISSING = (
    "Rendering needs Blender as a Python module, which is not installed: use CPython 3.11 and run "
    "`pip install -r train/scenes/requirements.txt`."
)


class MissingRenderer(ValueError):
    """Blender's module or the reader of its pictures is not installed."""


@dataclass
class Truth:
    """label: (H, W) uint8 train ids. thing: (H, W) int32, 0 for ground and houses, else its index + 1 in the street's
    things. depth: (H, W) float32 metres along the view, infinite in the sky."""

    label: np.ndarray
    thing: np.ndarray
    depth: np.ndarray


class Renderer:
    """One Blender scene that streets come and go in. Raises MissingRenderer when Blender is not installed."""

    def __init__(self, threads: int = 2):
        try:
            with quiet():
                import bpy
            import OpenEXR
        except ImportError as error:
            raise MissingRenderer(MISSING) from error
        self.bpy, self.exr = bpy, OpenEXR
        with quiet():
            bpy.ops.wm.read_factory_settings(use_empty=True)
        self.scene = bpy.context.scene
        self.materials = Materials(bpy)
        self._prototypes: dict[str, object] = {}
        self._things: list = []
        self._lamps: list = []
        self._configure(threads)

    def _configure(self, threads: int) -> None:
        bpy, scene = self.bpy, self.scene
        render, cycles, layer = scene.render, scene.cycles, scene.view_layers[0]
        render.engine = "CYCLES"
        render.threads_mode, render.threads = "FIXED", threads
        render.use_persistent_data = True
        render.film_transparent = True
        render.use_compositing = render.use_sequencer = False
        render.image_settings.media_type = "MULTI_LAYER_IMAGE"
        render.image_settings.file_format = "OPEN_EXR_MULTILAYER"
        render.image_settings.color_depth = "32"
        render.image_settings.exr_codec = "NONE"
        cycles.device, cycles.use_adaptive_sampling = "CPU", False
        cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 3, 2, 2
        cycles.transmission_bounces, cycles.transparent_max_bounces = 1, 2
        cycles.caustics_reflective = cycles.caustics_refractive = False
        cycles.blur_glossy, cycles.sample_clamp_indirect = 1.0, 4.0
        cycles.denoiser = "OPENIMAGEDENOISE"
        cycles.denoising_prefilter, cycles.denoising_quality = "FAST", "HIGH"
        cycles.use_light_tree, cycles.light_sampling_threshold = True, 0.02
        layer.use_pass_z = layer.use_pass_object_index = layer.use_pass_material_index = True
        world = bpy.data.worlds.new("sky")
        scene.world = world
        world.cycles.sampling_method, world.cycles.sample_map_resolution = "MANUAL", 128
        tree = world.node_tree
        tree.nodes.clear()
        image, back, out = (
            tree.nodes.new(n) for n in ("ShaderNodeTexEnvironment", "ShaderNodeBackground", "ShaderNodeOutputWorld")
        )
        tree.links.new(image.outputs[0], back.inputs[0])
        tree.links.new(back.outputs[0], out.inputs[0])
        self._sky = image
        camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
        scene.collection.objects.link(camera)
        scene.camera = camera
        sun = bpy.data.lights.new("sun", "SUN")
        sun.angle = np.radians(0.6)
        self._sun = bpy.data.objects.new("sun", sun)
        scene.collection.objects.link(self._sun)

    def load(self, street: Street, static: Mesh, camera: Camera) -> None:
        """Replace what is in the scene by a street and its camera."""
        bpy, road = self.bpy, street.road
        for thing in self._things:
            mesh = thing.data
            bpy.data.objects.remove(thing)
            if mesh.name.startswith("street"):
                bpy.data.meshes.remove(mesh)
        self._things = [self._object("street", upload(bpy, self.materials, "street", static))]
        for index, thing in enumerate(street.things):
            self._things.append(self._copy(index, thing, road))
        eye = self.scene.camera
        eye.matrix_world = _matrix(camera.rotation(), road.at(0.0, street.own, camera.height))
        eye.data.angle, eye.data.clip_end, eye.data.clip_start = np.radians(camera.view), 4000.0, 0.05

    def _copy(self, index: int, thing: Thing, road):
        if thing.name not in self._prototypes:
            self._prototypes[thing.name] = upload(self.bpy, self.materials, thing.name, prototypes.make(thing.name))
            self._prototypes[thing.name].use_fake_user = True
        copy = self._object(f"thing {index}", self._prototypes[thing.name])
        turn = float(road.heading(thing.s)) + thing.heading
        c, s = np.cos(turn) * thing.scale, np.sin(turn) * thing.scale
        rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, thing.scale]])
        copy.matrix_world = _matrix(rotation, road.at(thing.s, thing.t, thing.z))
        copy.color = (*linear(thing.colour), float(thing.lit))
        copy.pass_index = index + 1
        return copy

    def _object(self, name: str, mesh):
        thing = self.bpy.data.objects.new(name, mesh)
        self.scene.collection.objects.link(thing)
        return thing

    def light(self, sky: Sky, lamps: list[Light]) -> None:
        """Set sun, sky and lamps."""
        bpy = self.bpy
        picture = panorama(sky)
        height, width = picture.shape[:2]
        image = bpy.data.images.new("sky", width, height, float_buffer=True)
        image.colorspace_settings.name = "Non-Color"
        image.pixels.foreach_set(np.concatenate([picture, np.ones((height, width, 1), np.float32)], axis=2).ravel())
        image.update()
        old, self._sky.image = self._sky.image, image
        if old is not None:
            bpy.data.images.remove(old)
        self._sun.data.energy = sky.sun_strength
        self._sun.data.color = sky.sun_colour
        self._sun.hide_render = sky.sun_strength <= 0
        self._sun.matrix_world = _matrix(_facing(-sky.sun), np.zeros(3))
        for lamp in self._lamps:
            data = lamp.data
            bpy.data.objects.remove(lamp)
            bpy.data.lights.remove(data)
        self._lamps = [self._lamp(lamp) for lamp in lamps]

    def _lamp(self, lamp: Light):
        data = self.bpy.data.lights.new("lamp", lamp.kind.upper())
        data.energy, data.color, data.shadow_soft_size = lamp.power, lamp.colour, lamp.size
        if lamp.kind == "spot":
            data.spot_size, data.spot_blend = np.radians(lamp.angle), 0.6
        thing = self._object("lamp", data)
        thing.matrix_world = _matrix(_facing(lamp.towards), lamp.position)
        thing.visible_camera = False
        return thing

    def render(self, size: tuple[int, int], samples: int) -> tuple[np.ndarray, np.ndarray]:
        """Light that reaches the camera, (H, W, 3) float32 premultiplied, and how much of each pixel is covered, (H,
        W)."""
        cycles = self.scene.cycles
        cycles.samples, cycles.use_denoising, cycles.filter_width = samples, True, 1.3
        channels = self._shoot(size)
        rgba = channels["Combined"]
        return np.nan_to_num(rgba[..., :3], posinf=0.0), rgba[..., 3].clip(0, 1)

    def truth(self, size: tuple[int, int]) -> Truth:
        """Class, thing and depth at the middle of each pixel: one ray a pixel, nothing is averaged."""
        cycles = self.scene.cycles
        cycles.samples, cycles.use_denoising, cycles.filter_width = 1, False, 0.01
        channels = self._shoot(size)
        material = np.rint(channels["Material Index"]).astype(np.int32)
        label = np.where(material == 0, 10, material - 1).astype(np.uint8)
        depth = channels["Depth"].astype(np.float32)
        return Truth(label, np.rint(channels["Object Index"]).astype(np.int32), np.where(depth > 1e6, np.inf, depth))

    def _shoot(self, size: tuple[int, int]) -> dict[str, np.ndarray]:
        render = self.scene.render
        render.resolution_x, render.resolution_y, render.resolution_percentage = *size, 100
        with tempfile.TemporaryDirectory() as folder:
            render.filepath = str(Path(folder) / "frame.exr")
            with quiet():
                self.bpy.ops.render.render(write_still=True)
            with self.exr.File(render.filepath, separate_channels=True) as file:
                planes = {name: np.array(channel.pixels, np.float32)
                          for part in file.parts for name, channel in part.channels.items()}  # fmt: skip
        found: dict[str, np.ndarray] = {}
        for name in {n.rsplit(".", 1)[0] for n in planes}:
            parts = [p for p in ("R", "G", "B", "A", "V", "X", "Z") if f"{name}.{p}" in planes]
            stacked = np.stack([planes[f"{name}.{p}"] for p in parts], axis=-1)
            found[name.split(".", 1)[-1]] = stacked[..., 0] if len(parts) == 1 else stacked
        return found


def _matrix(rotation: np.ndarray, position: np.ndarray):
    """A 4 x 4 placement as Blender takes it."""
    from mathutils import Matrix

    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, position
    return Matrix(matrix.tolist())


def _facing(direction: np.ndarray) -> np.ndarray:
    """Rotation that turns -z to a direction."""
    z = -np.asarray(direction, np.float64)
    z = z / np.linalg.norm(z)
    x = np.cross((0, 1, 0) if abs(z[1]) < 0.9 else (1, 0, 0), z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], axis=1)


@contextlib.contextmanager
def quiet():
    """Blender writes its log to the process's own outputs, past Python's streams."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved, sink = [os.dup(1), os.dup(2)], os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    try:
        yield
    finally:
        for target, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, target)
            os.close(copy)
        os.close(sink)
