"""Zips as no packer makes them: false names, flags, sizes and places, one member over another."""

import io
import random
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
UTF_8, ENCRYPTED, PATCH, STRONG = 0x800, 0x1, 0x20, 0x40
FILE, LINK, FOLDER, PIPE, DEVICE = 0o100644, 0o120777, 0o040755, 0o010644, 0o060644

# Bytes of names; those that are not ASCII are said to be UTF-8 or not at random.
NAMES = (
    b"train/REAL/a.jpg", b"train/FAKE/b.jpg", b"test/REAL/c.png", b"test/FAKE/d.webp",
    "train/REAL/größe.jpg".encode(), unicodedata.normalize("NFD", "train/REAL/größe.jpg").encode(),
    "test/FAKE/猫 \U0001f431.png".encode(), "train/FAKE/\u202egpj.jpg".encode(),
    b"train/REAL/gr\xf6\xdfe.jpg", b"train/REAL/\xff\xfe.jpg", b"", b"\0", b"/", b"//", b".", b"..",
    b"train/REAL/a.jpg\0.txt", b"train/REAL/\0a.jpg", b"train/REAL/a\n\x1b[31m.jpg",
    b"/train/REAL/a.jpg", b"../train/REAL/a.jpg", b"train/REAL/../../a.jpg", b"train/REAL/..",
    b"train\\REAL\\a.jpg", b"C:/REAL/a.jpg", b"C:\\REAL\\a.jpg", b"//host/REAL/a.jpg",
    b"train/REAL/a.jpg/", b"train/REAL/", b"train/", b"train//a.jpg", b"train/./REAL/a.jpg",
    b"train/real/a.jpg", b"cifake/train/REAL/a.jpg", b"train/REAL/" + b"x" * 5000 + b".jpg",
    b"__MACOSX/train/REAL/._a.jpg", b"train/REAL/.DS_Store", b"train/REAL/Thumbs.db", b"notes.txt",
    b"train/REAL/inner.zip", b"train/REAL/a.gif", b"photo.jpg", b"fake/x/y.TIFF", b"CON/REAL/a.jpg",
)  # fmt: skip


@dataclass(frozen=True)
class Member:
    """One member. What is None is as it should be; what is not may be a lie.

    coded: its bytes in the file. size, coded_size, crc: what both of its headers say. local_name:
    the name in its own header. offset: where the directory says that this header lies. A member
    that is not listed is in no directory; one that is not written has no header and no bytes.
    """

    name: bytes
    content: bytes = b""
    method: int = STORED
    flags: int = 0
    mode: int = FILE
    system: int = 3
    coded: bytes | None = None
    size: int | None = None
    coded_size: int | None = None
    crc: int | None = None
    local_name: bytes | None = None
    offset: int | None = None
    listed: bool = True
    written: bool = True


def member(name: str, content: bytes = b"", **fields) -> Member:
    """Give a member with a name in UTF-8, and the flag that says so."""
    flags = fields.pop("flags", 0) | (0 if name.isascii() else UTF_8)
    return Member(name.encode(), content, flags=flags, **fields)


def deflate(content: bytes) -> bytes:
    coder = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return coder.compress(content) + coder.flush()


def raw_zip(
    members: Iterable[Member],
    count: int | None = None,
    directory_bytes: int | None = None,
    before: bytes = b"",
    comment: bytes = b"",
) -> bytes:
    """Write members as they are told to be.

    count, directory_bytes: what the end of the file says, if not the truth. before: bytes before
    the archive. comment: of the archive.
    """
    out, directory, listed = bytearray(before), bytearray(), 0
    for one in members:
        coded = one.coded
        if coded is None:
            coded = deflate(one.content) if one.method == DEFLATED else one.content
        fields = struct.pack(
            "<HHHHLLL", one.flags, one.method, 0, 0x21,
            zlib.crc32(one.content) if one.crc is None else one.crc,
            len(coded) if one.coded_size is None else one.coded_size,
            len(one.content) if one.size is None else one.size,
        )  # fmt: skip
        local_name = one.name if one.local_name is None else one.local_name
        offset = len(out) - len(before) if one.offset is None else one.offset
        if one.written:
            out += b"PK\3\4" + struct.pack("<H", 20) + fields
            out += struct.pack("<HH", len(local_name), 0) + local_name + coded
        if one.listed:
            listed += 1
            directory += b"PK\1\2" + struct.pack("<BBH", 20, one.system, 20) + fields
            directory += struct.pack("<HHHHHLL", len(one.name), 0, 0, 0, 0, one.mode << 16, offset)
            directory += one.name
    start = len(out) - len(before)
    said = listed if count is None else count
    size = len(directory) if directory_bytes is None else directory_bytes
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, said, said, size, start, len(comment))
    return bytes(out + directory + end + comment)


def bomb(name: str, unfolded: int, said: int | None = None) -> Member:
    """Give a member of zeros. said: the size that it claims, if not `unfolded`; crc fits that."""
    coder = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = bytes(1 << 20)
    coded = b"".join(coder.compress(block) for _ in range(unfolded >> 20)) + coder.flush()
    size = unfolded if said is None else said
    crc = zlib.crc32(bytes(min(size, 1 << 20)))
    return member(name, method=DEFLATED, coded=coded, size=size, crc=crc)


def nested(depth: int, innermost: bytes) -> bytes:
    """Give a zip in a zip in a zip."""
    for _ in range(depth):
        innermost = raw_zip([member("train/REAL/a.jpg", innermost, method=DEFLATED)])
    return innermost


def overlapping(names: Iterable[str], content: bytes) -> bytes:
    """Give a zip of which each member's bytes run on over all members after it."""
    parts: list[Member] = []
    rest = b""
    for name in reversed(list(names)):
        tail = rest + content
        parts.insert(0, member(name, tail, coded=content))
        header = raw_zip([member(name, tail)]).split(tail)[0]
        rest = header + tail
    return raw_zip(replace(one, coded_size=len(one.content)) for one in parts)


def random_zip(rng: random.Random, contents: list[bytes]) -> bytes:
    """Give up to eight members with names, contents and lies drawn at random."""
    members = [_random_member(rng, contents) for _ in range(rng.choice((0, 1, 1, 2, 4, 8)))]
    if members and rng.random() < 0.2:
        members.append(rng.choice(members))  # a duplicate
    return raw_zip(
        members,
        count=rng.choice((None,) * 9 + (rng.randrange(1 << 16),)),
        before=rng.choice((b"", b"", b"#!/bin/sh\n")),
        comment=rng.choice((b"", b"", b"made by hand")),
    )


def _random_member(rng: random.Random, contents: list[bytes]) -> Member:
    name, content = rng.choice(NAMES), rng.choice(contents)
    one = Member(name, content, rng.choice((STORED, DEFLATED)), rng.choice((0, UTF_8)))
    if rng.random() < 0.5:
        return one
    lies = {
        "method": rng.choice((1, 9, 12, 14, 93, 97, 0xFFFF)),
        "flags": one.flags | rng.choice((ENCRYPTED, PATCH, STRONG, ENCRYPTED | STRONG, 8, 0x2000)),
        "mode": rng.choice((LINK, FOLDER, PIPE, DEVICE, 0)),
        "system": rng.choice((0, 11, 255)),
        "size": rng.choice((0, 1, len(content) // 2, len(content) + 1, 1 << 20, 0xFFFFFFFF)),
        "coded_size": rng.choice((0, 1, len(content) // 2, len(content) + 1, 0xFFFFFFFF)),
        "crc": rng.randrange(1 << 32),
        "local_name": rng.choice(NAMES),
        "offset": rng.choice((0, 1, 30, len(content), 0xFFFFFFFF)),
        "listed": False,
        "written": False,
    }
    return replace(one, **{lie: lies[lie] for lie in rng.sample(sorted(lies), rng.choice((1, 2)))})


def zip64(members: list[tuple[str, bytes]], offset: int = 0, count: int | None = None) -> bytes:
    """Give a zip whose directory and end are of zip64. offset: added to each header's place."""
    out, directory = bytearray(), bytearray()
    for name, content in members:
        place = len(out) + offset
        local = raw_zip([member(name, content)])
        out += local[: local.index(b"PK\1\2")]
        entry = bytearray(local[local.index(b"PK\1\2") : local.index(b"PK\5\6")])
        entry[30:32], entry[42:46] = struct.pack("<H", 12), b"\xff" * 4
        directory += entry + struct.pack("<HHQ", 1, 8, place % (1 << 64))
    start, said = len(out), len(members) if count is None else count
    end64 = struct.pack(
        "<4sQHHLLQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, said, said, len(directory), start
    )
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, start + len(directory), 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return bytes(out + directory + end64 + locator + end)


def members_and_files(data: bytes) -> tuple[int, int]:
    """Give how many members zipfile finds, and how many of them are not empty folders."""
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        infos = opened.infolist()
    empty = [
        i for i in infos if i.filename.endswith("/") and not i.file_size | i.compress_size & ~2
    ]
    return len(infos), len(infos) - len(empty)


def count_by_end(data: bytes) -> int | None:
    """Give the number of members that the end of a zip says, None where only zip64 does."""
    place = len(data) - 22
    if not (data.startswith(b"PK\5\6", max(0, place)) and data.endswith(b"\0\0")):
        place = data.rfind(b"PK\5\6")
    count = int.from_bytes(data[place + 10 : place + 12], "little")
    return None if count == 0xFFFF else count
