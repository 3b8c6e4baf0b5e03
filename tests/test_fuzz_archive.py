"""Archives of any names, sizes and lies: each member is used, refused with a reason, or ignored."""

import io
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.archives.archive import BadArchive, examine
from detector.base import layout
from detector.base.errors import ExpectedError
from detector.images.decode import decode_members
from detector.preprocessing.ingest import sort_members
from stages.preprocess import member_names
from tests.helpers import coded, random_pixels
from tests.raw_zip import (
    DEFLATED,
    DEVICE,
    FILE,
    FOLDER,
    LINK,
    NAMES,
    PIPE,
    STORED,
    UTF_8,
    Member,
    bomb,
    member,
    nested,
    overlapping,
    raw_zip,
    zip64,
)

FUZZ = settings(max_examples=150, derandomize=True, database=None, deadline=None)
IMAGE, GREY = coded(random_pixels(1)), coded(random_pixels(1)[..., 0], "PNG")

PLACES = st.sampled_from([f"{s}/{c}/" for s in layout.SPLITS for c in layout.CLASSES])
FILES = st.text(max_size=30).map(lambda name: name + ".jpg")
NAME_BYTES = (
    st.builds(str.__add__, PLACES, FILES).map(lambda name: name.encode())
    | st.sampled_from(NAMES)
    | st.binary(max_size=60)
)
CONTENTS = st.sampled_from([b"", b"x", IMAGE, GREY, IMAGE[:500], nested(2, IMAGE)])
NUMBERS = st.none() | st.sampled_from([0, 1, 99, 2**31, 2**32 - 1])
MEMBERS = st.builds(
    Member,
    NAME_BYTES,
    CONTENTS,
    st.sampled_from([STORED, STORED, DEFLATED, 12, 14, 97]),
    st.sampled_from([UTF_8, UTF_8, 0, 1, 0x20, 0x40, 8]),
    st.sampled_from([FILE, FILE, 0, LINK, FOLDER, PIPE, DEVICE]),
    size=NUMBERS,
    coded_size=NUMBERS,
)


def account(path: Path) -> tuple[list[str], list[str], list[str]]:
    """Give the names of the images, of what cannot be used and of what is ignored."""
    used, bad, ignored = sort_members(member_names(path))
    good: list[str] = []
    for chunk in decode_members(str(path), list(used), 32):
        assert chunk.images.shape == (len(chunk.members), 32, 32, 3)
        good += chunk.members
        bad = bad + chunk.bad
    assert all(entry.reason and entry.reason.isprintable() for entry in bad)
    return good, [entry.member for entry in bad], ignored


def check(data: bytes) -> None:
    """Every member is accounted for under the name that zipfile knows, or all are refused."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.zip")
        path.write_bytes(data)
        for whole in (False, True):
            try:
                examine(path, whole=whole)
            except BadArchive as error:
                assert str(error).isprintable()
        try:
            found = [name for names in account(path) for name in names]
        except ExpectedError as error:
            assert "not a readable zip" in str(error)
            return
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = archive.infolist()
    here = [i.filename for i in infos if not (i.filename.endswith("/") and i.file_size == 0)]
    assert set(here) <= set(found) and len(found) >= len(here)


@FUZZ
@given(st.lists(MEMBERS, max_size=6), st.none() | st.integers(0, 9), st.binary(max_size=9))
def test_any_members(members, count, before):
    check(raw_zip(members, count=count, before=before))


@FUZZ
@given(st.lists(st.tuples(PLACES, FILES), max_size=5), st.booleans())
def test_any_names_below_the_classes(names, deflated):
    method = DEFLATED if deflated else STORED
    check(raw_zip([member(a + b, IMAGE, method=method) for a, b in names]))


@FUZZ
@given(st.lists(MEMBERS, min_size=1, max_size=3), st.integers(0, 2**63), st.integers(-2, 2))
def test_zip64_that_lies(members, offset, more):
    pairs = [(one.name.decode("latin-1"), one.content) for one in members]
    check(zip64(pairs, offset, len(pairs) + more if len(pairs) + more >= 0 else 0))


@FUZZ
@given(st.lists(MEMBERS, min_size=1, max_size=3), st.data())
def test_one_member_twice_and_at_the_place_of_another(members, data):
    again = data.draw(st.sampled_from(members))
    check(raw_zip([*members, again]))
    check(raw_zip([*members, replace(again, offset=0, written=False)]))


@FUZZ
@given(st.binary(max_size=300))
def test_any_bytes(data):
    check(data)
    check(b"PK\3\4" + data + raw_zip([]))


@pytest.mark.parametrize(
    ("data", "counts"),
    [
        (raw_zip([]), (0, 0, 0)),
        (raw_zip([member("train/REAL/a.jpg", IMAGE)]), (1, 0, 0)),
        (nested(3, IMAGE), (0, 1, 0)),
        (raw_zip([member("train/REAL/a.jpg", IMAGE)] * 2), (1, 1, 0)),
        (raw_zip([member(f"train/REAL/{n}.jpg", IMAGE) for n in ("\xe9", "e\u0301")]), (2, 0, 0)),
        (raw_zip([bomb("train/REAL/a.jpg", 64 << 20)]), (0, 1, 0)),
        (overlapping([f"train/REAL/{i}.jpg" for i in range(9)], IMAGE), (1, 8, 0)),
        (raw_zip([member("../train/REAL/a.jpg", IMAGE), member("/etc/passwd")]), (0, 2, 0)),
        (raw_zip([member("__MACOSX/a.jpg", IMAGE), member("train/REAL/")]), (0, 0, 1)),
    ],
)
def test_archives_with_a_trap(tmp_path, data, counts):
    check(data)
    (tmp_path / "a.zip").write_bytes(data)
    assert tuple(len(names) for names in account(tmp_path / "a.zip")) == counts
