"""Members read without zipfile's own detours, and processes that end when they should."""

import os
import signal
import struct
import subprocess
import sys
import time
import zipfile
from types import SimpleNamespace

import psutil
import pytest

from detector.data import decode
from detector.data.decode import decode_members, read_member
from detector.errors import ExpectedError
from tests.helpers import ROOT, coded, image_members, patch, random_pixels, zip_of

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
        directory(20, *struct.pack("<I", 2**31)),  # too large, which harms nobody
        directory(24, 9, 0),  # size: too small
        directory(24, *struct.pack("<I", 2**24)),  # too large, which harms nobody
        directory(42, 200),  # offset: into the content
        directory(42, *struct.pack("<I", 2**20)),  # over the end
    ],
)
def test_of_a_strange_member_zipfile_decides(tmp_path, change):
    path = deflated(tmp_path / "a.zip")
    patch(path, NAME, change)
    with zipfile.ZipFile(path) as archive:
        name = archive.namelist()[1]
        try:
            expected = archive.read(name)
        except Exception as error:
            expected = f"damaged in the archive ({decode._words(error)})"
        try:
            found = read_member(archive, name)
        except ValueError as error:
            found = str(error)
    assert found == expected


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
from detector.data import decode
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
