"""Stage external: the sets in external.path become arrays, and each is audited."""

from pathlib import Path
from typing import Any

import pandas as pd

from detector.archives.settings import DataParams
from detector.archives.zips import quoted
from detector.base.arrays import SPLITS, load_split
from detector.base.errors import ExpectedError
from detector.base.files import replacing, write_json
from detector.base.params import read_params
from detector.base.program import run
from detector.external.sets import (
    LISTED,
    ImageSet,
    audit_set,
    choose,
    find_sets,
    images_by_class,
)
from detector.external.settings import ExternalParams
from detector.external.sharing import features_of, shared_images, sharing_warnings
from detector.images.external_images import write_set
from detector.preprocessing.settings import PreprocessParams

BAD_FILES_OF_A_FAILED_RUN = Path(".work/external_bad_files.csv")


def main() -> None:
    """Write data/sets (arrays of each set, list of sets, list of bad files) and the audit."""
    params = read_params(data=DataParams, preprocess=PreprocessParams, external=ExternalParams)
    settings = params.external
    found = find_sets(settings.path)
    with replacing("data/sets") as folder:
        folder.mkdir()
        reports = {
            one.name: prepare(one, folder, params.data.image_size, settings.recode,
                              settings.max_images)
            for one in found
        }  # fmt: skip
        bad = pd.DataFrame(
            [(name, *entry) for name, report in reports.items() for entry in report["bad"]],
            columns=["set", "member", "reason"],
        )
        bad.to_csv(folder / "bad_files.csv", index=False)
        if len(bad) and params.preprocess.on_bad_image == "error":
            refuse(settings.path, bad)
        for one in found:
            require_images(one, reports[one.name])
        if found:
            name_shared_images(reports, folder, params.preprocess.near_duplicate_rms)
        write_json(folder / "sets.json", [
            {"name": name, **report["images"]} for name, report in reports.items()
        ])  # fmt: skip
        write_json(folder / "audit.json", {"sets": {
            name: {key: value for key, value in report.items() if key != "bad"}
            for name, report in reports.items()
        }})  # fmt: skip
    for name, report in reports.items():
        for warning in report["warnings"]:
            print(f"warning: {name}: {warning}")


def prepare(
    one: ImageSet, folder: Path, size: int, recode: bool, max_images: int | None
) -> dict[str, Any]:
    """Write the arrays of a set; give its part of the audit, with all bad files under `bad`."""
    labels = choose(one.labels, max_images)
    table, undecodable = write_set(one.path, labels, folder / one.name, size, recode)
    bad = sorted(one.bad + undecodable)
    left_out = [label for member, label in one.labels.items() if member not in labels]
    return {
        **audit_set(table, size),
        "recoded": recode,
        "left_out": images_by_class(left_out),
        # data/sets/bad_files.csv has them all
        "bad_files": {"count": len(bad), "first": [list(entry) for entry in bad[:LISTED]]},
        "ignored_files": {"count": len(one.ignored), "first": one.ignored[:LISTED]},
        "bad": bad,
    }


def name_shared_images(reports: dict[str, dict[str, Any]], folder: Path, rms: float) -> None:
    """Add to the audit of each set what it shares with the images of the archive."""
    known = {split: load_split(f"data/{split}") for split in SPLITS}
    features = {split: features_of(arrays.images) for split, arrays in known.items()}
    for name, report in reports.items():
        shared = shared_images(load_split(folder / name), known, features, rms)
        report["near_duplicates"] = shared
        report["warnings"] = sharing_warnings(shared) + report["warnings"]


def refuse(path: str, bad: pd.DataFrame) -> None:
    """Stop for files that cannot be used; keep the list of them where the message says."""
    BAD_FILES_OF_A_FAILED_RUN.parent.mkdir(exist_ok=True)
    bad.to_csv(BAD_FILES_OF_A_FAILED_RUN, index=False)
    first = bad.iloc[0]
    raise ExpectedError(
        f"{path}: {len(bad)} of its files cannot be used, first {quoted(first['member'])} of the "
        f"set {first['set']} ({first['reason']}); all are listed in {BAD_FILES_OF_A_FAILED_RUN}: "
        "mend the sets, or leave them out with -S preprocess.on_bad_image=drop"
    )


def require_images(one: ImageSet, report: dict[str, Any]) -> None:
    """Refuse a set of which every image had to be dropped."""
    if not sum(report["images"].values()):
        member, reason = report["bad"][0]
        raise ExpectedError(
            f"{one.path}: none of its images can be used, not {quoted(member)} either ({reason}); "
            "mend the set or remove it"
        )


if __name__ == "__main__":
    run(main)
