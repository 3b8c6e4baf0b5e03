"""A trained network as an ONNX file, for programs that have no Keras.

Keras' own export needs tf2onnx and TensorFlow as the backend, and its files differ from one export
to the next; so the layers are written one by one, in detector/onnx/layers.py.
"""

import os
from bisect import bisect_left

import numpy as np
import onnx
from onnx import helper

from detector.base.errors import ExpectedError
from detector.evaluation.decision import Decision
from detector.evaluation.metrics import FLOOR
from detector.onnx.graph import TO_CHANNELS_FIRST, Graph, UnknownLayer, Value
from detector.onnx.layers import network
from detector.prediction.detector import Detector

OPSET = 17  # of 2022: ONNX Runtime 1.12 and later
IR_VERSION = 8  # the one that belongs to it
INPUT, OUTPUT = "images", "probability_of_real"


def export(detector: Detector, path: str | os.PathLike[str]) -> None:
    """Write the network to `path`; equal networks make equal bytes.

    Input `images`: uint8 N,S,S,3, RGB. Output `probability_of_real`: float32 N, the network's own
    probability, not calibrated. The metadata say how it becomes a calibrated one and, exactly, a
    verdict (see `bounds`); `model.json` among them is the whole description. Raises ExpectedError
    for a network with a layer that is not known here, OSError when `path` cannot be written.
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
            "detector/onnx/layers.py would have to learn it"
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
    rule = Decision(**detector.description.decision.model_dump())
    fake_below, real_from = bounds(rule)
    calibrated = (
        "output" if rule.temperature == 1 else f"sigmoid(log(p / (1 - p)) / {rule.temperature!r})"
    )
    return {
        "model.json": detector.description.model_dump_json(),
        "classes": "0 = FAKE, 1 = REAL",
        "calibration": f"p = min(max(output, {FLOOR}), 1 - {FLOOR}); calibrated = {calibrated}",
        "verdict": (
            f"FAKE if output < {fake_below!r}, REAL if output >= {real_from!r}, else UNSURE"
        ),
        "fake_below": repr(fake_below),
        "real_from": repr(real_from),
    }


def bounds(decision: Decision) -> tuple[float, float]:
    """Return `(fake_below, real_from)`, the outputs between which the verdict is UNSURE.

    Both are float32, and as such exact: the verdict of every float32 from 0 to 1 is FAKE where it
    is less than fake_below, REAL where it is at least real_from, and UNSURE elsewhere, as
    `decision` says of it. inf: there is no such output.
    """

    def verdict(number: int) -> str:
        output = np.int32(number).view(np.float32)
        return decision.verdicts(decision.calibrate(np.float64(output)[None]))[0]

    # Floats from 0 on are in the order of their bits.
    outputs = range(int(np.float32(1).view(np.int32)) + 1)
    places = (
        bisect_left(outputs, True, key=lambda number: verdict(number) != "FAKE"),
        bisect_left(outputs, True, key=lambda number: verdict(number) == "REAL"),
    )
    below, start = (
        float(np.int32(place).view(np.float32)) if place in outputs else np.inf for place in places
    )
    return below, start
