"""Answers as a table for people, or as JSON or CSV for programs; written as they come."""

import csv
import io
import json
import os
import shutil
import sys
import textwrap
from abc import ABC, abstractmethod
from collections import Counter
from typing import Any, NamedTuple

import typer

from detector.base.errors import ExpectedError
from detector.base.program import printable
from detector.deployment.model_archive import ModelDescription
from detector.prediction.images import Entry
from detector.prediction.wording import count, heading, meaning, percent

COLOURS = {"FAKE": "red", "REAL": "cyan", "UNSURE": "yellow"}


class Answer(NamedTuple):
    """What is said of one image.

    entry: the image, or why there is none; then all else is None. verdict: REAL, FAKE or UNSURE.
    probability: calibrated, of REAL. raw: as the network gave it. of_100: so many of 100 test
    images with such a probability were fake, by so many test images. overlay: path of the PNG.
    """

    entry: Entry
    verdict: str | None = None
    probability: float | None = None
    raw: float | None = None
    of_100: tuple[int, int] | None = None
    overlay: str | None = None


class Output(ABC):
    """Write answers to standard output; a subclass says how.

    counts: what was written: images by verdict, those `unreadable`, those `warned` of. Raises
    ExpectedError when standard output is closed.
    """

    EMPTY = True  # whether there is output where no image is answered

    def __init__(self, model: ModelDescription) -> None:
        if sys.stdout is None:
            raise ExpectedError("standard output is closed, so that no answer can be given")
        self.model = model
        self.counts: Counter[str] = Counter()
        self.terminal = sys.stdout.isatty()
        self._begun = False

    def write(self, answers: list[Answer]) -> None:
        """Write some answers, in order."""
        for answer in answers:
            self.counts["unreadable" if answer.verdict is None else answer.verdict] += 1
            self.counts["warned"] += bool(answer.entry.warnings)
        self._begin()
        emit("".join(map(self.line, answers)))

    def end(self) -> None:
        """Write what comes after the answers."""
        self._begin()
        if self._begun:
            emit(self.last())

    def _begin(self) -> None:
        if not self._begun and (self.EMPTY or any(self.counts[name] for name in COLOURS)):
            self._begun = True
            emit(self.first())

    def first(self) -> str:
        """Give what comes before the answers."""
        return ""

    @abstractmethod
    def line(self, answer: Answer) -> str:
        """Give the text of one answer."""

    def last(self) -> str:
        """Give what comes after the answers."""
        return ""


class Table(Output):
    """For people: a line an image with its warnings below, and what the answers mean."""

    EMPTY = False

    def first(self) -> str:
        """Give which network answers, and the names of the columns."""
        sys.stdout.reconfigure(errors="backslashreplace")
        return wrapped(heading(self.model)) + "\nverdict     P(REAL)  fake of 100  file\n"

    def line(self, answer: Answer) -> str:
        """Give a line an image; a verdict with a question mark has warnings."""
        entry, verdict = answer.entry, answer.verdict
        if verdict is None:
            return ""  # listed on standard error
        doubted = bool(entry.warnings)
        fakes, such = answer.of_100
        mark = f"{verdict} ?" if doubted else verdict
        shown = self._styled(f"{mark:10}", fg=COLOURS[verdict], bold=not doubted)
        # The test set says nothing of images that are unlike it.
        share = "-" if doubted or not such else fakes
        probability, name = percent(answer.probability), printable(entry.name)
        lines = [f"{shown}  {probability:>7}  {share:>11}  {name}\n"]
        for warning in entry.warnings:
            lines.append(self._styled(wrapped(warning, "  ! ").rstrip(), fg="yellow") + "\n")
        if answer.overlay is not None:
            lines.append(f"  > {printable(answer.overlay)}\n")
        return "".join(lines)

    def _styled(self, text: str, **style: Any) -> str:
        # https://no-color.org
        coloured = self.terminal and not os.environ.get("NO_COLOR")
        return typer.style(text, **style) if coloured else text

    def last(self) -> str:
        """Give counts, and what verdicts and columns mean."""
        said = [self.counts[name] for name in COLOURS]
        parts = ", ".join(f"{n:,} {name}" for n, name in zip(said, COLOURS, strict=True))
        lines = [f"{count(sum(said), 'image')}: {parts}."]
        if warned := self.counts["warned"]:
            lines.append(
                f"{count(warned, 'verdict')} marked ?: of an image that is not like the training "
                "images, as said below its name; do not rely on such a verdict."
            )
        lines += meaning(self.model)
        lines.append(
            "Fake of 100: of 100 test images with about such a P(REAL) so many were FAKE; - where "
            "the test set has none, or none that is like the image."
        )
        return "\n" + "".join(map(wrapped, lines))


class Json(Output):
    """One JSON document, a line an image, in ASCII: file names can be had back as they are."""

    def first(self) -> str:
        """Give the network, and the opening of the list."""
        model = self.model.model_dump(mode="json")
        about = {
            "model": {name: model[name] for name in ("name", "image_size", "settings", "versions")},
            "data": model["data"],
            "decision": model["decision"],
            "test": model["test"],
            "meaning": meaning(self.model),
        }
        # Without its closing brace, as the images follow.
        self._comma = ""
        return json.dumps(about, allow_nan=False)[:-1] + ',\n"images": ['

    def line(self, answer: Answer) -> str:
        """Give an object: with `error`, or with verdict, probability and the rest."""
        entry = answer.entry
        fields: dict[str, Any] = {"file": entry.name}
        if answer.verdict is None:
            fields["error"] = entry.error
        else:
            fakes, such = answer.of_100
            fields |= {
                "verdict": answer.verdict,
                "probability": answer.probability,
                "raw": answer.raw,
                "of_100": {"fake": fakes if such else None, "test_images": such},
                "width": entry.width,
                "height": entry.height,
                "changes": list(entry.changes),
                "warnings": list(entry.warnings),
            }
        if answer.overlay is not None:
            fields["overlay"] = answer.overlay
        comma, self._comma = self._comma, ","
        return f"{comma}\n{json.dumps(fields, allow_nan=False)}"

    def last(self) -> str:
        """Give the end of the list, and the counts."""
        names = (*COLOURS, "warned", "unreadable")
        counts = json.dumps({name: self.counts[name] for name in names}, allow_nan=False)
        return f'\n],\n"counts": {counts}}}\n'


class Csv(Output):
    """A row an image, unreadable ones too; UTF-8 with the bytes of file names as they are."""

    COLUMNS = (
        "file", "verdict", "probability", "raw", "fake_of_100", "test_images", "width", "height",
        "changes", "warnings", "overlay", "error",
    )  # fmt: skip

    def first(self) -> str:
        """Give the names of the columns."""
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape", newline="")
        return _row(self.COLUMNS)

    def line(self, answer: Answer) -> str:
        """Give a row; several changes or warnings are parted by semicolons."""
        entry = answer.entry
        fakes, such = answer.of_100 or (None, None)
        name, overlay = entry.name, answer.overlay
        if self.terminal:
            name, overlay = printable(name), overlay and printable(overlay)
        return _row(
            (
                name, answer.verdict, answer.probability, answer.raw, fakes if such else None, such,
                entry.width, entry.height, "; ".join(entry.changes), "; ".join(entry.warnings),
                overlay, entry.error,
            )
        )  # fmt: skip


def _row(values: tuple[Any, ...]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(values)
    return buffer.getvalue()


def wrapped(text: str, mark: str = "") -> str:
    """Fold text into lines that fit the terminal; `mark` begins the first, as deep are others."""
    width = min(max(shutil.get_terminal_size().columns, 40), 100)
    indent = " " * len(mark)
    return textwrap.fill(text, width, initial_indent=mark, subsequent_indent=indent) + "\n"


def emit(text: str) -> None:
    """Write to standard output and pass it on at once.

    Raises BrokenPipeError when nobody reads it any more, ExpectedError when it cannot be written
    for another reason.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ExpectedError(f"standard output cannot be written ({error.strerror})") from error
