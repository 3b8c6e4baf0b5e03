"""Sets of images with any names and any files, as zip and as folder: none of them is dropped."""

import contextlib
import os
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from detector.base.errors import ExpectedError
from detector.external.sets import find_sets
from detector.images.external_images import decode_any, decode_files
from tests.raw_zip import DEFLATED, FILE, LINK, NAMES, STORED, UTF_8, Member, member, raw_zip
from tests.seed_files import image_seeds

FUZZ = settings(max_examples=100, derandomize=True, database=None, deadline=None)

PARTS = st.sampled_from(["REAL", "fake", "Fake", "x", ".git", "__MACOSX", ".."]) | st.text(
    st.characters(blacklist_characters="/", blacklist_categories=()), min_size=1, max_size=12
)
SUFFIXES = st.sampled_from([".jpg", ".PNG", ".tiff", ".gif", ".txt", ""])
PATHS = st.builds(lambda parts, end: "/".join(parts) + end, st.lists(PARTS, min_size=1), SUFFIXES)
CONTENTS = st.sampled_from([b"", b"garbage", *image_seeds().values()])
# One image in its place, since a set without any is refused.
GOOD = ("REAL/good.jpg", image_seeds()["plain.jpg"])


def check(folder: Path) -> list[str]:
    """Decode the only set in `folder`; give the names of all members, each with what became of it.

    A set is refused in a sentence or accounted for.
    """
    (found,) = find_sets(folder)
    names = [*(bad.member for bad in found.bad), *found.ignored]
    for chunk in decode_files(found.path, list(found.labels), 32, recode=False):
        assert chunk.images.shape == (len(chunk.table), 32, 32, 3)
        names += [*chunk.table["member"], *(bad.member for bad in chunk.bad)]
        assert all(bad.reason and bad.reason.isprintable() for bad in chunk.bad)
    assert names.count("REAL/good.jpg") == 1
    return names


def printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


@FUZZ
@given(st.lists(st.tuples(PATHS, CONTENTS), max_size=6), st.booleans())
def test_any_zip(members, deflated):
    method = DEFLATED if deflated else STORED
    named = [(name, data) for name, data in members if printable(name) == name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.zip")
        path.write_bytes(raw_zip(member(*one, method=method) for one in [*named, GOOD]))
        names = check(Path(folder))
        known = [name.split("\0")[0] for name, _ in [*named, GOOD]]
    assert sorted(names) == sorted(known)


@FUZZ
@given(
    st.lists(
        st.builds(
            Member, st.sampled_from(NAMES) | st.binary(max_size=20), CONTENTS,
            st.sampled_from([STORED, DEFLATED, 12]), st.sampled_from([0, 1, UTF_8]),
            st.sampled_from([FILE, LINK]), size=st.sampled_from([None, None, 0, 5, 2**32 - 1]),
        ),
        max_size=5,
    )
)  # fmt: skip
def test_any_zip_that_lies(members):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a.zip").write_bytes(raw_zip([*members, member(*GOOD)]))
        with contextlib.suppress(ExpectedError):  # names that are not the UTF-8 that they say
            empty = [m for m in members if m.name.split(b"\0")[0].endswith(b"/") and not m.size]
            assert len(check(Path(folder))) >= len(members) + 1 - len(empty)


@FUZZ
@given(st.lists(st.tuples(PATHS, CONTENTS | st.just(None)), max_size=6))
def test_any_folder(members):
    """A file without content here is a link, to itself."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "a")
        for name, data in [GOOD, *members]:
            # What the file system does not take is not there.
            with contextlib.suppress(OSError, ValueError):
                path = root / name
                if not Path(os.path.normpath(path)).is_relative_to(root):
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                if data is None:
                    path.symlink_to(path.name)
                else:
                    path.write_bytes(data)
        names = set(check(Path(folder)))
        for parent, _, files in os.walk(root):
            for file in files:
                name = Path(parent, file).relative_to(root).as_posix()
                hidden_link = os.path.islink(Path(parent, file))
                assert printable(name) in names or hidden_link


@FUZZ
@given(CONTENTS, st.sampled_from([8, 31, 32, 200]), st.booleans())
def test_any_size_of_the_network(data, size, recode):
    try:
        image = decode_any(data, size, recode)
    except ValueError as error:
        assert str(error).isprintable()
    else:
        assert image.pixels.shape == (size, size, 3) and image.pixels.dtype.name == "uint8"
