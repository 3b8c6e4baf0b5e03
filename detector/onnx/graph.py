"""A graph of ONNX nodes that grows, and what its results are called.

Inside, images are N,C,y,x, as ONNX wants them, and not N,y,x,C.
"""

from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

TO_CHANNELS_FIRST, TO_CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


class UnknownLayer(Exception):
    """A layer that is not written here. The text says which."""


class Value(NamedTuple):
    """A result in the graph. shape: as Keras has it, N,y,x,C or N,C, N being None."""

    name: str
    shape: tuple[int | None, ...]


class Graph:
    """ONNX nodes and constants in the order in which they are added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of one output and give the output's name."""
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name, **attributes))
        return name

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """Add a constant and give its name."""
        name = f"constant_{len(self.constants)}"
        array = np.ascontiguousarray(value, dtype)
        self.constants.append(numpy_helper.from_array(array, name))
        return name
