"""Stage corrupt: the test images, or some of them, at every level of every corruption."""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from detector.base.arrays import Split, at_once, load_split
from detector.base.files import replacing
from detector.base.params import read_params
from detector.base.program import run
from detector.base.section import Seed
from detector.corruption.corruptions import (
    Level,
    choose_rows,
    corrupt,
    levels,
    levels_table,
    load_corrupted,
)
from detector.corruption.figures import corruption_sheet
from detector.corruption.settings import CorruptionParams

# Images of 32 pixels in memory at once, 1.5 MB, eight times that as floats; fewer of larger ones
BLOCK = 512


def main() -> None:
    """Read data/test; write data/corrupted (images, labels, names, rows, levels) and a picture."""
    params = read_params(seed=Seed, corruption=CorruptionParams)
    settings = params.corruption
    found = levels(settings)
    test = load_split("data/test")
    rows = choose_rows(test.labels, settings.max_images, params.seed)
    with (
        replacing("data/corrupted") as folder,
        replacing("plots/data/corruptions.png") as picture,
    ):
        folder.mkdir()
        np.save(folder / "labels.npy", test.labels[rows], allow_pickle=False)
        np.save(folder / "names.npy", test.names[rows], allow_pickle=False)
        np.save(folder / "rows.npy", rows, allow_pickle=False)
        levels_table(found).to_csv(folder / "levels.csv", index=False)
        write_images(folder / "images.npy", test, rows, found, params.seed)
        written = load_corrupted(folder)
        corruption_sheet(written.images, written.levels, picture, written.labels)


def write_images(path: Path, test: Split, rows: np.ndarray, found: list[Level], seed: int) -> None:
    """Write uint8 L,n,S,S,3, level by level and a block of images at a time."""
    shape = (len(found), len(rows), *test.images.shape[1:])
    # Not a memory map: a full disk would kill the process there, and is an OSError here.
    step = at_once(BLOCK, test.images.shape[1])
    with (
        open(path, "wb") as file,
        tqdm(
            total=shape[0] * shape[1], desc="corrupt", unit="img", mininterval=0.5, disable=None
        ) as bar,
    ):
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": shape}
        )
        for level in found:
            for start in range(0, len(rows), step):
                block = rows[start : start + step]
                file.write(corrupt(test.images[block], level, seed, block).data)
                bar.update(len(block))


if __name__ == "__main__":
    run(main)
