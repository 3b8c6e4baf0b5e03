"""Where an image stands in an archive, and what its place and name say about it.

An archive is a zip with members `<split>/<class>/<file>`, as CIFAKE is packed on Kaggle:

    train/REAL/0000 (2).jpg      train/FAKE/1000.jpg
    test/REAL/0000 (2).jpg       test/FAKE/0.jpg
"""

import re
from collections.abc import Mapping

SPLITS = ("train", "test")

# CIFAKE is what has this content, see archives.zips.content_sha256, and nothing else is.
CIFAKE_SHA256 = "ea9f7d74b64f6b14d969c95be945064fb1148ca73b17916bedcbde515b36baee"

# The position is the label: 0 = FAKE, 1 = REAL, as in the paper, whose precision, recall and F1
# are those of REAL.
CLASSES = ("FAKE", "REAL")

# Of a share seen as 100 % of fewer images, Wilson's 95 % interval goes below 93 %.
FEW = 50

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff")

# `name (k).jpg` in CIFAKE is the k-th of these; without a bracket it is the first.
CIFAR_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
# Left in archives by the file managers of macOS and Windows; not images, whatever they are called.
_SYSTEM_FILES = {".DS_Store", "Thumbs.db", "desktop.ini"}

# One object for all members of a place: a million tuples of their own take 100 MB.
_PLACES = {(split, name): (split, i) for split in SPLITS for i, name in enumerate(CLASSES)}

_CIFAKE_NAME = re.compile(r"\d{1,4}(?: \((10|[2-9])\))?\.jpg")


def locate(member: str) -> tuple[str, int]:
    """Give the split and the label of the archive member called `member`.

    Returns `(split, label)`: split is "train" or "test", label indexes CLASSES.
    Raises ValueError, whose text is the reason, when the name does not follow the layout.
    """
    parts = member.split("/")
    if member.startswith("/") or "\\" in member or ":" in parts[0] or ".." in parts:
        raise ValueError("the name leads out of the archive")
    if len(parts) != 3 or parts[0] not in SPLITS or parts[1] not in CLASSES:
        raise ValueError("not in train/REAL, train/FAKE, test/REAL or test/FAKE")
    if parts[2].startswith("."):
        raise ValueError("a hidden file")
    if not parts[2].lower().endswith(IMAGE_SUFFIXES):
        raise ValueError(f"the name does not end in {', '.join(IMAGE_SUFFIXES)}")
    return _PLACES[parts[0], parts[1]]


def is_system_file(member: str) -> bool:
    """Tell whether a member is a file manager's own and may be ignored (it is still reported)."""
    parts = member.split("/")
    return parts[0] == "__MACOSX" or parts[-1] in _SYSTEM_FILES


def cifar_class(member: str) -> int | None:
    """Give the CIFAR-10 class (index into CIFAR_CLASSES) that a CIFAKE file name tells, if any.

    For class slices and for stratifying a split only: names give the label away, so they are
    never a feature.
    """
    match = _CIFAKE_NAME.fullmatch(member.rsplit("/", 1)[-1])
    if match is None:
        return None
    return int(match.group(1) or 1) - 1


def small_classes(images: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return a sentence on each class with fewer than FEW images in val or test.

    images: number of images by split and class, as in data/audit.json; other splits are passed
    over.
    """
    rests = {
        "val": "temperature, threshold and unsure band rest on them",
        "test": "trust the intervals, not the figures",
    }
    return [
        f"only {n:,} {label} {'image' if n == 1 else 'images'} in {split}, fewer than {FEW}: {why}"
        for split, why in rests.items()
        for label, n in images.get(split, {}).items()
        if n < FEW
    ]
