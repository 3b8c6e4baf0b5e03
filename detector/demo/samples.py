"""Images to try: some of the embedded sample's test images, which no network was trained on."""

import io
import os
import zipfile
from typing import NamedTuple

from PIL import Image

from detector.base.errors import ExpectedError
from detector.images.opener import FORMATS

# An eye, a flower and a cup of each class, no two of the same crop.
MEMBERS = (
    "test/REAL/0065.jpg",
    "test/FAKE/0125.jpg",
    "test/FAKE/0310.jpg",
    "test/REAL/0095.jpg",
    "test/FAKE/0370.jpg",
    "test/REAL/0285.jpg",
)


class Sample(NamedTuple):
    """One image: its label, REAL or FAKE, its file, the file's media type, its size in pixels."""

    label: str
    coded: bytes
    media_type: str
    width: int
    height: int


def read_samples(path: str | os.PathLike[str]) -> list[Sample]:
    """Give the images MEMBERS of the embedded sample, the zip at `path`.

    Raises ExpectedError where they are not in it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return [_sample(member, archive.read(member)) for member in MEMBERS]
    except (OSError, KeyError, zipfile.BadZipFile, ValueError) as error:
        raise ExpectedError(
            f"{path}: the page's samples cannot be read ({str(error) or type(error).__name__}); "
            "'git checkout data/sample/sample.zip' brings it back"
        ) from error


def _sample(member: str, coded: bytes) -> Sample:
    with Image.open(io.BytesIO(coded), formats=FORMATS) as image:
        return Sample(member.split("/")[1], coded, Image.MIME[image.format], *image.size)
