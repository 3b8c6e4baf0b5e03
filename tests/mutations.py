"""Small changes of the bytes of a file, each decided by a generator of random numbers alone."""

import random
import re
import struct
import zlib
from collections.abc import Callable, Sequence

Mutator = Callable[[random.Random, bytes, Sequence[bytes]], bytes]

# Numbers at which fields of 1, 2, 4 and 8 bytes overflow, vanish or change sign.
EDGES = (0, 1, 2, 7, 8, 31, 32, 33, 127, 128, 255, 256, 1024, 32767, 32768, 65535, 65536,
         2**24, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)  # fmt: skip

# Values of YAML and JSON, right and wrong, that a parser or what is behind it may trip over.
VALUES = (
    b"", b"null", b"true", b"no", b"-1", b"0", b"0.5", b"1e400", b"-.inf", b".nan", b"NaN", b"1_0",
    b"9" * 5000, b"0x" + b"f" * 5000, b"1" + b"0" * 400, b"12:30:45", b"2024-99-99", b"2024-02-30",
    b"2024-01-01", b"!!int x", b"!!float x", b"!!timestamp x", b"!!bool x", b"!!binary x",
    b"!!python/none x", b"!!set {a}", b"!!pairs [x]", b"[" * 3000, b"{a: " * 400, b"[[1]]", b"{}",
    b"&a [*a]", b"*gone", b"<<: 1", rb'"\ud800"', rb'"\u0000"', rb'"\n"', b'"x"', b"? [1]",
    b"{1: 2}", b"'" + b"x" * 9000 + b"'", "größe".encode(), b"\xff", b"\0", b"|\n  text",
    b"---\na: 1",
)  # fmt: skip

# Offset and bytes of the fields of each record of a zip, by the record's first bytes.
ZIP_FIELDS = {
    b"PK\3\4": ((4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)),
    b"PK\1\2": ((4, 1), (5, 1), (6, 2), (8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2),
                (30, 2), (32, 2), (34, 2), (38, 4), (42, 4)),
    b"PK\5\6": ((4, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)),
    b"PK\6\6": ((4, 8), (24, 8), (32, 8), (40, 8), (48, 8)),
    b"PK\6\7": ((4, 4), (8, 8), (16, 4)),
}  # fmt: skip


def mutate(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Change `data` in one to three ways. others: files that a part may be taken from."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(MUTATORS)(rng, data, others)
    return data


def flip(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Flip some bits."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8)) if data else 0):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def overwrite(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Put random bytes, or one byte again and again, over a part."""
    start, end = _part(rng, data, 16)
    new = rng.randbytes(end - start) if rng.random() < 0.5 else rng.randbytes(1) * (end - start)
    return data[:start] + new + data[end:]


def truncate(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Leave out the end."""
    return data[: rng.randrange(len(data) + 1)]


def leave_out(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Leave out a part."""
    start, end = _part(rng, data, 64)
    return data[:start] + data[end:]


def repeat(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Have a part twice or more often."""
    start, end = _part(rng, data, 256)
    return data[:end] + data[start:end] * rng.choice((1, 2, 20)) + data[end:]


def splice(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Go on with the end, or put in a part, of another file."""
    other = rng.choice(others) if others else data
    start, end = _part(rng, other, 256)
    place = rng.randrange(len(data) + 1)
    if rng.random() < 0.5:
        return data[:place] + other[start:]
    return data[:place] + other[start:end] + data[place:]


def set_number(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Write a number at the edge of what fits over some bytes, which may be a length."""
    return _with_number(rng, data, rng.randrange(len(data) + 1), rng.choice((1, 2, 4, 8)))


def set_zip_field(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Change a field of a header, of the directory or of the end of a zip; else as set_number."""
    places = [(kind, place) for kind in ZIP_FIELDS for place in _places(data, kind)]
    if not places:
        return set_number(rng, data, others)
    kind, place = rng.choice(places)
    offset, size = rng.choice(ZIP_FIELDS[kind])
    if rng.random() < 0.3:  # by one bit: flags, methods
        changed = bytearray(data)
        if place + offset < len(data):
            changed[place + offset] ^= 1 << rng.randrange(8)
        return bytes(changed)
    return _with_number(rng, data, place + offset, size)


def set_chunk(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Change the content of a chunk of a PNG and make its checksum fit; else as set_number."""
    chunks, place = [], 8
    while data.startswith(b"\x89PNG") and place + 12 <= len(data):
        length = struct.unpack_from(">I", data, place)[0]
        chunks.append((place, length))
        place += 12 + length
    if not chunks:
        return set_number(rng, data, others)
    place, length = rng.choice(chunks)
    content = set_number(rng, data[place + 8 : place + 8 + length], others)
    body = data[place + 4 : place + 8] + content
    new = struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
    return data[:place] + new + data[place + 12 + length :]


def set_value(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Give a key of YAML or JSON, or a key and all below it, another value; else as set_number."""
    places = [found.span(1) for found in re.finditer(rb":([^\n,{}]*)", data)]
    if not places:
        return set_number(rng, data, others)
    start, end = rng.choice(places)
    return data[:start] + b" " + rng.choice(VALUES) + data[end:]


MUTATORS: tuple[Mutator, ...] = (
    flip, overwrite, truncate, leave_out, repeat, splice, set_number, set_zip_field, set_chunk,
    set_value,
)  # fmt: skip


def _part(rng: random.Random, data: bytes, longest: int) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.randrange(1, longest + 1))


def _places(data: bytes, kind: bytes) -> list[int]:
    places, place = [], data.find(kind)
    while place >= 0 and len(places) < 64:
        places.append(place)
        place = data.find(kind, place + 1)
    return places


def _with_number(rng: random.Random, data: bytes, place: int, size: int) -> bytes:
    number = rng.choice(EDGES) if rng.random() < 0.7 else rng.randrange(1 << 8 * size)
    order = rng.choice(("little", "big"))
    new = (number % (1 << 8 * size)).to_bytes(size, order)
    return data[:place] + new[: len(data) - place] + data[place + size :]
