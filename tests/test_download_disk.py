"""The download stage where the disk ends: the stage fails in one sentence and resumes later."""

import os
import resource
import subprocess
import zipfile

import pytest

from tests.kaggle_server import KaggleServer, Place
from tests.test_download import LARGE, assert_resumes, partial


def test_a_file_too_large_for_the_file_system(kaggle: KaggleServer, place: Place) -> None:
    kaggle.payload = LARGE

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    message = place.fail(preexec_fn=limit)
    assert "cannot be written (File too large)" in message
    assert_resumes(kaggle, place, partial(place).stat().st_size)


@pytest.mark.parametrize("announced", [True, False])
def test_a_full_disk(kaggle: KaggleServer, place: Place, announced: bool) -> None:
    kaggle.payload, kaggle.announce_length = LARGE, announced
    disk = place.cwd / ".work"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("a small disk can only be made where mount is allowed")
    try:
        message = place.fail()
        words = "more, but only" if announced else "cannot be written (No space left on device)"
        assert words in message and "free some space" in message
        subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
        kaggle.announce_length = True
        place.succeed()  # .work is another disk than data/ here, so this is a copy
        assert zipfile.ZipFile(place.zip).testzip() is None
    finally:
        subprocess.run(["umount", str(disk)], check=True)
