"""What is said of an archive, how a folder is packed, and the download stage on local data."""

import contextlib
import io
import os
import stat
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from detector.archives.archive import BadArchive, copy, examine, pack
from detector.base.errors import ExpectedError
from tests.kaggle_server import Place, content_sha256, make_zip
from tests.raw_zip import LINK, PIPE, bomb, member, overlapping, raw_zip, zip64

GOOD = make_zip()
COUNTS = {"train": {"REAL": 2, "FAKE": 2}, "test": {"REAL": 2, "FAKE": 2}}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def write(path: Path, data: bytes = b"image") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def make_folder(root: Path) -> Path:
    """Unpack GOOD into `root` and add what real folders have beside the images."""
    zipfile.ZipFile(io.BytesIO(GOOD)).extractall(root)
    write(root / ".DS_Store")
    write(root / "train/REAL/größe (2).jpg")
    (root / "train/empty").mkdir()
    return root


def test_examine_tells_what_it_holds(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", GOOD)
    digest = content_sha256(GOOD)
    contents = examine(path, digest, whole=True)
    assert (contents.images, contents.size, contents.sha256) == (COUNTS, len(GOOD), digest)
    assert str(contents) == (
        f"train 2 REAL + 2 FAKE, test 2 REAL + 2 FAKE; {len(GOOD)} bytes, content sha256 {digest}"
    )


def with_member(name: str, **attributes: int) -> bytes:
    buffer = io.BytesIO(GOOD)
    with zipfile.ZipFile(buffer, "a") as archive, pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # of a duplicate name
        archive.writestr(name, b"more")
        for key, value in attributes.items():
            setattr(archive.infolist()[-1], key, value)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "loose", "whole"),
    [
        (b"", "not a readable zip", "not a readable zip"),
        (b"<html>", "it begins with b'<html>'", "it begins with b'<html>'"),
        (GOOD[:-30], "not a readable zip", "not a readable zip"),
        (make_zip(0), "it holds no files", "it holds no files"),
        (make_zip(0, extra=("a/train/REAL/1.jpg",)), "1 of its 1 files", "1 of its 1 files"),
        (with_member("notes.txt"), None, "1 of its 9 files .* such as 'notes.txt'"),
        (with_member("../train/REAL/9.jpg"), None, "leads out of the archive"),
        (with_member("train/REAL/0001.jpg"), None, "'train/REAL/0001.jpg' more than once"),
        (with_member("train/REAL/9.jpg", CRC=1), None, "'train/REAL/9.jpg' is unusable"),
        (
            with_member(f"train/REAL/{'9' * 9000}.jpg", CRC=1),
            None,
            r"'train/REAL/9+\.\.\.9+\.jpg' is",
        ),
        (with_member("train/REAL/9.jpg", flag_bits=1), None, "is unusable: encrypted"),
        (with_member("train/REAL/9.jpg", compress_type=8), None, "is unusable"),
        (with_member("train/REAL/9.jpg", compress_type=12), None, "is unusable"),
        (with_member("train/REAL/9.jpg", compress_type=14), None, "is unusable"),
        (with_member("train/REAL/9.jpg", compress_type=97), None, "is unusable"),
        (with_member("train/new/"), None, "1 of its 9 files"),  # a folder with bytes is none
        (raw_zip([member("train/new/"), member("train/REAL/1.jpg", b"x")]), None, None),
        (raw_zip([member("", b"x")]), "1 of its 1 files", "1 of its 1 files"),
        (raw_zip([member("a.txt")] * 2), "2 of its 2 files", "2 of its 2 files"),
        (raw_zip([member("train/REAL/1.jpg", b"x")] * 2, count=3), "counts 3", "counts 3"),
        (raw_zip([member("train/REAL/1.jpg", mode=LINK)]), None, "is unusable: a link, not"),
        (raw_zip([member("train/REAL/1.jpg", mode=PIPE)]), None, "neither a file nor a folder"),
        (zip64([("train/REAL/1.jpg", b"x")], 2**63), None, "is unusable"),
        (overlapping(["train/REAL/1.jpg", "train/REAL/2.jpg"], b"x"), None, "overlaps"),
    ],
)
def test_examine_refuses(tmp_path: Path, data: bytes, loose: str | None, whole: str | None) -> None:
    path = write(tmp_path / "a.zip", data)
    for strict, expected in ((False, loose), (True, whole)):
        if expected is None:
            examine(path, whole=strict)
        else:
            with pytest.raises(BadArchive, match=expected) as said:
                examine(path, whole=strict)
            assert len(str(said.value)) < 400


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, 8, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_examine_survives_any_changed_byte(tmp_path: Path, method: int) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("train/REAL/größe.jpg", bytes(k * k % 251 for k in range(300)))
    good = path.read_bytes()
    for position in range(len(good)):
        for flip in (0x01, 0x10, 0xFF):
            path.write_bytes(
                good[:position] + bytes([good[position] ^ flip]) + good[position + 1 :]
            )
            for whole in (False, True):
                with contextlib.suppress(BadArchive):
                    examine(path, whole=whole)


@pytest.mark.parametrize("said", [None, 70_000])
def test_examine_unfolds_no_bomb(tmp_path: Path, said: int | None) -> None:
    path = write(tmp_path / "a.zip", raw_zip([bomb("train/REAL/1.jpg", 64 << 20, said)]))
    tracemalloc.start()
    with pytest.raises(
        BadArchive, match="claims 67108864 bytes" if said is None else "does not have"
    ):
        examine(path, whole=True)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_examine_compares_the_pins(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", GOOD)
    with pytest.raises(BadArchive, match=r"content has the sha256 \w+, not the pinned 0000"):
        examine(path, sha256="0" * 64)


def test_pack_depends_on_names_and_contents_alone(tmp_path: Path) -> None:
    first = make_folder(tmp_path / "first")
    second = tmp_path / "second"
    for path in sorted((p for p in first.rglob("*") if p.is_file()), reverse=True):
        copied = write(second / path.relative_to(first), path.read_bytes())
        os.utime(copied, (10**9, 10**9))
        copied.chmod(0o600)
    pack(first, tmp_path / "first.zip")
    pack(second, tmp_path / "second.zip")
    assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()


def test_pack_keeps_every_file(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "root")
    pack(root, tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        infos = archive.infolist()
        held = {info.filename: archive.read(info) for info in infos}
    expected = {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }
    assert held == expected and ".DS_Store" in held and len(held) == 10
    assert list(held) == sorted(held)
    assert {info.compress_type for info in infos} == {zipfile.ZIP_STORED}
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
    assert {info.external_attr >> 16 for info in infos} == {stat.S_IFREG | 0o644}


def test_pack_follows_a_link_inside_the_folder(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "root")
    (root / "test/FAKE/link.jpg").symlink_to("0000.jpg")
    pack(root, tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.read("test/FAKE/link.jpg") == archive.read("test/FAKE/0000.jpg")


@pytest.mark.parametrize(
    ("goal", "words"),
    [
        ("../../../secret.jpg", "leads out of the folder"),
        ("../../../root-beside/0.jpg", "leads out of the folder"),
        ("/etc", "leads out of the folder"),
        ("../REAL", "leads to a folder"),
        ("..", "leads to a folder"),
        ("missing.jpg", "leads nowhere"),
        ("link.jpg", "leads nowhere"),
    ],
)
def test_pack_refuses_other_links(tmp_path: Path, goal: str, words: str) -> None:
    root = make_folder(tmp_path / "root")
    write(tmp_path / "secret.jpg")
    write(tmp_path / "root-beside/0.jpg")
    (root / "train/FAKE/link.jpg").symlink_to(goal)
    with pytest.raises(ExpectedError, match=f"train/FAKE/link.jpg: this link {words}"):
        pack(root, tmp_path / "a.zip")


def test_pack_refuses_what_is_no_file(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "root")
    os.mkfifo(root / "train/FAKE/pipe.jpg")  # opening it would wait for ever
    with pytest.raises(ExpectedError, match=r"pipe\.jpg: is neither a file nor a folder"):
        pack(root, tmp_path / "a.zip")


def test_pack_refuses_a_name_that_no_zip_can_hold(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "root")
    Path(os.fsdecode(bytes(root / "train/FAKE") + b"/\xff.jpg")).write_bytes(b"")
    with pytest.raises(ExpectedError, match="is not UTF-8; rename"):
        pack(root, tmp_path / "a.zip")


def test_copy_says_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ExpectedError, match=r"gone\.zip: cannot be read \(No such file"):
        copy(tmp_path / "gone.zip", tmp_path / "a.zip")


def test_stage_copies_a_zip(place: Place) -> None:
    write(place.cwd / "my.zip", GOOD)
    digest = content_sha256(GOOD)
    place.set(path="my.zip", sha256=digest)
    counts = "train 2 REAL + 2 FAKE, test 2 REAL + 2 FAKE"
    assert place.succeed() == f"data: {counts}; {len(GOOD)} bytes, content sha256 {digest}\n"
    assert place.zip.read_bytes() == GOOD
    assert [path.name for path in place.zip.parent.iterdir()] == ["data.zip"]


def test_stage_leaves_damaged_images_to_preprocess(place: Place) -> None:
    write(place.cwd / "my.zip", with_member("train/REAL/9.jpg", CRC=1))
    place.set(path="my.zip")
    assert "pin this sha256 as data.sha256" in place.succeed()


def test_stage_packs_a_folder(place: Place, tmp_path: Path) -> None:
    make_folder(tmp_path / "my images")
    place.set(path=str(tmp_path / "my images"))
    assert "train 3 REAL + 2 FAKE, test 2 REAL + 2 FAKE" in place.succeed()
    packed = place.zip.read_bytes()
    place.succeed()
    assert place.zip.read_bytes() == packed


@pytest.mark.parametrize(
    ("data", "pins", "words"),
    [
        (None, {}, "my.zip: does not exist; data.path must name"),
        (b"%PDF", {}, "my.zip: it is not a readable zip archive (it begins with b'%PDF'; "),
        (GOOD[:-50], {}, "my.zip: it is not a readable zip archive"),
        (GOOD, {"sha256": "a" * 64}, "not the pinned aaaa"),
        (make_zip(0, extra=("cats/1.jpg",)), {}, "such as 'cats/1.jpg' (not in train/REAL"),
    ],
)
def test_stage_refuses_a_zip(place: Place, data: bytes | None, pins: dict, words: str) -> None:
    if data is not None:
        write(place.cwd / "my.zip", data)
    place.set(path="my.zip", **pins)
    assert words in place.fail()


def test_stage_refuses_a_folder(place: Place) -> None:
    root = place.cwd / "images"
    root.mkdir()
    place.set(path="images")
    assert "images: it holds no files" in place.fail()
    make_folder(root)
    (root / "train/REAL/hosts.jpg").symlink_to("/etc/hosts")
    assert "hosts.jpg: this link leads out of the folder" in place.fail()


def test_stage_refuses_its_own_output(place: Place) -> None:
    place.set(path=".")
    assert "data.path must lie elsewhere than data/raw/data.zip" in place.fail()
