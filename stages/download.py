"""Stage `download`: bring the archive, check it, and leave it as data/raw/<name>.zip."""

import errno
import os
import shutil
from pathlib import Path

from detector.archives import archive, kaggle_download
from detector.archives.archive import BadArchive, Contents
from detector.archives.settings import DataParams
from detector.base.errors import ExpectedError
from detector.base.files import replacing
from detector.base.params import read_params
from detector.base.program import run

RAW = Path("data/raw")
WORK = Path(".work/download")  # outside the outs, which DVC deletes before a stage runs


def main() -> None:
    """Write data/raw/<name>.zip and say in one line what it is."""
    data = read_params(data=DataParams).data
    target = RAW / f"{data.name}.zip"
    contents = from_kaggle(data, target) if data.kaggle else from_local(data, target)
    print(f"{data.name}: {contents}" + ("" if data.pinned else _advice(data)))


def from_local(data: DataParams, target: Path) -> Contents:
    """Copy the zip, or pack the folder, that `data.path` names to `target`.

    Raises ExpectedError when it is missing, unreadable or not what the params pin.
    """
    source = Path(data.path)
    # os.path, since Path's methods raise where a folder on the way may not be entered
    if not (os.path.isfile(source) or os.path.isdir(source)):
        what = "is neither a file nor a folder" if os.path.exists(source) else "does not exist"
        raise ExpectedError(f"{source}: {what}; data.path must name a zip or a folder")
    if target.resolve().is_relative_to(source.resolve()):
        raise ExpectedError(
            f"{source}: data.path must lie elsewhere than {target}, which this stage writes"
        )
    with replacing(target) as partial:
        if source.is_dir():
            archive.pack(source, partial)
        else:
            archive.copy(source, partial)
        try:
            return archive.examine(partial, data.pinned)
        except BadArchive as error:
            raise ExpectedError(
                f"{source}: {error}; name a zip or a folder with train/REAL, train/FAKE, "
                "test/REAL and test/FAKE at its top as data.path, or correct the pins in conf/data"
            ) from error


def from_kaggle(data: DataParams, target: Path) -> Contents:
    """Download the version of a data set that `data.kaggle` names to `target`.

    Raises ExpectedError. A transfer that broke off is kept for the next run to resume; a complete
    file that fails a check is set aside, so that the next run starts afresh.
    """
    work = WORK / data.name
    # The version is in the name: another version's partial must not be resumed.
    folder = work / data.kaggle.replace("/", "--")
    dataset, version = data.kaggle.split("/versions/")
    downloaded = kaggle_download.fetch(dataset, int(version), folder)
    try:
        contents = archive.examine(downloaded, data.pinned, whole=True)
    except BadArchive as error:
        refused = work / "refused.zip"
        os.replace(downloaded, refused)
        raise ExpectedError(
            f"{data.kaggle}: {error}; the file is kept as "
            f"{refused}; run again to download it afresh, or correct the pins in {data.path} "
            "if this is the archive you mean"
        ) from error
    _move(downloaded, target)
    shutil.rmtree(work, ignore_errors=True)
    return contents


def _move(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise ExpectedError(
                f"{target}: cannot be written ({error.strerror}); the download is kept as "
                f"{source}; mend the permissions and run again"
            ) from error
        with replacing(target) as partial:  # .work is on another disk
            archive.copy(source, partial)


def _advice(data: DataParams) -> str:
    where = data.path if data.kaggle else "its file in conf/data"
    return f"; pin this sha256 as data.sha256 in {where} to refuse any other archive"


if __name__ == "__main__":
    run(main)
