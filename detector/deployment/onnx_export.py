"""A trained network as an ONNX file, for programs that have no Keras.

Keras' own export needs tf2onnx and TensorFlow as the backend, and its files differ from one export
to the next; so the layers are written one by one, in detector/deployment/onnx_layers.py.
"""

import os

import numpy as np
import onnx
from onnx import helper

from detector.deployment.detector import Detector
from detector.deployment.onnx_graph import TO_CHANNELS_FIRST, Graph, UnknownLayer, Value
from detector.deployment.onnx_layers import network
from detector.errors import ExpectedError
from detector.evaluation.calibration import FLOOR

OPSET = 17  # of 2022: ONNX Runtime 1.12 and later
IR_VERSION = 8  # the one that belongs to it
INPUT, OUTPUT = "images", "probability_of_real"


def export(detector: Detector, path: str | os.PathLike[str]) -> None:
    """Write the network to `path`; equal networks make equal bytes.

    Input `images`: uint8 N,S,S,3, RGB. Output `probability_of_real`: float32 N, the network's own
    probability, not calibrated. The metadata say how it becomes a calibrated one and a verdict;
    `model.json` among them is the whole description. Raises ExpectedError for a network with a
    layer that is not known here, OSError when `path` cannot be written.
    """
    side = detector.description.image_size
    graph = Graph()
    floats = graph.add("Cast", INPUT, to=onnx.TensorProto.FLOAT)
    pixels = Value(graph.add("Transpose", floats, perm=TO_CHANNELS_FIRST), (None, side, side, 3))
    try:
        result = network(graph, detector.network, [pixels])
    except UnknownLayer as error:
        raise ExpectedError(
            f"{detector.description.name}: cannot be written as ONNX ({error}); "
            "detector/deployment/onnx_layers.py would have to learn it"
        ) from error
    graph.nodes.append(
        helper.make_node("Reshape", [result, graph.constant([-1], np.int64)], [OUTPUT], OUTPUT)
    )
    images = helper.make_tensor_value_info(INPUT, onnx.TensorProto.UINT8, ["N", side, side, 3])
    real = helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, ["N"])
    model = helper.make_model(
        helper.make_graph(
            graph.nodes, detector.description.name, [images], [real], graph.constants
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="detector",
    )
    helper.set_model_props(model, metadata(detector))
    onnx.checker.check_model(model)
    with open(path, "wb") as file:
        file.write(model.SerializeToString(deterministic=True))


def metadata(detector: Detector) -> dict[str, str]:
    """Say in texts how the output becomes a calibrated probability and a verdict."""
    rule = detector.description.decision
    band = "inf" if rule.unsure_band is None else repr(rule.unsure_band)
    return {
        "model.json": detector.description.model_dump_json(),
        "classes": "0 = FAKE, 1 = REAL",
        "calibration": (
            f"p = min(max(output, {FLOOR}), 1 - {FLOOR}); "
            f"calibrated = sigmoid(log(p / (1 - p)) / {rule.temperature!r})"
        ),
        "verdict": (
            f"UNSURE if |logit(calibrated) - logit({rule.threshold!r})| < {band}, "
            f"else REAL if calibrated >= {rule.threshold!r}, else FAKE"
        ),
        "temperature": repr(rule.temperature),
        "threshold": repr(rule.threshold),
        "unsure_band": band,
    }
