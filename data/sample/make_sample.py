"""Make the embedded sample archive.

    python data/sample/make_sample.py [--out PATH]        build the archive from generator.npz
    python data/sample/make_sample.py --train-generator   retrain the generator first

REAL images are 32x32 crops, at several scales, of photographs that scikit-image and scikit-learn
ship inside their packages. FAKE images are the same crops re-synthesised by generator.py.
Photographs of the training set and of the test set are disjoint. Nothing is downloaded.
"""

import argparse
import hashlib
import io
import zipfile
from importlib.resources import files
from pathlib import Path

import generator
import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent

PHOTOGRAPHS = {
    "train": (
        "skimage/data/astronaut.png",
        "skimage/data/hubble_deep_field.jpg",
        "skimage/data/ihc.png",
        "skimage/data/retina.jpg",
        "skimage/data/rocket.jpg",
        "sklearn/datasets/images/china.jpg",
    ),
    "test": (
        "skimage/data/chelsea.png",
        "skimage/data/coffee.png",
        "sklearn/datasets/images/flower.jpg",
    ),
}
PAIRS = {"train": 1600, "test": 400}
SEEDS = {"train": 1, "test": 2, "generator": 3}
GENERATOR_CROPS = 3000
SIZE = 32
# The generator sees a larger canvas, of which the middle is cut at a random offset: the phase of
# the artefacts then differs from image to image, and the padding of its borders is never seen.
CANVAS = 56
MARGIN = 8
SCALES = (64, 96, 128, 192, 256)
# Standard deviation of grey levels below which a crop counts as empty (sky, space).
MIN_CONTRAST = 14
QUALITY = 75
# The earliest date that the zip format can hold.
DATE = (1980, 1, 1, 0, 0, 0)


def open_photograph(name):
    """The photograph at package/path as an RGB image."""
    package, _, path = name.partition("/")
    with Image.open(files(package).joinpath(path)) as image:
        return image.convert("RGB")


def random_canvas(image, rng):
    """A random square of the photograph, at a random scale, resized to the canvas; may flip."""
    side = min(int(rng.choice(SCALES)), *image.size)
    left, top = (int(rng.integers(0, length - side + 1)) for length in image.size)
    box = (left, top, left + side, top + side)
    canvas = image.resize((CANVAS, CANVAS), Image.Resampling.LANCZOS, box=box)
    canvas = np.asarray(canvas)
    return canvas[:, ::-1] if rng.random() < 0.5 else canvas


def crop_canvases(names, count, rng):
    """Canvases (count, CANVAS, CANVAS, 3) from the photographs in turn, without empty ones."""
    images = [open_photograph(name) for name in names]
    canvases, turn = [], 0
    while len(canvases) < count:
        canvas = random_canvas(images[turn % len(images)], rng)
        turn += 1
        if canvas[MARGIN:-MARGIN, MARGIN:-MARGIN].mean(-1).std() >= MIN_CONTRAST:
            canvases.append(canvas)
    return np.stack(canvases)


def encode(pixels):
    """JPEG bytes; the one coder for both classes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def make_split(split, weights):
    """Archive members of one split: name -> JPEG bytes."""
    rng = np.random.default_rng(SEEDS[split])
    real = crop_canvases(PHOTOGRAPHS[split], PAIRS[split], rng)
    fake = generator.synthesise(real, weights)
    offsets = rng.integers(MARGIN, CANVAS - MARGIN - SIZE, (len(real), 2))
    members = {}
    for number, (top, left) in enumerate(offsets):
        window = np.s_[number, top : top + SIZE, left : left + SIZE]
        for label, images in (("REAL", real), ("FAKE", fake)):
            members[f"{split}/{label}/{number:04d}.jpg"] = encode(images[window])
    return members


def write_archive(members, path):
    """Write a zip whose bytes depend on the members only: sorted, stored, one fixed date."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, DATE)
            # Fixed, since zipfile records the platform it runs on (3 = Unix).
            info.create_system = 3
            info.external_attr = 0o644 << 16
            archive.writestr(info, members[name])


def write_checksum(path):
    """Write PATH.sha256 in the format of sha256sum."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name(path.name + ".sha256").write_text(f"{digest}  {path.name}\n")
    return digest


def train_generator(path):
    """Train the generator on crops of the training photographs only."""
    rng = np.random.default_rng(SEEDS["generator"])
    canvases = crop_canvases(PHOTOGRAPHS["train"], GENERATOR_CROPS, rng)
    generator.train(canvases, path, SEEDS["generator"])


def main(arguments=None):
    """Command line."""
    parser = argparse.ArgumentParser(description="Make the embedded sample archive.")
    parser.add_argument("--out", type=Path, default=HERE / "sample.zip")
    parser.add_argument("--train-generator", action="store_true", help="rewrite generator.npz")
    options = parser.parse_args(arguments)
    if options.train_generator:
        train_generator(HERE / "generator.npz")
    weights = generator.load_weights(HERE / "generator.npz")
    members = make_split("train", weights) | make_split("test", weights)
    write_archive(members, options.out)
    print(write_checksum(options.out), options.out.stat().st_size, "bytes", len(members), "images")


if __name__ == "__main__":
    main()
