"""One file that holds a trained network and all that its answers need: models/<backbone>.zip.

It is a zip of two stored members: model.json, which is a ModelDescription, and weights.h5, the
weights as Keras saves them. Equal networks make equal bytes.
"""

import os
import shutil
import stat
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic_core import from_json

from detector.archives.zips import check_member, find_content, open_zip, read_whole
from detector.base.errors import ExpectedError
from detector.base.layout import CLASSES
from detector.base.section import ClassCounts, Section, Sha256
from detector.deployment.familiarity import Limits
from detector.networks.settings import ModelParams

FORMAT = 2
DESCRIPTION, WEIGHTS = "model.json", "weights.h5"

# Of calibrated probability; narrow at both ends, where a good network puts nearly all images.
EDGES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)

_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can have
_DESCRIPTION_BYTES = 1 << 20  # a hundred times what it needs
# What reading a damaged member raises; ValueError: why it is not read, OverflowError: where it lies
_DAMAGED = (zipfile.BadZipFile, EOFError, OSError, OverflowError, ValueError, struct.error)

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class _Part(Section):
    """NaN and infinity are no values."""

    model_config = ConfigDict(allow_inf_nan=False)


class DecisionRule(_Part):
    """The fields of evaluation.decision.Decision, which says what they mean."""

    temperature: float = Field(gt=0)
    goal: str = Field(max_length=32)
    threshold: Share
    abstain: Annotated[float, Field(ge=0)] | None
    sure_error: Share
    n: Count


class TrainingData(_Part):
    """What the network was trained on.

    name, archive_sha256: of the archive that the data are from. training_sha256: of images.npy and
    labels.npy of data/train, one after the other. training_images: number of each class.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64)
    archive_sha256: Sha256
    training_sha256: Sha256
    training_images: ClassCounts


class ResultOnTest(_Part):
    """Test images by what they are and what they are predicted at the frozen threshold.

    accuracy: share of right calls, those among them that are UNSURE as well. unsure: how many are.
    """

    n: int = Field(ge=1)
    accuracy: Share
    fake_predicted_fake: Count
    fake_predicted_real: Count
    real_predicted_fake: Count
    real_predicted_real: Count
    unsure: Count

    @classmethod
    def of(cls, labels: np.ndarray, predicted: np.ndarray, verdicts: np.ndarray) -> Self:
        """Count. labels, predicted: N, 0 = FAKE, 1 = REAL. verdicts: str N, UNSURE among them."""
        counts = np.bincount(2 * labels.astype(int) + predicted.astype(int), minlength=4).tolist()
        names = [f"{a.lower()}_predicted_{b.lower()}" for a in CLASSES for b in CLASSES]
        return cls(
            n=len(labels),
            accuracy=(counts[0] + counts[3]) / len(labels),
            unsure=int((verdicts == "UNSURE").sum()),
            **dict(zip(names, counts, strict=True)),
        )


class Scores(_Part):
    """Histogram of the test images by calibrated probability of REAL.

    edges: B + 1, rising from 0 to 1; a probability on an edge belongs above it, 1 to the last bin.
    fake, real: number of images of each class in each of the B bins.
    """

    edges: tuple[Share, ...] = Field(min_length=2)
    fake: tuple[Count, ...]
    real: tuple[Count, ...]

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        edges = self.edges
        if (edges[0], edges[-1]) != (0, 1) or list(edges) != sorted(set(edges)):
            raise ValueError("edges must rise from 0 to 1")
        if not len(self.fake) == len(self.real) == len(edges) - 1:
            raise ValueError("fake and real must have a count for each bin")
        return self

    @classmethod
    def of(cls, labels: np.ndarray, calibrated: np.ndarray) -> Self:
        """Count test images. labels: N, 0 = FAKE, 1 = REAL. calibrated: float N, of REAL."""
        fake, real = (np.histogram(calibrated[labels == i], EDGES)[0].tolist() for i in (0, 1))
        return cls(edges=EDGES, fake=tuple(fake), real=tuple(real))

    def counts(self, probability: float) -> tuple[int, int]:
        """Give how many FAKE and REAL images are in the bin of this calibrated probability.

        Raises ValueError unless it is from 0 to 1.
        """
        if not 0 <= probability <= 1:
            raise ValueError(f"a probability is from 0 to 1, not {probability}")
        place = int(np.searchsorted(self.edges, probability, side="right")) - 1
        place = min(place, len(self.fake) - 1)
        return self.fake[place], self.real[place]


class Versions(_Part):
    """What the network was packed with. backend: of Keras, as in tensorflow."""

    keras: str
    backend: str
    backend_version: str
    numpy: str


class ModelDescription(_Part):
    """All that is known of a network besides its weights.

    name: the key of `model` in params.yaml. settings: what networks.model builds it from,
    with the input's size in pixels.
    image_size: side of the images that it takes, in pixels. classes: by label. decision: how its
    probabilities become verdicts. test, scores: what it said of the test images. familiar: how the
    training images look.
    """

    format: Literal[2]
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_]*$", max_length=64)
    settings: ModelParams
    image_size: int = Field(ge=8, le=1024)
    classes: tuple[Literal["FAKE"], Literal["REAL"]]
    decision: DecisionRule
    data: TrainingData
    test: ResultOnTest
    scores: Scores
    familiar: Limits
    versions: Versions


def write_model(
    path: str | os.PathLike[str],
    description: ModelDescription,
    weights: str | os.PathLike[str],
) -> None:
    """Write both to a new archive. weights: a file of networks.model.save_weights.

    Raises OSError when a file cannot be read or written.
    """
    text = description.model_dump_json(indent=2) + "\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_member(DESCRIPTION, len(text.encode())), text)
        with (
            open(weights, "rb") as source,
            archive.open(_member(WEIGHTS, os.path.getsize(weights)), "w") as target,
        ):
            shutil.copyfileobj(source, target)


def _member(name: str, size: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _DATE)
    info.create_system = 3  # Unix, wherever it is packed
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    info.file_size = size  # tells zipfile whether to use zip64
    return info


def read_description(path: str | os.PathLike[str]) -> ModelDescription:
    """Give what the archive at `path` says of its network; the weights are not read.

    Raises ExpectedError for any other file, and for a model of another format.
    """
    with _opened(path) as archive:
        text = _read(path, archive)
    try:
        tree = from_json(text)
    except ValueError as error:
        raise refusal(path, f"{DESCRIPTION} is no JSON: {error}") from error
    found = tree.get("format") if isinstance(tree, dict) else None
    if found != FORMAT and isinstance(found, int):
        raise ExpectedError(
            f"{path}: {DESCRIPTION} has format {found}, but this program reads format {FORMAT}; "
            "take the version of the program that the model was made with"
        )
    try:
        return ModelDescription.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the whole"
        reason = first["msg"].removeprefix("Value error, ")
        raise refusal(path, f"{DESCRIPTION}, {key}: {reason}") from error


def _read(path: str | os.PathLike[str], archive: zipfile.ZipFile) -> bytes:
    if archive.getinfo(DESCRIPTION).file_size > _DESCRIPTION_BYTES:
        raise refusal(path, f"{DESCRIPTION} is larger than a description can be")
    try:
        return read_whole(archive, archive.getinfo(DESCRIPTION))
    except ValueError as error:
        raise refusal(path, f"{DESCRIPTION} is {error}") from error


@contextmanager
def unpacked_weights(path: str | os.PathLike[str]) -> Iterator[str]:
    """Give a file with the weights of the archive at `path`, whose checksum was compared.

    It lies in a folder of its own for temporary files, with a name that the archive has no say in,
    and is gone after the block. Raises ExpectedError for a damaged archive or a full disk.
    """
    with tempfile.TemporaryDirectory(prefix="detector-") as folder:
        target = os.path.join(folder, "model.weights.h5")  # Keras wants the suffix
        with _opened(path) as archive, open(target, "wb") as file:
            for chunk in _chunks(path, archive):
                try:
                    file.write(chunk)
                except OSError as error:
                    raise ExpectedError(
                        f"{path}: its weights cannot be unpacked to {folder} ({error.strerror}); "
                        "free some space there, or name another folder in TMPDIR"
                    ) from error
        yield target


def _chunks(path: str | os.PathLike[str], archive: zipfile.ZipFile) -> Iterator[bytes]:
    try:
        check_member(archive.getinfo(WEIGHTS))
        find_content(archive, archive.getinfo(WEIGHTS))
        with archive.open(WEIGHTS) as file:
            while chunk := file.read(1 << 20):  # at its end zipfile compares the CRC
                yield chunk
    except _DAMAGED as error:
        raise refusal(path, f"{WEIGHTS} is damaged: {error}") from error


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[zipfile.ZipFile]:
    """Open the zip at `path` and check that it has the two members and no other, stored."""
    if not Path(path).is_file():
        raise ExpectedError(
            f"{path}: no such model; 'dvc repro' makes models/<backbone>.zip, and --model takes "
            "the path of one"
        )
    try:
        archive = open_zip(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise refusal(path, f"it is no whole zip: {error}") from error
    with archive:
        names = sorted(info.filename for info in archive.infolist())
        if names != sorted((DESCRIPTION, WEIGHTS)):
            listed = ", ".join(map(repr, names[:4])) or "nothing"
            raise refusal(path, f"it holds {listed} and not {DESCRIPTION} and {WEIGHTS}")
        for info in archive.infolist():
            # Stored bytes cannot be more than the file: there are no bombs.
            if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
                raise refusal(path, f"{info.filename} is compressed, which models are not")
        yield archive


def refusal(path: str | os.PathLike[str], reason: object) -> ExpectedError:
    """Give the error for a file that is not a model, or not a whole one."""
    return ExpectedError(
        f"{path}: not a model of this program ({' '.join(str(reason).split())}); fetch it again, "
        "or make it with 'dvc repro'"
    )
