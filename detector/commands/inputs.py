"""From the arguments of a command to the images that are meant by them."""

import glob
import os
import re
import stat
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from detector.base.errors import ExpectedError
from detector.base.layout import IMAGE_SUFFIXES, is_system_file
from detector.base.program import printable
from detector.images.external_images import MAXIMUM_BYTES
from detector.prediction.images import Source
from detector.prediction.wording import count

STANDARD_INPUT = "-"
SUFFIXES_NAMED = 5  # of files that are passed over; all are counted

_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


@dataclass
class Found:
    """What the arguments mean. sources: each once, in the order of the arguments.

    passed_over: files in folders that are no images by their names, by their suffix. hidden: files
    and folders whose name begins with a dot or that a file manager left. links: to folders, which
    are not followed. repeated: files that were named more than once.
    """

    sources: list[Source] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    hidden: int = 0
    links: int = 0
    repeated: int = 0

    def notes(self) -> list[str]:
        """Say in sentences what was left out."""
        said = []
        if self.passed_over:
            kinds = [
                f"{number:,} {printable(suffix) or 'without a suffix'}"
                for suffix, number in self.passed_over.most_common(SUFFIXES_NAMED)
            ]
            kinds += ["others"] * (len(self.passed_over) > SUFFIXES_NAMED)
            said.append(
                f"{count(self.passed_over.total(), 'file')} in folders passed over, whose names do "
                f"not end in {', '.join(IMAGE_SUFFIXES)}: {', '.join(kinds)}"
            )
        if self.hidden:
            said.append(
                f"{count(self.hidden, 'hidden file', 'hidden files or folders')} passed over"
            )
        if self.links:
            said.append(f"{count(self.links, 'link')} to folders not followed")
        if self.repeated:
            said.append(f"{count(self.repeated, 'repeated name')}: each file is answered once")
        return said


def find_images(arguments: list[str]) -> Found:
    """List files, the images below folders, matches of patterns, and - for standard input.

    A name that exists means itself, whatever characters it has. Files of a folder come sorted, and
    before those of the folders in it. What cannot be had is a Source with its error. Raises
    ExpectedError for a web address.
    """
    found = Found()
    for argument in arguments:
        if _URL.match(argument) and not os.path.lexists(argument):
            raise ExpectedError(
                f"{argument}: web addresses are not fetched; save the image and name its file"
            )
    seen: set[str] = set()
    for argument in arguments:
        for source in _meant_by(argument, found, seen):
            # A link and what it leads to are two names; one name written in two ways is one.
            key = "" if source.name == STANDARD_INPUT else os.path.abspath(source.name)
            if key in seen:
                found.repeated += 1
                continue
            seen.add(key)
            found.sources.append(source)
    return found


def _meant_by(argument: str, found: Found, seen: set[str]) -> Iterator[Source]:
    if argument == STANDARD_INPUT:
        yield Source(STANDARD_INPUT) if "" in seen else read_standard_input()
    elif os.path.lexists(argument) or not glob.has_magic(argument):
        yield from _path(argument, found)
    else:
        matches = sorted(glob.iglob(argument, recursive=True))
        if "**" in argument:  # matches what is in a folder as well as the folder
            matches = [match for match in matches if not os.path.isdir(match)]
        if not matches:
            yield Source(argument, error="no file matches this pattern")
        for match in matches:
            yield from _path(match, found)


def _path(path: str, found: Found) -> Iterator[Source]:
    # Found out here, so that no network is loaded for a name that was mistyped.
    try:
        is_folder = stat.S_ISDIR(os.stat(path).st_mode)
    except OSError as error:
        yield Source(path, error=f"cannot be read ({error.strerror})")
        return
    if not is_folder:
        yield Source(path)
        return
    some = False
    for source in _below(path, found):
        some = True
        yield source
    if not some:
        yield Source(path, error=f"no file in this folder ends in {', '.join(IMAGE_SUFFIXES)}")


def _below(folder: str, found: Found) -> Iterator[Source]:
    failed: list[OSError] = []
    for place, folders, files in os.walk(folder, onerror=failed.append):
        visible = [name for name in sorted(folders) if not _is_hidden(name)]
        found.hidden += len(folders) - len(visible)
        folders[:] = [name for name in visible if not os.path.islink(os.path.join(place, name))]
        found.links += len(visible) - len(folders)
        for name in sorted(files):
            if _is_hidden(name):
                found.hidden += 1
            elif name.lower().endswith(IMAGE_SUFFIXES):
                yield Source(os.path.join(place, name))
            else:
                found.passed_over[os.path.splitext(name)[1].lower()] += 1
    for error in failed:
        yield Source(str(error.filename), error=f"cannot be listed ({error.strerror})")


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or is_system_file(name)


def read_standard_input() -> Source:
    """Give the image that is piped in."""
    if sys.stdin is None or sys.stdin.closed:
        return Source(STANDARD_INPUT, error="standard input is closed")
    if sys.stdin.isatty():
        return Source(STANDARD_INPUT, error="standard input is a terminal; pipe an image into it")
    try:
        # One byte more than is read, so that too large a file is told from one that just fits.
        return Source(STANDARD_INPUT, coded=sys.stdin.buffer.read(MAXIMUM_BYTES + 1))
    except OSError as error:
        return Source(STANDARD_INPUT, error=f"cannot be read ({error.strerror})")
