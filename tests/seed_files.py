"""Small files that are in order, which mutations start from."""

import functools
import io
import zipfile

import numpy as np
import yaml
from PIL import Image

from tests.helpers import ROOT, coded, random_pixels
from tests.model_files import described
from tests.raw_zip import member, nested, raw_zip, zip64


@functools.cache
def image_seeds() -> dict[str, bytes]:
    """Give an image of each format, in several modes, most of 32x32 pixels."""
    smooth = np.linspace(0, 255, 32 * 32 * 3).reshape(32, 32, 3).astype(np.uint8)
    picture, noise = Image.fromarray(smooth), Image.fromarray(random_pixels(1))
    small = Image.fromarray(random_pixels(2, 9))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    more = {"save_all": True, "append_images": [noise]}
    return {
        "plain.jpg": coded(picture),
        "noise.jpg": coded(noise, quality=90, subsampling=0),
        "progressive.jpg": coded(picture, progressive=True, exif=exif),
        "grey.jpg": coded(picture.convert("L"), exif=exif),
        "cmyk.jpg": coded(picture.convert("CMYK")),
        "phone.jpg": coded(picture, "MPO", **more),
        "plain.png": coded(picture, "PNG", exif=exif),
        "alpha.png": coded(picture.convert("RGBA"), "PNG", icc_profile=b"icc" * 9),
        "palette.png": coded(picture.quantize(16), "PNG", transparency=0),
        "bits.png": coded(picture.convert("1"), "PNG"),
        "animated.png": coded(small, "PNG", save_all=True, append_images=[small.rotate(90)]),
        "lossy.webp": coded(picture, "WEBP", exif=exif),
        "lossless.webp": coded(small.convert("RGBA"), "WEBP", lossless=True),
        "plain.bmp": coded(small, "BMP"),
        "palette.bmp": coded(picture.quantize(16), "BMP"),
        "plain.tif": coded(small, "TIFF", exif=exif),
        "lzw.tif": coded(picture, "TIFF", compression="tiff_lzw"),
        "deflate.tif": coded(picture.convert("L"), "TIFF", compression="tiff_deflate"),
        "jpeg.tif": coded(picture, "TIFF", compression="jpeg"),
        "pages.tif": coded(small, "TIFF", save_all=True, append_images=[small.rotate(90)]),
    }


def _packed(method: int, comment: bytes = b"") -> bytes:
    buffer, seeds = io.BytesIO(), list(image_seeds().values())
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for i, place in enumerate(("train/REAL", "train/FAKE", "test/REAL", "test/FAKE")):
            archive.writestr(f"{place}/", b"")
            archive.writestr(f"{place}/{i} größe.jpg", seeds[i])
        archive.writestr("notes.txt", b"text")
        archive.comment = comment
    return buffer.getvalue()


@functools.cache
def zip_seeds() -> dict[str, bytes]:
    """Give archives in order: stored, deflated, of zip64, behind other bytes, one in another."""
    image = image_seeds()["plain.jpg"]
    four = [(f"{p}/a.jpg", image) for p in ("train/REAL", "train/FAKE", "test/REAL", "test/FAKE")]
    return {
        "stored": _packed(zipfile.ZIP_STORED),
        "deflated": _packed(zipfile.ZIP_DEFLATED, b"a comment"),
        "one": raw_zip([member("train/REAL/a.jpg", image)]),
        "empty": raw_zip([]),
        "behind": raw_zip([member(*one) for one in four], before=b"#!/bin/sh\n" * 9),
        "zip64": zip64(four),
        "nested": nested(3, image),
    }


@functools.cache
def description_seed() -> bytes:
    """Give the model.json of a model."""
    return described().model_dump_json(indent=2).encode()


@functools.cache
def model_seeds() -> dict[str, bytes]:
    """Give the file of a model with a few bytes as its weights."""
    members = [member("model.json", description_seed()), member("weights.h5", bytes(range(256)))]
    return {"model": raw_zip(members)}


@functools.cache
def params_seeds() -> dict[str, bytes]:
    """Give the committed params.yaml, whole and with one model."""
    text = (ROOT / "params.yaml").read_bytes()
    tree = yaml.safe_load(text)
    tree["model"] = {"cnn32": tree["model"]["cnn32"]}
    return {"all": text, "flow": yaml.safe_dump(tree, default_flow_style=True).encode()}
