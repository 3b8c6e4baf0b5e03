"""From the arguments of the command predict to its answers, in bounded memory."""

import os
import re
import sys
from contextlib import closing, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detector.base.errors import ExpectedError
from detector.base.program import printable
from detector.commands.inputs import Found, find_images
from detector.commands.output import Answer, Csv, Json, Table
from detector.deployment.model_archive import read_description
from detector.prediction.images import Chunk, Entry, open_sources
from detector.prediction.overlay import overlay_png
from detector.prediction.wording import count

if TYPE_CHECKING:
    from detector.prediction.detector import Detector

OUTPUTS = {"table": Table, "json": Json, "csv": Csv}
UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")  # in names of files that are made here


def answer(arguments: list[str], path: str, output: str, explain: Path | None) -> bool:
    """Answer all images that the arguments mean, and say on standard error which have no answer.

    path: of the network. output: a key of OUTPUTS. explain: folder for pictures. Tells whether
    each image could be read. Raises ExpectedError for a web address, a model that cannot be used,
    and what cannot be written.
    """
    found = find_images(arguments)
    if explain is not None:
        _make_folder(explain)
    model = read_description(path)
    total = len(found.sources)
    writer = OUTPUTS[output](model)
    network = Network(path, explain, total)
    bad: list[Entry] = []
    # The processes decode on while the network is loaded, which takes seconds.
    with (
        closing(open_sources(found.sources, model.image_size, model.familiar)) as chunks,
        _progress(total) as bar,
    ):
        for chunk in chunks:
            answers = network.answers(chunk)
            bad += [one.entry for one in answers if one.entry.error is not None]
            with bar.external_write_mode(sys.stdout) if bar else nullcontext():
                writer.write(answers)
            if bar:
                bar.update(len(answers))
    writer.end()
    _tell(found, bad)
    return not bad


class Network:
    """Answer chunk after chunk with the network at `path`, which is loaded for the first image."""

    def __init__(self, path: str, explain: Path | None, total: int) -> None:
        """explain: folder for pictures, None for none. total: images, of all chunks."""
        self._path = path
        self._explain = explain
        self._digits = len(str(total))
        self._done = 0

    @cached_property
    def _detector(self) -> "Detector":
        from detector.prediction.detector import load

        return load(self._path)

    def answers(self, chunk: Chunk) -> list[Answer]:
        """Give an answer for each entry."""
        numbers = range(self._done + 1, self._done + len(chunk.entries) + 1)
        self._done += len(chunk.entries)
        if not len(chunk.pixels):
            return [Answer(entry) for entry in chunk.entries]
        said = self._detector.predict(chunk.pixels)
        names = [
            self._picture(number, entry.name)
            for number, entry in zip(numbers, chunk.entries, strict=True)
            if entry.error is None
        ]
        if self._explain is not None:
            self._draw(chunk.pixels, said.probability, names)
        of_100 = map(self._detector.of_100, said.probability.tolist())
        rows = zip(
            said.verdict.tolist(), said.probability.tolist(), said.raw.tolist(), of_100, names,
            strict=True,
        )  # fmt: skip
        return [
            Answer(entry, *(next(rows) if entry.error is None else ())) for entry in chunk.entries
        ]

    def _picture(self, number: int, name: str) -> str | None:
        """Name a picture after its image and its place, so that no two have the same name."""
        if self._explain is None:
            return None
        # With a suffix of its own, as it may come to lie beside images.
        stem = UNSAFE.sub("_", os.path.splitext(os.path.basename(name))[0]).strip("_")[:80]
        return str(self._explain / f"{number:0{self._digits}}_{stem or 'image'}.gradcam.png")

    def _draw(self, pixels: np.ndarray, probability: np.ndarray, names: list[str]) -> None:
        # What is explained of an UNSURE image, too, is the side of the threshold that it is on.
        predicted = probability >= self._detector.description.decision.threshold
        for name, image, heat in zip(
            names, pixels, self._detector.explain(pixels, predicted.astype(np.uint8)), strict=True
        ):
            _write(name, overlay_png(image, heat))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExpectedError(
            f"{folder}: no folder that can be made ({error.strerror}); give --explain another one"
        ) from error


def _write(path: str, content: bytes) -> None:
    try:
        with open(path, "wb") as file:
            file.write(content)
    except OSError as error:
        raise ExpectedError(
            f"{path}: cannot be written ({error.strerror}); free some space or give --explain "
            "another folder"
        ) from error


def _progress(total: int) -> Any:
    """Give a progress bar on standard error, None where nobody would see it move."""
    if total < 2 or sys.stderr is None or not sys.stderr.isatty():
        return nullcontext()
    from tqdm import tqdm

    return tqdm(total=total, unit="img", leave=False, mininterval=0.5)


def _tell(found: Found, bad: list[Entry]) -> None:
    """Say on standard error what has no answer."""
    for note in found.notes():
        print(f"note: {note}", file=sys.stderr)
    if bad:
        total = len(found.sources)
        print(f"error: {len(bad):,} of {count(total, 'image')} cannot be read:", file=sys.stderr)
    for entry in bad:
        print(f"  {printable(entry.name)}: {printable(entry.error)}", file=sys.stderr)
