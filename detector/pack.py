"""Pack pictures of any size and kind into an archive for `-S data=archive`.

    python -m detector.pack genimage.zip --size 256 --genimage GenImage/Midjourney/imagenet
    python -m detector.pack my.zip --size 128 --train-real a --train-fake b --test-real c ...

GenImage's layout: each of its generators has train/nature, train/ai, val/nature and val/ai, which
become train/REAL, train/FAKE, test/REAL and test/FAKE; --genimage may be given more than once. The
other options name folders (or zips), in which every image counts, however deep it lies and whatever
its name ends in; they may be given more than once, too.

Every picture is cut to the square in its middle, resized, and coded as JPEG of one quality, so that
neither size nor coder of a file in the archive tells its class. What the files gave away before is
looked at on the way and said: traces of it may be left in the pixels. An image that cannot be used
ends the work; with --drop it is left out. All that is left out, files that are no images too, is
counted, and listed in <archive>.bad_files.csv. --limit takes so many pictures of each split and
class, evenly spread over the sorted names.

Exit codes: 0, all images are in the archive; 1, some cannot be used and were left out with --drop;
2, no archive was written, as the message says.
"""

import argparse
import io
import os
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from detector.archives.zips import is_folder, open_zip, quoted
from detector.audit.audit import codec_warnings, codecs_by_class
from detector.base.errors import ExpectedError
from detector.base.files import replacing
from detector.base.layout import CLASSES, IMAGE_SUFFIXES, SPLITS, is_system_file
from detector.base.program import ending
from detector.external.sets import size_warnings
from detector.images.decode import BadImage
from detector.images.external_images import COLUMNS, decode_files
from detector.images.kinds import LOOKED_AT, is_image
from detector.prediction.wording import NO_MEMORY, REFUSED, UNREADABLE

GENIMAGE = {"train": "train", "test": "val"}, {"REAL": "nature", "FAKE": "ai"}
NO_IMAGE = "no image by its name and its first bytes"
REASONS = 5  # that are said; the list has them all
DATE = (1980, 1, 1, 0, 0, 0)  # equal pictures become equal archives


class Source(NamedTuple):
    """One folder or zip of pictures, and where they go."""

    split: str
    kind: str  # REAL or FAKE
    path: Path


def main() -> bool:
    """Pack what the command line names. Returns whether all images are in the archive."""
    options = parse()
    sources = listed(options)
    with replacing(options.archive) as partial:
        table, bad, ignored = pack(sources, partial, options)
        report(bad, ignored, options)
        require_all(table)
    for warning in warnings(table, options.size):
        print(f"warning: before packing, {warning}")
    counts = table.groupby(["split", "label"], sort=False).size()
    print(", ".join(f"{split}/{CLASSES[label]} {n:,}" for (split, label), n in counts.items()))
    return not bad


def report(bad: list[BadImage], ignored: list[BadImage], options: argparse.Namespace) -> None:
    """List and count what is left out. Raises ExpectedError for images without --drop."""
    said = options.archive.with_suffix(".bad_files.csv")
    said.unlink(missing_ok=True)  # of an earlier run
    if bad or ignored:
        with replacing(said) as path:
            pd.DataFrame(bad + ignored, columns=BadImage._fields).to_csv(path, index=False)
    if ignored:
        kinds = Counter(Path(one.member).suffix.lower() or "no suffix" for one in ignored)
        parts = ", ".join(f"{n:,} {kind}" for kind, n in kinds.most_common())
        print(f"files that are no images, listed in {said}: {len(ignored):,} ({parts})")
    if bad:
        reasons = Counter(one.reason for one in bad)
        parts = "; ".join(f"{n:,} {reason}" for reason, n in reasons.most_common(REASONS))
        more = "; ..." if len(reasons) > REASONS else ""
        print(f"images that cannot be used, listed in {said}: {len(bad):,} ({parts}{more})")
    if bad and not options.drop:
        raise ExpectedError(
            f"{quoted(bad[0].member)}: {bad[0].reason}; mend these images, {len(bad):,} in all, or "
            "leave them out with --drop"
        )


def parse() -> argparse.Namespace:
    """Read the command line."""
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("archive", type=Path, help="zip to write")
    command.add_argument("--size", type=int, required=True, help="side in pixels, 8 to 1024")
    command.add_argument("--genimage", type=Path, action="append", default=[], metavar="FOLDER")
    for split in SPLITS:
        for kind in CLASSES:
            command.add_argument(
                f"--{split}-{kind.lower()}", type=Path, action="append", default=[], metavar="PATH"
            )
    command.add_argument("--limit", type=int, help="pictures of each split and class")
    command.add_argument("--quality", type=int, default=90, help="of the JPEGs, 1 to 100")
    command.add_argument("--drop", action="store_true", help="leave out what cannot be used")
    options = command.parse_args()
    for name, low, high in (("size", 8, 1024), ("quality", 1, 100), ("limit", 1, None)):
        value = getattr(options, name)
        if value is not None and not low <= value <= (high or value):
            raise ExpectedError(f"--{name} {value}: must be {low} to {high or 'any'}")
    return options


def listed(options: argparse.Namespace) -> list[Source]:
    """Give the folders and zips that were named. Raises ExpectedError for one that is not there."""
    splits, kinds = GENIMAGE
    sources = [
        Source(split, kind, folder / splits[split] / kinds[kind])
        for folder in options.genimage
        for split in SPLITS
        for kind in CLASSES
    ]
    for split in SPLITS:
        for kind in CLASSES:
            named = getattr(options, f"{split}_{kind.lower()}")
            sources += [Source(split, kind, path) for path in named]
    for source in sources:
        if not source.path.is_dir() and source.path.suffix != ".zip":
            raise ExpectedError(f"{source.path}: no such folder, and no zip")
    missing = {(s, k) for s in SPLITS for k in CLASSES} - {(s.split, s.kind) for s in sources}
    if missing:
        split, kind = sorted(missing)[0]
        raise ExpectedError(f"no pictures for {split}/{kind}: give --{split}-{kind.lower()}")
    return sources


def pack(
    sources: list[Source], target: Path, options: argparse.Namespace
) -> tuple[pd.DataFrame, list[BadImage], list[BadImage]]:
    """Write the archive.

    Returns a row a picture (COLUMNS, split, label), images that cannot be used, and other files.
    """
    parts, bad, ignored = [], [], []
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for split in SPLITS:
            for kind in CLASSES:
                number = 0
                of_class = [s.path for s in sources if (s.split, s.kind) == (split, kind)]
                chosen, others = shares(of_class, options.limit)
                ignored += others
                for path, members in chosen:
                    for chunk in decode_files(path, members, options.size, recode=False):
                        for image in chunk.images:
                            name = f"{split}/{kind}/{number:07}.jpg"
                            archive.writestr(zipfile.ZipInfo(name, DATE), jpeg(image, options))
                            number += 1
                        parts.append(chunk.table.assign(split=split, label=CLASSES.index(kind)))
                        bad += [BadImage(f"{path}/{one.member}", one.reason) for one in chunk.bad]
    empty = pd.DataFrame(columns=[*COLUMNS, "split", "label"])
    return pd.concat(parts, ignore_index=True) if parts else empty, bad, ignored


def shares(
    paths: list[Path], limit: int | None
) -> tuple[list[tuple[Path, list[str]]], list[BadImage]]:
    """Return the images of each source of a split and class, at most `limit`, and other files."""
    every, ignored = [], []
    for path in paths:
        for member, reason in members_of(path):
            if reason is None:
                every.append((path, member))
            else:
                ignored.append(BadImage(f"{path}/{member}", reason))
    chosen = np.linspace(0, len(every) - 1, min(limit or len(every), len(every))).astype(int)
    by_path: dict[Path, list[str]] = {}
    for place in chosen:
        path, member = every[place]
        by_path.setdefault(path, []).append(member)
    return list(by_path.items()), ignored


def members_of(path: Path) -> list[tuple[str, str | None]]:
    """Return the files in a folder or zip, sorted, each with the reason why it is no image, if so.

    Raises ExpectedError when it cannot be read.
    """
    return sorted(_of_folder(path) if path.is_dir() else _of_zip(path))


def _of_folder(path: Path) -> Iterator[tuple[str, str | None]]:
    def refuse(error: OSError) -> None:
        raise ExpectedError(f"{error.filename}: cannot be read ({error.strerror})") from error

    for folder, folders, names in os.walk(path, onerror=refuse):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in names + links:
            file = Path(folder, name)
            reason = None
            if not file.is_file():
                reason = "neither a file nor a folder of its own; links to folders are not followed"
            elif is_system_file(name) or not _may_be_image(name, lambda f=file: f.open("rb")):
                reason = NO_IMAGE
            yield file.relative_to(path).as_posix(), reason


def _of_zip(path: Path) -> Iterator[tuple[str, str | None]]:
    try:
        with open_zip(path) as archive:
            seen = {info.filename: info for info in archive.infolist() if not is_folder(info)}
            for name, info in seen.items():
                image = _may_be_image(name, lambda i=info: archive.open(i))
                yield name, None if image and not is_system_file(name) else NO_IMAGE
    except (OSError, zipfile.BadZipFile) as error:
        raise ExpectedError(f"{path}: not a readable zip ({error})") from error


def _may_be_image(name: str, opened: Callable[[], IO[bytes]]) -> bool:
    """Tell whether a file is an image by its name or, if not, by its first bytes."""
    if name.lower().endswith(IMAGE_SUFFIXES):
        return True
    try:
        with opened() as file:
            return is_image(file.read(LOOKED_AT))
    except (OSError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return True  # whoever decodes it will say why it cannot be read


def jpeg(pixels: np.ndarray, options: argparse.Namespace) -> bytes:
    """Code uint8 S,S,3."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=options.quality, subsampling="4:2:0")
    return buffer.getvalue()


def require_all(table: pd.DataFrame) -> None:
    """Raise ExpectedError when a split lacks a class."""
    found = set(zip(table["split"], table["label"], strict=True))
    for split in SPLITS:
        for label, kind in enumerate(CLASSES):
            if (split, label) not in found:
                raise ExpectedError(f"{split}/{kind}: no picture that can be used")


def warnings(table: pd.DataFrame, size: int) -> list[str]:
    """Say what told the classes apart before: coders and sizes."""
    coders = codecs_by_class(table.assign(codec=table["codec"].str.split().str[0]))
    return [*codec_warnings(coders), *size_warnings(table, size)]


if __name__ == "__main__":
    with ending(REFUSED, NO_MEMORY):
        whole = main()
    sys.exit(0 if whole else UNREADABLE)
