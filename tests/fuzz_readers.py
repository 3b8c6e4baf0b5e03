"""Every reader of files from outside, given damaged ones by the thousand.

    python -m tests.fuzz_readers --cases 100000 --seed 1

Each case depends on the seed and on its number alone. It must be accepted whole, with every member
accounted for, or refused by the error that the reader's docstring names, in one printable line, in
five seconds and in bounded memory. The first that is not is kept under .work/fuzz and ends the run
with exit code 1; `--first NUMBER --cases 1` runs it again.
"""

import argparse
import base64
import json
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from detector.archives import archive
from detector.base.errors import ExpectedError
from detector.base.params import read_tree
from detector.deployment import model_archive
from detector.external import sets as external
from detector.images import decode, external_images
from detector.params import validate
from detector.prediction import images
from detector.preprocessing import ingest
from stages import preprocess
from tests.mutations import mutate
from tests.raw_zip import count_by_end, member, members_and_files, random_zip, raw_zip
from tests.seed_files import (
    description_seed,
    image_seeds,
    model_seeds,
    params_seeds,
    zip_seeds,
)

SECONDS = 5.0
MORE_MEMORY = 3 << 30  # of address space, beside what is in use at the start
SIZE = 32
KEPT = Path(".work/fuzz")


class TooSlow(BaseException):
    """A case took more than SECONDS. No reader that catches Exception hides it."""


class Escape(Exception):
    """A case that was neither accepted whole nor refused as it should be."""


class Reader(NamedTuple):
    """read: takes the file's bytes and a folder to work in. refusal: what it raises."""

    read: Callable[[bytes, Path], None]
    seeds: Callable[[], dict[str, bytes]]
    refusal: type[Exception]
    share: int = 1


def _require(condition: bool, text: str) -> None:
    if not condition:
        raise Escape(text)


def _check_pixels(pixels: Any, shape: tuple[int, ...] = (SIZE, SIZE, 3)) -> None:
    fits = isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.shape == shape
    _require(fits, f"not uint8 of {shape}")


def _check_sentence(text: str) -> None:
    line = text and not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", text)
    _require(bool(line), f"the reason is no printable line: {text!r}")
    _require(
        not re.search(r"\bat 0x[0-9a-f]{6}|<_io", text), f"the reason has an address: {text!r}"
    )
    _require(len(text) < 50_000, "the reason is longer than any name")


def _check_bad(bad: list[decode.BadImage]) -> None:
    for _, reason in bad:
        _check_sentence(reason)


def read_decode(data: bytes, folder: Path) -> None:
    pixels, codec, _ = decode.decode_image(data, SIZE)
    _check_pixels(pixels)
    _check_sentence(codec)


def read_any(data: bytes, folder: Path) -> None:
    image = external_images.decode_any(data, SIZE, recode=len(data) % 2 == 0)
    _check_pixels(image.pixels)
    _check_sentence(image.codec)


def read_opened(data: bytes, folder: Path) -> None:
    opened = images.open_image(data, SIZE)
    _check_pixels(opened.pixels)
    _require(min(opened.width, opened.height) > 0, "no pixels")


def read_examine(data: bytes, folder: Path) -> None:
    path = _write(folder / "a.zip", data)
    contents = archive.examine(path)
    held = sum(sum(classes.values()) for classes in contents.images.values())
    _require(0 < held <= members_and_files(data)[1], "counts more images than there are members")
    archive.examine(path, whole=True)


def read_members(data: bytes, folder: Path) -> None:
    path = _write(folder / "a.zip", data)
    names = preprocess.member_names(path)
    used, bad, ignored = ingest.sort_members(names)
    _require(len(used) + len(bad) + len(ignored) == len(names), "a member is dropped by its name")
    _check_listed(data, len(names))
    _check_bad(bad)
    chunks = list(decode.decode_members(str(path), list(used), SIZE))
    done = sum(len(chunk.members) + len(chunk.bad) for chunk in chunks)
    _require(done == len(used), "a member is dropped by the decoder")
    for chunk in chunks:
        _check_pixels(chunk.images, (len(chunk.members), SIZE, SIZE, 3))
        _check_bad(chunk.bad)


def read_external(data: bytes, folder: Path) -> None:
    path = _write(folder / "sets" / "a.zip", data)
    (found,) = external.find_sets(path.parent)
    _check_listed(data, len(found.labels) + len(found.bad) + len(found.ignored))
    _check_bad(found.bad)
    recode = len(data) % 2 == 0
    chunks = list(external_images.decode_files(path, list(found.labels), SIZE, recode))
    done = sum(len(chunk.table) + len(chunk.bad) for chunk in chunks)
    _require(done == len(found.labels), "a member is dropped by the decoder")
    for chunk in chunks:
        _check_pixels(chunk.images, (len(chunk.table), SIZE, SIZE, 3))
        _check_bad(chunk.bad)


def read_model(data: bytes, folder: Path) -> None:
    path = _write(folder / "model.zip", data)
    model_archive.read_description(path)
    with model_archive.unpacked_weights(path) as file:
        _require(os.path.getsize(file) <= len(data), "more weights than the file has bytes")


def read_params(data: bytes, folder: Path) -> None:
    _write(folder / "params.yaml", data)
    here = os.getcwd()
    os.chdir(folder)
    try:
        validate(read_tree())
    finally:
        os.chdir(here)


READERS = {
    "decode_image": Reader(read_decode, image_seeds, ValueError, 4),
    "decode_any": Reader(read_any, image_seeds, ValueError, 5),
    "open_image": Reader(read_opened, image_seeds, ValueError, 2),
    "examine": Reader(read_examine, zip_seeds, archive.BadArchive, 3),
    "members": Reader(read_members, zip_seeds, ExpectedError, 3),
    "external": Reader(read_external, zip_seeds, ExpectedError, 3),
    "model": Reader(read_model, model_seeds, ExpectedError, 2),
    "params": Reader(read_params, params_seeds, ExpectedError, 1),
}


def _write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    decode._open.cache_clear()  # a new file may have the inode and the time of the last one
    return path


def _check_listed(data: bytes, listed: int) -> None:
    """Compare with the members that the file has by its directory, and by its own end."""
    members, files = members_and_files(data)
    _require(listed == files, f"{listed} members are accounted for, {files} are there")
    _require(count_by_end(data) in (None, members), "the end of the file counts other members")


def make_case(seed: int, number: int) -> tuple[str, bytes]:
    """Give the name of the reader and the file of one case."""
    rng = random.Random(f"{seed}:{number}")
    (name,) = rng.choices(list(READERS), [reader.share for reader in READERS.values()])
    seeds = list(READERS[name].seeds().values())
    if READERS[name].seeds is zip_seeds and rng.random() < 0.5:
        contents = [b"", b"garbage", seeds[0], *image_seeds().values()]
        data = random_zip(rng, contents)
        return name, mutate(rng, data, seeds) if rng.random() < 0.3 else data
    if name == "model" and rng.random() < 0.5:  # with checksums that fit, else no one reads on
        text = mutate(rng, description_seed(), [])
        return name, raw_zip([member("model.json", text), member("weights.h5", b"weights")])
    return name, mutate(rng, rng.choice(seeds), seeds)


def run_case(name: str, data: bytes, folder: Path) -> str:
    """Give "accepted" or "refused". Raises Escape."""
    reader = READERS[name]
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        reader.read(data, folder)
    except reader.refusal as error:
        # A kind derived from ValueError is not raised with a reason by anyone here.
        _require(type(error) is reader.refusal, f"raises {type(error).__name__}: {error}")
        _check_sentence(str(error))
        return "refused"
    except Escape:
        raise
    except TooSlow as error:
        raise Escape(f"takes more than {SECONDS:.0f} s") from error
    except Exception as error:
        raise Escape(f"raises {type(error).__name__}: {error}") from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return "accepted"


@contextmanager
def limited() -> Iterator[None]:
    """Bound the time of each case and the memory of all; undone after the block."""

    def end(*_: Any) -> None:
        raise TooSlow

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGALRM, end)
    resource.setrlimit(resource.RLIMIT_AS, (used + MORE_MEMORY, before[1]))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.signal(signal.SIGALRM, handler)


def fuzz(cases: int, seed: int, first: int = 0, kept: Path = KEPT) -> Counter[tuple[str, str]]:
    """Run cases; give how many there were by reader and outcome.

    Raises Escape for the first that is not as it should be, whose file is then in `kept`.
    """
    counts: Counter[tuple[str, str]] = Counter()
    kept = kept.absolute()
    with tempfile.TemporaryDirectory() as folder, limited():
        for number in range(first, first + cases):
            name, data = make_case(seed, number)
            try:
                counts[name, run_case(name, data, Path(folder))] += 1
            except Escape as error:
                kept.mkdir(parents=True, exist_ok=True)
                path = kept / f"{name}-{seed}-{number}.json"
                content = base64.b64encode(data).decode()
                found = {"reader": name, "seed": seed, "case": number, "what": str(error)}
                path.write_text(json.dumps(found | {"base64": content}, indent=1) + "\n")
                raise Escape(f"{name}, seed {seed}, case {number}: {error}; see {path}") from error
    return counts


def table(counts: Counter[tuple[str, str]]) -> str:
    """Give counts as lines of text."""
    lines = [f"{'reader':<14}{'accepted':>10}{'refused':>10}"]
    for name in READERS:
        lines.append(f"{name:<14}{counts[name, 'accepted']:>10,}{counts[name, 'refused']:>10,}")
    return "\n".join(lines)


def main() -> None:
    """Read the arguments, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    options = parser.parse_args()
    os.environ.pop("DVC_STAGE", None)
    start = time.monotonic()
    try:
        counts = fuzz(options.cases, options.seed, options.first)
    except Escape as error:
        sys.exit(f"escape: {error}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(table(counts))
    print(
        f"{counts.total():,} cases of seed {options.seed} in {time.monotonic() - start:.0f} s, "
        f"no escape; at most {peak:,} MiB of memory"
    )


if __name__ == "__main__":
    main()
