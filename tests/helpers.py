"""Builders that several test modules share."""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from conf.compose import compose
from detector.base.arrays import SplitWriter

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("train/REAL", "train/FAKE", "test/REAL", "test/FAKE")


def composed_params(folder: Path, *overrides: str) -> dict[str, Any]:
    """Compose conf/ with overrides as for -S into folder/params.yaml and give its content."""
    compose(folder / "params.yaml", list(overrides))
    return yaml.safe_load((folder / "params.yaml").read_text())


def random_pixels(seed: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def coded(pixels: np.ndarray | Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """Give the file of an image, coded by Pillow."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png(width: int, height: int, depth: int, colour_type: int, pixels: bytes) -> bytes:
    """Make a PNG without Pillow, which writes no 16-bit colour and no false sizes."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(pixels))
        + png_chunk(b"IEND", b"")
    )


def zip_of(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    """Write members, in this order, with a fixed date."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content)
    return path


def image_members(
    each: int = 10, size: int = 32, quality: int = 75, seed: int = 0
) -> list[tuple[str, bytes]]:
    """Give `each` random JPEGs for each split and class as pairs of name and file."""
    return [
        (
            f"{folder}/{i:04d}.jpg",
            coded(random_pixels(seed + 1000 * n + i, size), quality=quality),
        )
        for n, folder in enumerate(FOLDERS)
        for i in range(each)
    ]


def learnable_arrays(folder: Path, counts: dict[str, int], seed: int = 0) -> None:
    """Write arrays of noise in which FAKE has a weak trace, too weak for a loss of 0."""
    generator = np.random.default_rng(seed)
    for split, count in counts.items():
        labels = np.arange(count) % 2
        images = generator.integers(60, 200, (count, 32, 32, 3), dtype=np.uint8)
        images[labels == 0, ::2] += np.uint8(8)
        with SplitWriter(folder / split, 32) as writer:
            writer.append(images, list(labels), [-1] * count, [f"{i}.png" for i in range(count)])


def make_archive(path: Path, each: int = 10, **options: Any) -> Path:
    """Write a zip of `each` random JPEGs for each split and class."""
    return zip_of(path, image_members(each, **options))


def patch(path: Path, member: str, change) -> None:
    """Let `change(bytes, offset of local header, offset of directory entry)` damage a member."""
    with zipfile.ZipFile(path) as archive:
        local = archive.getinfo(member).header_offset
    data = bytearray(path.read_bytes())
    entry = data.rindex(member.encode()) - 46
    assert data[entry : entry + 4] == b"PK\x01\x02"
    change(data, local, entry)
    path.write_bytes(data)
