"""Members read without zipfile's own detours, and processes that end when they should."""

import os
import re
import signal
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from detector.base.errors import ExpectedError
from detector.images import decode
from detector.images.decode import decode_members, read_member
from tests.helpers import (
    ROOT,
    coded,
    image_members,
    make_archive,
    patch,
    random_pixels,
    zip_of,
)
from tests.raw_zip import (
    DEFLATED,
    DEVICE,
    ENCRYPTED,
    LINK,
    PATCH,
    STRONG,
    bomb,
    deflate,
    member,
    overlapping,
    raw_zip,
)

NAME = "train/REAL/größe.jpg"
JPEG = coded(random_pixels(1))


def deflated(path, name=NAME, content=JPEG):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("before", b"x" * 100)
        archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
        archive.writestr("after", b"x" * 100)
    return path


@pytest.mark.parametrize("name", [NAME, "a.jpg"])
def test_plain_members_need_no_zipfile(tmp_path, monkeypatch, name):
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("read"))
    with zipfile.ZipFile(deflated(tmp_path / "a.zip", name)) as archive:
        assert read_member(archive, name) == JPEG
    with zipfile.ZipFile(zip_of(tmp_path / "b.zip", [(name, JPEG)])) as archive:
        assert read_member(archive, name) == JPEG


def test_sizes_that_follow_the_content(tmp_path):
    with open(tmp_path / "a.zip", "wb") as file:
        deflated(SimpleNamespace(write=file.write, flush=file.flush))  # that cannot seek
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.getinfo(NAME).flag_bits & 8
        assert read_member(archive, NAME) == JPEG


def test_an_archive_behind_other_bytes(tmp_path):
    path = deflated(tmp_path / "a.zip")
    path.write_bytes(b"#!/bin/sh\n" * 50 + path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        assert read_member(archive, NAME) == JPEG


def local(offset, *values):
    def change(data, header, entry):
        data[header + offset : header + offset + len(values)] = bytes(values)

    return change


def directory(offset, *values):
    def change(data, header, entry):
        data[entry + offset : entry + offset + len(values)] = bytes(values)

    return change


@pytest.mark.parametrize(
    "change",
    [
        local(0, 0),  # signature
        local(7, 0),  # names not in UTF-8
        local(26, 5),  # length of the name
        local(28, 9),  # length of the extra field
        local(31, 0),  # name
        local(100, 0, 0, 0),  # content
        directory(8, 0x20),  # a patch, not the file
        directory(8, 0x40),  # strong encryption
        directory(9, 0),  # names not in UTF-8
        directory(16, 0),  # checksum
        directory(20, 9, 0),  # coded size: too small
        directory(20, *struct.pack("<I", 2**31)),  # too large
        directory(24, 9, 0),  # size: too small
        directory(24, *struct.pack("<I", 2**24)),  # too large
        directory(42, 200),  # offset: into the content
        directory(42, *struct.pack("<I", 2**20)),  # over the end
    ],
)
def test_a_strange_member_is_refused_or_read_as_zipfile_reads_it(tmp_path, change):
    path = deflated(tmp_path / "a.zip")
    patch(path, NAME, change)
    with zipfile.ZipFile(path) as archive:
        name = archive.namelist()[1]
        try:
            assert read_member(archive, name) == archive.read(name) == JPEG
        except ValueError as error:
            assert re.match("damaged in the archive|encrypted|compressed in a way", str(error))


def said_of(path, data, name="a.jpg"):
    """Give why the member is not read."""
    path.write_bytes(data)
    with zipfile.ZipFile(path) as archive, pytest.raises(ValueError) as error:
        read_member(archive, name)
    return str(error.value)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"mode": LINK}, "a link, not a file"),
        ({"mode": DEVICE}, "neither a file nor a folder"),
        ({"flags": ENCRYPTED}, "encrypted"),
        ({"flags": STRONG}, "encrypted"),
        ({"flags": PATCH}, "compressed in a way that is not supported (a patch)"),
        ({"method": zipfile.ZIP_BZIP2}, "compressed in a way that is not supported (method 12)"),
        ({"method": zipfile.ZIP_LZMA}, "compressed in a way that is not supported (method 14)"),
        ({"method": 97}, "compressed in a way that is not supported (method 97)"),
        ({"size": 5, "crc": 0}, "damaged in the archive (says it has 5 bytes, coded as"),
        ({"coded_size": 5}, f"damaged in the archive (says it has {len(JPEG)} bytes, coded as 5)"),
        ({"local_name": b"b.jpg"}, "damaged in the archive (its name is 'b.jpg' in its header)"),
    ],
)
def test_members_that_are_not_read_though_they_hold_an_image(tmp_path, fields, reason):
    data = raw_zip([member("a.jpg", JPEG, **fields)])
    assert said_of(tmp_path / "a.zip", data).startswith(reason)


def test_a_name_that_goes_on_after_a_nul(tmp_path):
    data = raw_zip([member("a.jpg\0.exe", JPEG)])
    assert said_of(tmp_path / "a.zip", data) == "called by a name with a NUL character"


def test_a_bomb_that_claims_to_be_small_is_not_unfolded(tmp_path):
    data = raw_zip([bomb("a.jpg", 64 << 20, said=70_000)])  # whose checksum fits those
    tracemalloc.start()
    assert "does not have the 70000 bytes that it says" in said_of(tmp_path / "a.zip", data)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_a_deflated_member_is_not_cut_off_where_the_directory_says(tmp_path):
    """Python's zipfile gives the first part, if the checksum is that part's."""
    head = JPEG[:-10]
    one = member("a.jpg", head, method=DEFLATED, coded=deflate(JPEG))
    assert "does not have the" in said_of(tmp_path / "a.zip", raw_zip([one]))


def test_members_that_share_their_bytes(tmp_path):
    data = overlapping(["a.jpg", "b.jpg", "c.jpg"], JPEG)
    for name in ("a.jpg", "b.jpg"):
        assert said_of(tmp_path / "a.zip", data, name) == (
            "damaged in the archive (overlaps what follows it)"
        )
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert read_member(archive, "c.jpg") == JPEG


@pytest.fixture
def archive(tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "CHUNK", 2)
    monkeypatch.setattr("joblib.cpu_count", lambda: 2)
    return str(zip_of(tmp_path / "a.zip", image_members(5)))


def wait_until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def children():
    return psutil.Process().children()


def test_a_process_that_is_killed(archive, monkeypatch):
    monkeypatch.setattr(decode, "read_member", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(ExpectedError, match="a decoding process was ended"):
        list(decode_members(archive, [name for name, _ in image_members(5)], 32))


def test_the_processes_end_when_nobody_asks_for_more(archive):
    before = children()
    chunks = decode_members(archive, [name for name, _ in image_members(5)], 32)
    assert len(children()) == len(before) + 2
    chunks.close()
    assert children() == before


def test_the_processes_end_with_a_parent_that_is_killed(archive):
    code = f"""
import joblib, os, psutil, signal, time
from detector.images import decode
joblib.cpu_count, decode.CHUNK = lambda: 2, 2
chunks = decode.decode_members({archive!r}, {[name for name, _ in image_members(5)]!r}, 32)
next(chunks)
print(*(child.pid for child in psutil.Process().children()), flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    parent.kill()
    parent.communicate()
    assert len(pids) == 2
    wait_until(lambda: not any(works(pid) for pid in pids))


def works(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_task_has_fewer_of_larger_images(tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "CHUNK", 16)
    archive = make_archive(tmp_path / "large.zip", each=3, size=64)
    members = zipfile.ZipFile(archive).namelist()
    chunks = list(decode_members(str(archive), members, 64))
    assert [len(chunk.members) for chunk in chunks] == [4, 4, 4]
    assert np.concatenate([chunk.images for chunk in chunks]).shape == (12, 64, 64, 3)
