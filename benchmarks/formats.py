"""Images a second of ways to keep more images than fit into memory: ours and TensorFlow's own.

    python -m benchmarks.formats --arrays data [--count 1000000]

Ours is a memory map of which each batch gathers its rows, in an order over all images. TFRecord is
read in order from 16 files in turn and mixed in a buffer of 10,000 images, as its readers do. Both
deliver the same batches of 64 images, uint8, to nothing. Images are written to the temporary
folder, 3 KB each and format. Writes <out>/formats.json and prints the table.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.common import Measured, pairs, row, say, write
from benchmarks.growth import repeat_images
from detector.base.arrays import Split, load_split
from detector.base.program import run
from detector.networks.runtime import start_keras

FILES, BUFFER, BATCH = 16, 10_000, 64


def main() -> None:
    """Write both formats, read them in turn, write the result."""
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("--arrays", type=Path, required=True, help="folder with train/")
    command.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder")
    command.add_argument("--count", type=int, default=1_000_000, help="images")
    command.add_argument("--repeats", type=int, default=5, help="of each measurement")
    command.add_argument("--seconds", type=float, default=5, help="of one")
    command.add_argument("--quick", action="store_true", help="only show that it works")
    options = command.parse_args()
    if options.quick:
        options.count, options.repeats, options.seconds = 200, 1, 0.1
    figures, rows = measure(options)
    write("formats", figures, rows, options)
    say(tabulate(rows, headers="keys", floatfmt=".4g"))


def measure(options: argparse.Namespace) -> Measured:
    """Time both ways in turn."""
    start_keras(1)
    with tempfile.TemporaryDirectory() as folder:
        repeat_images(options.arrays / "train", Path(folder, "arrays"), options.count)
        split = load_split(Path(folder, "arrays"))
        files = records(split, Path(folder))
        raw: dict[str, list[float]] = {"memory_map": [], "tfrecord": []}
        for _ in range(options.repeats):
            for name, batches in (
                ("memory_map", mapped(split)),
                ("tfrecord", recorded(files, split)),
            ):
                raw[name].append(rate(batches, options.seconds))
                say(f"formats: {name}: {raw[name][-1]:.0f} images/s")
        figures = {
            "images": options.count,
            "images_per_second": raw,
            "bytes": {
                "memory_map": Path(folder, "arrays/images.npy").stat().st_size,
                "tfrecord": sum(Path(file).stat().st_size for file in files),
            },
            "ours_over_tfrecord": pairs(raw["memory_map"], raw["tfrecord"]),
        }
    ratio = figures["ours_over_tfrecord"]["median_ratio"]
    return figures, [row(f"memory map / TFRecord, {options.count:,} images", ratio, "times")]


def records(split: Split, folder: Path) -> list[str]:
    """Write the images and labels of a split to FILES files of records, one after the other."""
    import tensorflow as tf

    files = [str(folder / f"{i:02}.tfrecord") for i in range(FILES)]
    share = -(-len(split) // FILES)
    for i, file in enumerate(files):
        with tf.io.TFRecordWriter(file) as writer:
            for place in range(i * share, min((i + 1) * share, len(split))):
                writer.write(bytes([split.labels[place]]) + split.images[place].tobytes())
    return files


def mapped(split: Split) -> Iterator[Any]:
    """Give batches of the memory map, as a training takes them."""
    from detector.networks.batches import TrainingBatches

    batches = TrainingBatches(split, BATCH, None, seed=1)
    while True:
        for step in range(len(batches)):
            yield batches[step]
        batches.on_epoch_end()


def recorded(files: list[str], split: Split) -> Iterator[Any]:
    """Give batches of the records, mixed in a buffer."""
    import tensorflow as tf

    shape = split.images.shape[1:]

    def decoded(record: Any) -> tuple[Any, Any]:
        values = tf.io.decode_raw(record, tf.uint8)
        labels = tf.cast(values[:, :1], tf.float32)
        return tf.reshape(values[:, 1:], (-1, *shape)), labels

    data = tf.data.TFRecordDataset(
        tf.data.Dataset.from_tensor_slices(files), num_parallel_reads=tf.data.AUTOTUNE
    )
    data = data.repeat().shuffle(BUFFER, seed=1).batch(BATCH).map(decoded, tf.data.AUTOTUNE)
    return data.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()


def rate(batches: Iterator[Any], seconds: float) -> float:
    """Give the images a second of an endless iterator, after its first batch."""
    next(batches)
    images, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        images += len(next(batches)[0])
    return images / spent


if __name__ == "__main__":
    run(main)
