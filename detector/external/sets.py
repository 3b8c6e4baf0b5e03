"""Sets of images beside the archive: where they lie, what is in them, what gives the label away.

A set is a zip `name.zip` or a folder `name`, in which images lie below a folder called REAL or FAKE
(in any case; the innermost one counts):

    holiday.zip: REAL/2024/a.jpg         midjourney/fake/b.png         other.zip: test/FAKE/x/c.webp
"""

import hashlib
import os
import re
import zipfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from detector.archives.zips import is_folder, open_zip, quoted
from detector.audit.audit import codec_warnings, codecs_by_class, file_sizes_by_class
from detector.audit.giveaways import texts, weighed_file_sizes
from detector.base.errors import ExpectedError
from detector.base.layout import CLASSES, IMAGE_SUFFIXES, is_system_file
from detector.images.decode import BadImage

OTHER_ARCHIVES = (".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zst")
LISTED = 20  # bad and ignored files that the report names; it counts them all
SMIRNOV = 1.36  # for a 5 % level, see size_warnings

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_TWICE = "the archive has this name twice; the last one is used"
_TAKEN = ("sets.json", "bad_files.csv")  # what lies beside the sets' folders in data/sets


@dataclass(frozen=True)
class ImageSet:
    """One set as it was found. labels: by member, in sorted order, 0 = FAKE, 1 = REAL."""

    name: str
    path: Path
    labels: dict[str, int]
    bad: list[BadImage]  # files that are meant as images but cannot be used
    ignored: list[str]  # files that are not meant as images


def find_sets(folder: str | os.PathLike[str]) -> list[ImageSet]:
    """List the sets in `folder`, in order of their names, without decoding an image.

    Hidden files, those of file managers and files of other kinds (README.md) are passed over.
    Raises ExpectedError when `folder` cannot be read, for two sets of one name, a name with other
    characters than letters, digits, - _ and ., a link that leads out, an image or another archive
    that lies there by itself, an unreadable zip and a set without images.
    """
    try:
        entries = sorted(Path(folder).iterdir())
    except OSError as error:
        raise ExpectedError(
            f"{folder}: not a folder that can be read ({error.strerror}); make it, empty if there "
            "are no other sets to judge, or set external.path"
        ) from error
    sets: dict[str, ImageSet] = {}
    for path in entries:
        name = None if path.name.startswith(".") else _set_name(path)
        if name is None or is_system_file(path.name):
            continue
        # Not told apart by the file systems of Windows and macOS.
        if name.casefold() in sets:
            other = sets[name.casefold()].path
            raise ExpectedError(f"{path}: {other} has this name too; rename one of the two sets")
        _check_inside(path, Path(folder))
        sets[name.casefold()] = _listed(name, path)
    return sorted(sets.values(), key=lambda found: found.name)


def _set_name(path: Path) -> str | None:
    """Give the name of the set at `path`, None where there is no set."""
    suffix = path.suffix.lower()
    if path.is_dir():
        name = path.name
    elif suffix == ".zip":
        name = path.stem
    elif suffix in OTHER_ARCHIVES:
        raise ExpectedError(f"{path}: an archive of another kind; pack it as zip, or unpack it")
    elif suffix in IMAGE_SUFFIXES:
        raise ExpectedError(
            f"{path}: an image by itself; move it to a set, such as {path.parent / 'my' / 'REAL'}"
        )
    else:
        return None
    if not _NAME.fullmatch(name) or name in _TAKEN:
        raise ExpectedError(
            f"{str(path)!r}: no name for a set; rename it to at most 64 letters, digits, - _ and . "
            f"that do not begin with - and are none of {', '.join(_TAKEN)}"
        )
    return name


def _check_inside(path: Path, folder: Path) -> None:
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise ExpectedError(f"{path}: this link leads out of {folder}; put the set itself there")


def _listed(name: str, path: Path) -> ImageSet:
    names, bad = _files_of_folder(path) if path.is_dir() else (_files_of_zip(path), [])
    labels: dict[str, int] = {}
    ignored = []
    for member in sorted(names):
        try:
            label = label_of(member)
            if label is None:
                ignored.append(_printable(member))
            elif member in labels:
                bad.append(BadImage(member, _TWICE))
            else:
                labels[member] = label
        except ValueError as reason:
            bad.append(BadImage(_printable(member), str(reason)))
    bad.sort()
    if not labels:
        first = ""
        if bad:
            member, reason = bad[0]
            first = f" (first of {len(bad)} others: {quoted(member)}, {reason})"
        raise ExpectedError(
            f"{path}: no image lies below a folder called REAL or FAKE in it{first}; arrange the "
            "set as external/README.md says, or remove it"
        )
    return ImageSet(name, path, labels, bad, ignored)


def _files_of_zip(path: Path) -> list[str]:
    try:
        with open_zip(path) as opened:
            return [info.filename for info in opened.infolist() if not is_folder(info)]
    except (OSError, zipfile.BadZipFile) as error:
        raise ExpectedError(
            f"{path}: not a readable zip ({error}); replace it or remove it"
        ) from error


def _files_of_folder(folder: Path) -> tuple[list[str], list[BadImage]]:
    """Give the names of the files below a folder, and the links and such that are not read."""
    root = Path(os.path.realpath(folder))

    def refuse(error: OSError) -> None:
        raise ExpectedError(
            f"{error.filename}: cannot be read ({error.strerror}); mend its permissions"
        ) from error

    names, bad = [], []
    for parent, folders, files in os.walk(folder, onerror=refuse):  # follows no link to a folder
        for number, path in enumerate(Path(parent, name) for name in files + folders):
            member = path.relative_to(folder).as_posix()
            reason = None if _hidden(member) else _unread(path, root)
            if reason:
                bad.append(BadImage(_printable(member), reason))
            elif number < len(files):
                names.append(member)
    return names, bad


def _unread(path: Path, root: Path) -> str | None:
    """Say why what lies at `path` is not read, if so; root: of the set, without links."""
    goal = Path(os.path.realpath(path))  # unlike Path.resolve, does not fail on a loop
    if path.is_symlink() and not goal.is_relative_to(root):
        return "a link that leads out of the set"
    if path.is_symlink() and not goal.is_file():
        return "a link to a folder" if goal.is_dir() else "a link that leads nowhere"
    return None if path.is_file() or path.is_dir() else "neither a file nor a folder"


def _hidden(member: str) -> bool:
    return any(part.startswith(".") for part in member.split("/"))


def label_of(member: str) -> int | None:
    """Give the label of the image called `member`, or None for a file that is not meant as one.

    Not meant as images are hidden files, those of file managers, and, outside of REAL and FAKE,
    files of other kinds. Raises ValueError, whose text is the reason, for a name that cannot be
    used.
    """
    *folders, name = parts = member.split("/")
    if member.startswith("/") or "\\" in member or ".." in parts:
        raise ValueError("the name leads out of the set")
    if is_system_file(member) or _hidden(member):
        return None
    classes = [folder.upper() for folder in folders if folder.upper() in CLASSES]
    image = name.lower().endswith(IMAGE_SUFFIXES)
    if not classes and not image:
        return None
    if not classes:
        raise ValueError("not below a folder called REAL or FAKE")
    if not image:
        raise ValueError(f"the name does not end in {', '.join(IMAGE_SUFFIXES)}")
    if _printable(member) != member:
        raise ValueError("the name is not UTF-8")
    return CLASSES.index(classes[-1])


def _printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def choose(labels: dict[str, int], maximum: int | None) -> dict[str, int]:
    """Keep at most `maximum` members of each class, those with the lowest SHA-256 of their name.

    The choice does not change with the place or order of the set, and changes little with its size.
    """
    if maximum is None:
        return labels
    kept: set[str] = set()
    for label in range(len(CLASSES)):
        of_class = [member for member in labels if labels[member] == label]
        kept.update(sorted(of_class, key=lambda m: hashlib.sha256(m.encode()).digest())[:maximum])
    return {member: label for member, label in labels.items() if member in kept}


def images_by_class(labels: Iterable[int]) -> dict[str, int]:
    """Count FAKE and REAL."""
    counts = Counter(labels)
    return {name: counts[label] for label, name in enumerate(CLASSES)}


def audit_set(table: pd.DataFrame, size: int) -> dict[str, Any]:
    """Describe the files of a set and warn of what gives the label away.

    table: of external_images.write_set, not empty. converted counts what was done to images besides
    the resizing; file_bytes is of audit.file_sizes_by_class, without the class that is absent.
    """
    images = images_by_class(table["label"])
    absent = [name for name in CLASSES if not images[name]]
    codecs = codecs_by_class(table)
    changes = Counter(change for of_image in table["changes"] for change in of_image)
    file_bytes = file_sizes_by_class(table)
    warnings = []
    if absent:
        other = CLASSES[1 - CLASSES.index(absent[0])]
        warnings.append(
            f"only {other} images: accuracy is their recall, and there is no AUC; coders and sizes "
            f"cannot be held against those of {absent[0]} ones"
        )
    else:
        warnings += codec_warnings(codecs)
        # Files of images of other sizes differ in bytes, too.
        warnings += size_warnings(table, size) or texts(weighed_file_sizes(table, file_bytes))
    if changes["enlarged"]:
        warnings.append(
            f"{changes['enlarged']:,} of {len(table):,} images are smaller than {size}x{size} and "
            "were enlarged, which no training image was"
        )
    return {
        "images": images,
        "warnings": warnings,
        "codecs": codecs,
        "pixels": sizes_by_class(table),
        "file_bytes": {key: value for key, value in file_bytes.items() if key not in absent},
        "converted": dict(sorted(changes.items())),
    }


def sizes_by_class(table: pd.DataFrame) -> dict[str, Any]:
    """Give for each class how many sizes in pixels occur, and the three most common with counts."""
    sizes = table["width"].astype(str) + "x" + table["height"].astype(str)
    result = {}
    for label, name in enumerate(CLASSES):
        counts = Counter(sizes[table["label"] == label])
        common = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:3]
        result[name] = {"distinct": len(counts), "most_common": dict(common)}
    return result


def size_warnings(table: pd.DataFrame, size: int) -> list[str]:
    """Warn when the shorter sides, which resizing starts from, differ between the classes.

    They do when the largest gap between their two distribution functions (Kolmogorov and Smirnov)
    is over 0.05 and over what chance gives in 5 % of samples, 1.36 * sqrt((n + m) / (n * m))
    (Smirnov, Annals of Mathematical Statistics 19, 1948); or is 1, for few images. Both classes
    must be there.
    """
    shorter = table[["width", "height"]].min(axis=1)
    fake, real = (shorter[table["label"] == label] for label in range(len(CLASSES)))
    at = np.unique(shorter)
    below_fake, below_real = (
        np.searchsorted(np.sort(sides), at, side="right") / len(sides) for sides in (fake, real)
    )
    gap = np.abs(below_fake - below_real).max()
    chance = SMIRNOV * np.sqrt((len(fake) + len(real)) / (len(fake) * len(real)))
    if gap < min(1.0, max(0.05, chance)):
        return []
    return [
        f"the shorter side of FAKE images is {fake.median():.0f} pixels, that of REAL ones "
        f"{real.median():.0f} (medians; the distributions are {gap:.0%} apart): resizing them to "
        f"{size} leaves other traces, and a network can tell the classes by those"
    ]
