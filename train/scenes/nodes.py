"""Shader nodes in short words, for `materials`."""

from __future__ import annotations

import numpy as np


class Nodes:
    """Short words for shader nodes; numbers stand for themselves."""

    def __init__(self, tree):
        self.tree = tree

    def add(self, kind: str, **inputs):
        node = self.tree.nodes.new(kind)
        for name, value in inputs.items():
            node.inputs[name].default_value = value
        return node

    def link(self, output, socket) -> None:
        self.tree.links.new(output, socket)

    def put(self, value, socket) -> None:
        if hasattr(value, "is_linked"):
            self.link(value, socket)
        elif np.ndim(value):
            socket.default_value = (*value[:3], 1.0)[: len(socket.default_value)]
        else:
            socket.default_value = value

    def math(self, operation: str, a, b=0.0):
        node = self.add("ShaderNodeMath")
        node.operation = operation
        self.put(a, node.inputs[0])
        self.put(b, node.inputs[1])
        return node.outputs[0]

    def vector(self, operation: str, a, b):
        node = self.add("ShaderNodeVectorMath")
        node.operation = operation
        self.put(a, node.inputs[0])
        self.put(b, node.inputs[1])
        return node.outputs[0]

    def scaled(self, a, factor):
        node = self.add("ShaderNodeVectorMath")
        node.operation = "SCALE"
        self.put(a, node.inputs[0])
        self.put(factor, node.inputs["Scale"])
        return node.outputs[0]

    def blend(self, factor, a, b):
        node = self.add("ShaderNodeMix")
        node.data_type = "FLOAT"
        for value, socket in zip((factor, a, b), (node.inputs[0], node.inputs[2], node.inputs[3]), strict=True):
            self.put(value, socket)
        return node.outputs[0]

    def vector_mix(self, factor, a, b):
        node = self.add("ShaderNodeMix")
        node.data_type = "VECTOR"
        for value, socket in zip((factor, a, b), (node.inputs[0], node.inputs[4], node.inputs[5]), strict=True):
            self.put(value, socket)
        return node.outputs[1]

    def range(self, value, low, high, to_low, to_high):
        node = self.add("ShaderNodeMapRange")
        node.interpolation_type = "SMOOTHSTEP"
        for item, socket in zip((value, low, high, to_low, to_high), node.inputs[:5], strict=True):
            self.put(item, socket)
        return node.outputs[0]

    def noise(self, position, scale: float, detail: float, roughness: float = 0.5):
        node = self.add("ShaderNodeTexNoise", Scale=scale, Detail=detail, Roughness=roughness)
        self.link(position, node.inputs["Vector"])
        return node.outputs[0]

    def separate(self, vector, axis: int):
        node = self.add("ShaderNodeSeparateXYZ")
        self.link(vector, node.inputs[0])
        return node.outputs[axis]

    def paint(self):
        node = self.add("ShaderNodeAttribute")
        node.attribute_name = "paint"
        return node.outputs["Vector"]

    def picture(self, image, scale: float):
        uv = self.add("ShaderNodeUVMap").outputs[0]
        node = self.add("ShaderNodeTexImage")
        node.image = image
        self.link(self.scaled(uv, scale) if scale != 1 else uv, node.inputs[0])
        return node.outputs[0]
