"""From the bytes of an upload to the page's answer, one call of a network at a time."""

import asyncio
import base64
import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from PIL import Image

from detector.base.errors import ExpectedError
from detector.demo import limits, wording
from detector.deployment.model_archive import ModelDescription, read_description
from detector.prediction import detector as deployment
from detector.prediction.detector import Detector
from detector.prediction.images import Opened
from detector.prediction.overlay import HEAT, SHARE

DECODERS = 2  # images opened at a time


class Judge:
    """The models of the page. They are opened when they are first asked; files lie behind names.

    paths: of models/<name>.zip. Raises ExpectedError for none, for two of one name, and as
    model_archive.read_description does. load: opens one.
    """

    def __init__(
        self, paths: Sequence[Path], load: Callable[[Path], Detector] = deployment.load
    ) -> None:
        if not paths:
            raise ExpectedError(
                "there is no model in models/; 'dvc repro' makes them, --model FILE names another"
            )
        self._paths = {path.stem: path for path in paths}
        if len(self._paths) < len(paths):
            raise ExpectedError("two models have the same name; rename one or give one alone")
        self.descriptions: dict[str, ModelDescription] = {
            name: read_description(path) for name, path in self._paths.items()
        }
        self._load = load
        self._loaded: dict[str, Detector] = {}
        self._decoders = ThreadPoolExecutor(DECODERS, "decode")
        # One thread: a Detector may be called by one at a time, and the next image waits its turn.
        self._network = ThreadPoolExecutor(1, "network")

    def warm_up(self, name: str) -> None:
        """Open a model and let it answer once, so that the first person does not wait for it."""
        size = self.descriptions[name].image_size
        blank = Opened(np.zeros((size, size, 3), np.uint8), "", size, size, (), ())
        self._network.submit(self._answer, name, blank).result()

    async def answer(self, name: str, coded: bytes) -> dict[str, Any]:
        """Judge one file by the model called `name`, one of `descriptions`; the answer as JSON.

        Raises limits.Refusal for a file that cannot be used.
        """
        loop = asyncio.get_running_loop()
        size = self.descriptions[name].image_size
        opened = await loop.run_in_executor(self._decoders, limits.decode, coded, size)
        return await loop.run_in_executor(self._network, self._answer, name, opened)

    def close(self) -> None:
        """End the threads; what waits for them is given up."""
        for pool in (self._decoders, self._network):
            pool.shutdown(wait=False, cancel_futures=True)

    def _answer(self, name: str, opened: Opened) -> dict[str, Any]:
        if name not in self._loaded:
            self._loaded[name] = self._load(self._paths[name])
        detector, model = self._loaded[name], self.descriptions[name]
        images = opened.pixels[np.newaxis]
        predicted = detector.predict(images)
        probability, verdict = float(predicted.probability[0]), str(predicted.verdict[0])
        predicted = int(probability >= model.decision.threshold)
        warned = wording.warnings(opened, detector.unfamiliar(images, [opened.codec])[0])
        of_100 = detector.of_100(probability)
        heat = detector.explain(images, np.array([predicted]))[0]
        return {
            "model": name,
            "verdict": verdict,
            "probability": probability,
            "threshold": model.decision.threshold,
            "unsure": wording.unsure_zone(model.decision),
            "warnings": warned,
            **wording.sentences(model, verdict, probability, of_100, bool(warned)),
            **wording.captions(opened, name, model.classes[predicted], cold=not heat.any()),
            "seen": png_uri(opened.pixels),
            "heat": png_uri(overlay(opened.pixels, heat)),
        }


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Mix the grey image, uint8 S,S,3, with the colours of its heat, S,S, 0 to 1; uint8 S,S,3."""
    grey = image.astype(np.float64).mean(axis=-1, keepdims=True)
    colours = 255 * matplotlib.colormaps[HEAT](heat)[..., :3]
    return np.rint((1 - SHARE) * grey + SHARE * colours).astype(np.uint8)


def png_uri(pixels: np.ndarray) -> str:
    """Give uint8 S,S,3 as a data: address of a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
