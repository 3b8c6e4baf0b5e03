"""The archive as one file: what it holds, whether it is whole, and how a folder becomes one."""

import os
import stat
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from detector.archives import cifake
from detector.archives.zips import (
    is_folder,
    member_digests,
    open_zip,
    quoted,
    sha256_of_members,
    words,
)
from detector.base.errors import ExpectedError
from detector.base.layout import CIFAKE_SHA256, CLASSES, SPLITS, locate

_CHUNK = 1 << 20  # bytes held in memory at a time

# A zip has no zone and no date before this one; a fixed date makes equal folders equal bytes.
_DATE = (1980, 1, 1, 0, 0, 0)


class BadArchive(Exception):
    """The archive is not what it should be. The text says what is wrong, not where it lies."""


@dataclass(frozen=True)
class Contents:
    """What an archive holds: images of each split and class, its bytes, sha256 of its content."""

    images: dict[str, dict[str, int]]
    size: int
    sha256: str

    def __str__(self) -> str:
        splits = ", ".join(
            f"{split} " + " + ".join(f"{count} {name}" for name, count in classes.items())
            for split, classes in self.images.items()
        )
        return f"{splits}; {self.size} bytes, content sha256 {self.sha256}"


def examine(
    path: str | os.PathLike[str], sha256: str | None = None, whole: bool = False
) -> Contents:
    """Check the zip at `path` and tell what it holds.

    sha256: the hex digest that its content must have, see zips.content_sha256. whole: every member
    must be an image in its place, present once and undamaged; otherwise one image in its place is
    enough, since preprocessing reports the others.
    Raises BadArchive.
    """
    try:
        with open_zip(path) as archive:
            counts = _count(archive, whole)
            members = member_digests(archive, whole)
    except ValueError as error:
        raise BadArchive(str(error)) from error
    except (OSError, zipfile.BadZipFile) as error:
        reason = f"{_begins(path)}{words(error)}"
        raise BadArchive(f"it is not a readable zip archive ({reason})") from error
    digest = sha256_of_members(members)
    if sha256 not in (None, digest):
        how = f" ({cifake.difference(members)})" if sha256 == CIFAKE_SHA256 else ""
        raise BadArchive(f"its content has the sha256 {digest}, not the pinned {sha256}{how}")
    return Contents(counts, os.path.getsize(path), digest)


def copy(source: Path, target: Path) -> None:
    """Copy the file `source` to `target`, with a progress bar.

    Raises ExpectedError when `source` cannot be read, OSError when `target` cannot be written.
    """
    with (
        _reading(source) as file,
        open(target, "wb") as out,
        _bar("copying", os.path.getsize(source), "B") as bar,
    ):
        for chunk in _chunks(file, source):
            out.write(chunk)
            bar.update(len(chunk))


def pack(folder: Path, target: Path) -> None:
    """Pack every file under `folder` into the new zip `target`, with a progress bar.

    The bytes depend only on the files' names and contents: members are sorted and stored as they
    are (JPEGs do not shrink), dated 1980-01-01, without entries for folders.
    Raises ExpectedError for a link that leads out of `folder` or to a folder, for anything that is
    no regular file and for what cannot be read; OSError when `target` cannot be written.
    """
    members = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    with (
        zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive,
        _bar("packing", len(members), " files") as bar,
    ):
        for name in sorted(members):
            _add(archive, name, members[name])
            bar.update()


def _add(archive: zipfile.ZipFile, name: str, path: Path) -> None:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ExpectedError(f"{name!r}: the name is not UTF-8; rename the file") from error
    info = zipfile.ZipInfo(name, _DATE)
    info.create_system = 3  # Unix, wherever it is packed
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    with _reading(path) as file:
        info.file_size = os.fstat(file.fileno()).st_size  # tells zipfile whether to use zip64
        with archive.open(info, "w") as out:
            for chunk in _chunks(file, path):
                out.write(chunk)


def _files(folder: Path) -> Iterator[Path]:
    root = folder.resolve()

    def refuse(error: OSError) -> None:
        raise ExpectedError(
            f"{error.filename}: cannot be read ({error.strerror}); mend its permissions"
        ) from error

    for parent, folders, files in os.walk(folder, onerror=refuse):
        for path in (Path(parent, name) for name in folders + files):
            if os.path.islink(path):
                _check_link(path, root)
        for path in (Path(parent, name) for name in files):
            if not os.path.isfile(path):
                raise ExpectedError(
                    f"{path}: is neither a file nor a folder, or may not be looked at; "
                    "remove it or mend its permissions"
                )
            yield path


def _check_link(link: Path, root: Path) -> None:
    goal = Path(os.path.realpath(link))  # unlike Path.resolve, does not fail on a loop
    if not goal.is_relative_to(root):
        wrong = "leads out of the folder"
    elif goal.is_dir():
        wrong = "leads to a folder"
    elif not goal.is_file():
        wrong = "leads nowhere"
    else:
        return
    raise ExpectedError(f"{link}: this link {wrong}; put the files themselves in its place")


def _count(archive: zipfile.ZipFile, whole: bool) -> dict[str, dict[str, int]]:
    counts = {split: dict.fromkeys(reversed(CLASSES), 0) for split in SPLITS}
    names = [info.filename for info in archive.infolist() if not is_folder(info)]
    wrong = []
    for name in names:
        try:
            split, label = locate(name)
        except ValueError as error:
            wrong.append((name, str(error)))
        else:
            counts[split][CLASSES[label]] += 1
    if wrong and (whole or len(wrong) == len(names)):
        name, reason = wrong[0]
        raise BadArchive(
            f"{len(wrong)} of its {len(names)} files are not images in their place, "
            f"such as {quoted(name)} ({reason})"
        )
    if not names:
        raise BadArchive("it holds no files")
    if whole and len(set(names)) < len(names):
        name = Counter(names).most_common(1)[0][0]
        raise BadArchive(f"it holds {quoted(name)} more than once")
    return counts


def _begins(path: str | os.PathLike[str]) -> str:
    # A server's error page is the usual impostor; showing its first bytes says so.
    try:
        with open(path, "rb") as file:
            start = file.read(24)
    except OSError:
        return ""
    return "" if start.startswith(b"PK") else f"it begins with {start!r}; "


def _reading(path: Path) -> IO[bytes]:
    try:
        return open(path, "rb")
    except OSError as error:
        raise _cannot_read(path, error) from error


def _chunks(file: IO[bytes], path: Path) -> Iterator[bytes]:
    while True:
        try:
            chunk = file.read(_CHUNK)
        except OSError as error:
            raise _cannot_read(path, error) from error
        if not chunk:
            return
        yield chunk


def _cannot_read(path: Path, error: OSError) -> ExpectedError:
    return ExpectedError(f"{path}: cannot be read ({error.strerror}); mend the file or its disk")


def _bar(what: str, total: int, unit: str) -> Any:
    # Nothing for work of under a second.
    return tqdm(
        total=total,
        desc=what,
        unit=unit,
        unit_scale=unit == "B",
        delay=1,
        leave=False,
        disable=None,  # where stderr is no terminal
    )
