"""Stage preprocess: the archive becomes arrays for train, val and test, and is audited."""

import zipfile
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from detector.archives.settings import DataParams
from detector.archives.zips import content_sha256, is_folder, quoted
from detector.base import layout
from detector.base.arrays import SPLITS, Split, keep_rows, load_split, rows_of
from detector.base.errors import ExpectedError
from detector.base.files import replacing, write_json
from detector.base.params import read_params
from detector.base.program import run
from detector.base.section import Seed
from detector.images.decode import BadImage, decode_members, open_archive
from detector.preprocessing.ingest import (
    conversion_warnings,
    converted_by_class,
    plan_splits,
    sort_members,
    write_arrays,
)
from detector.preprocessing.settings import PreprocessParams

if TYPE_CHECKING:
    from detector.preprocessing.spectra import Spectra

BAD_FILES_OF_A_FAILED_RUN = Path(".work/bad_files.csv")
SPECTRA = 20_000


def main() -> None:
    """Read data/raw/<name>.zip; write arrays, audit, lists of bad and leaked images, figures."""
    params = read_params(seed=Seed, data=DataParams, preprocess=PreprocessParams)
    settings = params.preprocess
    archive = Path(f"data/raw/{params.data.name}.zip")
    members, bad, ignored = sort_members(member_names(archive))
    require_images(archive, members)
    with ExitStack() as stack:
        folders = {s: stack.enter_context(replacing(f"data/{s}")) for s in SPLITS}
        report_path = stack.enter_context(replacing("data/audit.json"))
        sheet_path = stack.enter_context(replacing("plots/data/samples.png"))
        spectra_path = stack.enter_context(replacing("plots/data/spectra.png"))
        bad_path = stack.enter_context(replacing("data/bad_files.csv"))
        leaked_path = stack.enter_context(replacing("data/leaked.csv"))

        table, features, moments, undecodable = write_splits(archive, members, folders, params)
        bad = sorted(bad + undecodable)
        pd.DataFrame(bad, columns=["member", "reason"]).to_csv(bad_path, index=False)
        if bad and settings.on_bad_image == "error":
            refuse(archive, bad, bad_path)
        # These take a second to import, for which the decoding need not wait.
        from detector.audit import audit
        from detector.audit.duplicates import leaked, to_drop
        from detector.preprocessing import figures
        from detector.preprocessing.spectra import spectrum_peaks

        dropped = to_drop(table) & (settings.duplicates == "drop")
        if dropped.any():
            table, features, moments = leave_out(
                dropped, folders, table, features, moments, bad_path
            )
        require_both_classes(archive, table)
        leaked(table).to_csv(leaked_path, index=False)
        splits = {split: load_split(folder) for split, folder in folders.items()}
        spectra = training_spectra(splits["train"])
        report = {
            "archive": describe(archive),
            **audit.audit(
                table,
                features,
                moments,
                lambda rows: rows_of(splits, table, rows),
                settings.near_duplicate_rms,
            ),
            "converted": converted_by_class(table),
            "dropped_duplicates": int(dropped.sum()),
            "spectrum_peaks": spectrum_peaks(spectra),
            # data/bad_files.csv has them all
            "bad_files": {"count": len(bad), "first": [list(entry) for entry in bad[:20]]},
            "ignored_files": {"count": len(ignored), "first": ignored[:20]},
        }
        report["warnings"] += conversion_warnings(report["converted"])
        write_json(report_path, report)
        figures.sample_sheet(splits["train"], params.seed, sheet_path)
        figures.spectra_figure(spectra, f"{archive.stem}, train", spectra_path)
    for warning in report["warnings"]:
        print(f"warning: {warning}")


def write_splits(
    archive: Path, members: dict[str, tuple[str, int]], folders: dict[str, Path], params: Any
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, list[BadImage]]:
    """Decode the members into the folder of each split. Returns what write_arrays does."""
    size, settings = params.data.image_size, params.preprocess
    with closing(decode_members(str(archive), list(members), size)) as chunks:
        plan = plan_splits(
            members, params.data.cifar_class_in_name, settings.validation_fraction, params.seed
        )
        return write_arrays(chunks, plan, folders, size)


def leave_out(
    dropped: np.ndarray,
    folders: dict[str, Path],
    table: pd.DataFrame,
    features: np.ndarray,
    moments: np.ndarray,
    listed: Path,
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Take images out of the arrays and what is known of them, and add them to the list.

    dropped: bool N. Returns table, features and moments of the others.
    """
    for split, folder in folders.items():
        keep_rows(folder, ~dropped[(table["split"] == split).to_numpy()])
    reason = "pixels of an image of a later split (preprocess.duplicates)"
    table.loc[dropped, ["member"]].assign(reason=reason).to_csv(
        listed, mode="a", index=False, header=False
    )
    rest = table[~dropped].reset_index(drop=True)
    rest["row"] = rest.groupby("split").cumcount()
    return rest, features[~dropped], moments[~dropped]


def training_spectra(train: Split) -> "Spectra":
    """Give the mean spectra of at most SPECTRA images, evenly spread: more change nothing."""
    from detector.preprocessing.spectra import mean_spectra

    step = -(-len(train) // SPECTRA)
    return mean_spectra(train.images[::step], train.labels[::step])


def member_names(archive: Path) -> list[str]:
    """Give the names of all files in the zip."""
    try:
        infos = open_archive(archive).infolist()
        return [info.filename for info in infos if not is_folder(info)]
    except (OSError, zipfile.BadZipFile) as error:
        raise ExpectedError(
            f"{archive}: not a readable zip ({error}); 'dvc repro --force download' makes it anew"
        ) from error


def require_images(archive: Path, members: dict[str, tuple[str, int]]) -> None:
    """Refuse an archive that lacks a class in train or test: nothing to learn or to judge."""
    found = set(members.values())
    for split in layout.SPLITS:
        for label, name in enumerate(layout.CLASSES):
            if (split, label) not in found:
                raise ExpectedError(
                    f"{archive}: no image in {split}/{name}; "
                    "pack it as train/REAL, train/FAKE, test/REAL, test/FAKE"
                )


def refuse(archive: Path, bad: list[BadImage], listed: Path) -> None:
    """Stop for files that cannot be used; keep the list of them where the message says."""
    BAD_FILES_OF_A_FAILED_RUN.parent.mkdir(exist_ok=True)
    BAD_FILES_OF_A_FAILED_RUN.write_bytes(listed.read_bytes())
    raise ExpectedError(
        f"{archive}: {len(bad)} of its files cannot be used, first {quoted(bad[0].member)} "
        f"({bad[0].reason}); all are listed in {BAD_FILES_OF_A_FAILED_RUN}: mend the archive, or "
        "leave them out with -S preprocess.on_bad_image=drop"
    )


def require_both_classes(archive: Path, table: pd.DataFrame) -> None:
    """Refuse a split of which all images of a class had to be dropped."""
    found = set(zip(table["split"], table["label"], strict=True))
    for split in SPLITS:
        for label, name in enumerate(layout.CLASSES):
            if (split, label) not in found:
                raise ExpectedError(
                    f"{archive}: no usable {name} image is left for {split}; mend the archive, or "
                    "see why with -S preprocess.on_bad_image=error"
                )


def describe(archive: Path) -> dict[str, str | int | bool]:
    """Return name, sha256 of the content and bytes of the archive, and whether it is CIFAKE."""
    with open_archive(archive) as opened:
        digest = content_sha256(opened)
    return {
        "name": archive.stem,
        "sha256": digest,
        "bytes": archive.stat().st_size,
        "cifake": digest == layout.CIFAKE_SHA256,
    }


if __name__ == "__main__":
    run(main)
