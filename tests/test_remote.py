"""A remote on S3, by the real protocol: what one clone pushed, another takes instead of training.

One run and one push serve the whole file; each test is a colleague with a clone of their own. What
DVC does of itself, and does not, is written down in docs/sharing.md.
"""

import hashlib
import itertools
import json

import pytest

from tests.clone import Clone, small_clone
from tests.s3_server import ACCESS_KEY, BUCKET, FOLDER, SECRET_KEY, serve
from tests.verify import hashes

pytestmark = pytest.mark.slow
WEIGHTS, MODEL, ARCHIVE, TRAIN, TEST = (
    "models/cnn32.weights.h5", "models/cnn32.zip", "data/raw/sample.zip", "data/train", "data/test",
)  # fmt: skip
MISSING = "Some of the cache files do not exist neither locally nor on remote"


def on_its_own_machine(clone, matplotlib_folder):
    """Leave nothing of who runs the tests, nor of the other clones, that it could use."""
    machine = clone.folder.parent
    clone.environment = {
        **{k: v for k, v in clone.environment.items() if not k.startswith(("AWS_", "XDG_"))},
        "HOME": str(machine),
        "DVC_SITE_CACHE_DIR": str(machine / "site"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "MPLCONFIGDIR": str(matplotlib_folder),
    }
    return clone


def give_keys(clone):
    clone(
        f"dvc remote modify --local storage access_key_id {ACCESS_KEY} && "
        f"dvc remote modify --local storage secret_access_key {SECRET_KEY}"
    )


@pytest.fixture(scope="module")
def bucket():
    with serve() as served:
        yield served


@pytest.fixture(scope="module")
def first(bucket, tmp_path_factory, matplotlib_folder):
    """Give the clone in which the pipeline ran; results are in its Git and on the remote."""
    clone = small_clone(tmp_path_factory.mktemp("first") / "repository", "model=cnn32")
    on_its_own_machine(clone, matplotlib_folder)
    clone(
        f"dvc remote add --default storage s3://{BUCKET}/{FOLDER} && "
        f"dvc remote modify storage endpointurl {bucket.endpoint} && "
        "dvc remote modify storage verify true"
    )
    give_keys(clone)
    clone("dvc repro")
    clone.commit()
    clone("dvc push --run-cache")
    return clone


@pytest.fixture
def colleague(first, tmp_path, matplotlib_folder):
    """Give what clones the first repository; the keys alone are not in it."""
    count = itertools.count()

    def make(keys=True):
        clone = Clone(tmp_path / str(next(count)) / "repository")
        clone.folder.parent.mkdir()
        first(f"git clone --quiet . {clone.folder}")
        on_its_own_machine(clone, matplotlib_folder)
        clone("git config user.name t && git config user.email t@example.com")
        if keys:
            give_keys(clone)
        return clone

    return make


def stages(output, start):
    """Give the stages of the lines that start so."""
    return {line.split("'")[1] for line in output.splitlines() if line.startswith(start)}


def ran(output):
    return stages(output, "Running stage ")


def pulled(output):
    return stages(output, "Pulling data for ")


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def listing(clone, path):
    """Give (name, hash) of each file of a folder, by DVC's rule but not by DVC."""
    folder = clone.path(path)
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): md5(p.read_bytes()) for p in files}


def content_hash(clone, path):
    """Give the hash of an out as it is on the disk: dvc.lock says only how it should be."""
    if clone.path(path).is_file():
        return md5(clone.path(path).read_bytes())
    files = sorted(listing(clone, path).items())
    table = [{"md5": hash_, "relpath": name} for name, hash_ in files]
    return md5(json.dumps(table, sort_keys=True).encode()) + ".dir"


def are_those_of(first, clone, *paths):
    """Tell whether the outs, or all of them, have the bytes that the first clone made."""
    wanted = hashes(first.folder)
    return all(content_hash(clone, path) == wanted[path] for path in paths or wanted)


def test_without_keys_nothing_is_pulled_and_git_has_none(first, colleague):
    clone = colleague(keys=False)
    output = clone("dvc pull", fails=True)
    assert "Unable to locate credentials" in output and "Traceback" not in output
    assert not clone.path("data/train").exists()
    assert SECRET_KEY in first.path(".dvc/config.local").read_text()
    # Nothing is found, which is exit code 1, and no error, which would be printed.
    assert clone(f"git grep -e {ACCESS_KEY} -e {SECRET_KEY} HEAD -- .dvc", fails=True) == ""


def test_a_second_clone_trains_nothing(first, colleague):
    clone = colleague()
    output = clone("dvc repro --pull")
    assert ran(output) == set() and "> python" not in output and "Epoch" not in output
    assert {"download", "preprocess", "corrupt", "train@cnn32"} <= pulled(output)
    assert clone("git status --porcelain") == ""
    assert are_those_of(first, clone) and hashes(clone.folder) == hashes(first.folder)
    assert clone("dvc status").strip() == "Data and pipelines are up to date."


def test_a_third_clone_runs_only_what_its_parameter_changes(first, colleague):
    clone = colleague()
    output = clone(
        "dvc exp run --pull -S model=cnn32 -S model.cnn32.learning_rate=0.01 corrupt evaluate@cnn32"
    )
    assert pulled(output) == {"download", "preprocess", "corrupt"}
    assert ran(output) == {"train@cnn32", "evaluate@cnn32"}
    before, after = hashes(first.folder), hashes(clone.folder)
    assert after[WEIGHTS] != before[WEIGHTS] == content_hash(first, WEIGHTS)
    for path in (ARCHIVE, TRAIN, TEST, "data/val", "data/corrupted"):
        assert content_hash(clone, path) == after[path] == before[path]


def test_damaged_objects_are_noticed_and_made_again(first, bucket, colleague):
    wanted = hashes(first.folder)
    clone = colleague()
    images = listing(first, TRAIN)["images.npy"]
    with bucket.damaged(wanted[WEIGHTS], wanted[ARCHIVE], images):
        output = clone("dvc pull", fails=True)
        for path in (WEIGHTS, ARCHIVE, TRAIN):
            assert f"\n{path}\n" in output and not clone.path(path).exists()
        assert "Checkout failed for following targets" in output
        assert are_those_of(first, clone, TEST)
        output = clone("dvc repro --pull corrupt")
    assert ran(output) == {"download", "preprocess"}
    assert are_those_of(first, clone, ARCHIVE, TRAIN, TEST, "data/corrupted")


def test_missing_objects_are_noticed_and_made_again(first, bucket, colleague):
    wanted = hashes(first.folder)
    clone = colleague()
    images = listing(first, TEST)["images.npy"]
    with bucket.missing(wanted[ARCHIVE], images):
        output = clone("dvc pull", fails=True)
        assert MISSING in output and wanted[ARCHIVE] in output
        assert f"failed to transfer '{images}'" in output
        assert not clone.path("data/train").exists()
        # A file of its own is made again; for one within a folder DVC stops.
        output = clone("dvc repro --pull preprocess", fails=True)
        assert ran(output) == {"download"} and "failed to reproduce 'preprocess'" in output
        assert ran(clone("dvc repro preprocess")) == {"preprocess"}
    assert are_those_of(first, clone, ARCHIVE, TRAIN, TEST)


def test_a_model_is_had_by_its_name_or_path(first, tmp_path):
    first("git tag -a cnn32@v1.0.0 -m 'the first one'")
    keys = f"AWS_ACCESS_KEY_ID={ACCESS_KEY} AWS_SECRET_ACCESS_KEY={SECRET_KEY}"
    for command in (f"get {first.folder} {MODEL}",):
        first(f"cd {tmp_path} && {keys} dvc {command}")
        got = tmp_path / "cnn32.zip"
        assert md5(got.read_bytes()) == hashes(first.folder)[MODEL]
        got.unlink()


@pytest.mark.soak
def test_without_verify_dvc_believes_damaged_objects(first, bucket, colleague):
    """The reason for `verify true`. When this fails, DVC has become more careful by itself."""
    wanted = hashes(first.folder)
    clone = colleague()
    clone("dvc remote modify --local storage verify false")
    with bucket.damaged(wanted[WEIGHTS]):
        clone("dvc pull")
    assert clone("dvc status").strip() == "Data and pipelines are up to date."
    assert content_hash(clone, WEIGHTS) != wanted[WEIGHTS]


@pytest.mark.soak
def test_a_damaged_list_of_a_folder(first, bucket, colleague):
    """It is JSON: broken, DVC refuses it; with another of its own files in it, `status` tells."""
    key = bucket.key(hashes(first.folder)[TEST])
    files = listing(first, TEST)
    whole = bucket.read(key)
    other = whole.replace(files["labels.npy"].encode(), files["classes.npy"].encode())
    with bucket.missing(hashes(first.folder)[TEST]):
        bucket.write(key, whole[:-1])
        assert "is corrupted" in colleague()("dvc pull", fails=True)
        bucket.write(key, other)
        clone = colleague()
        clone("dvc pull")
        assert content_hash(clone, TEST) != hashes(clone.folder)[TEST]
        assert "data/test" in clone("dvc status")
        clone("dvc status --quiet", fails=True)
        assert "failed to reproduce 'preprocess'" in clone("dvc repro --pull", fails=True)
        clone("dvc repro preprocess")
        assert are_those_of(first, clone, ARCHIVE, TRAIN, TEST)


@pytest.mark.soak
def test_push_mends_only_missing_files_and_a_new_path_mends_all(first, bucket, colleague):
    wanted = hashes(first.folder)
    images = listing(first, TEST)["images.npy"]
    with bucket.damaged(wanted[WEIGHTS]), bucket.missing(wanted[ARCHIVE], images):
        assert "1 file pushed" in first("dvc push")
        assert md5(bucket.read(bucket.key(wanted[ARCHIVE]))) == wanted[ARCHIVE]
        assert md5(bucket.read(bucket.key(wanted[WEIGHTS]))) != wanted[WEIGHTS]
        assert bucket.key(images) not in bucket.objects()
        fresh = f"dvc remote modify --local storage url s3://{BUCKET}/fresh"
        first(f"{fresh} && dvc push --run-cache")
        first("dvc remote modify --local --unset storage url")
        clone = colleague()
        clone(f"{fresh} && dvc pull && dvc status --quiet")
        assert are_those_of(first, clone)


@pytest.mark.soak
def test_the_run_cache_needs_what_push_leaves_out(first, bucket, colleague):
    """Without the right dvc.lock the run cache must do, and it wants the outs that Git keeps."""
    clone = colleague()
    clone("git rm --quiet dvc.lock && git commit --quiet -m 'other results'")
    output = clone("dvc repro --pull train@cnn32")
    assert ran(output) == {"preprocess", "train@cnn32"} and MISSING in output
    assert are_those_of(first, clone, ARCHIVE, TRAIN, WEIGHTS)

    cache = first.path(".dvc/cache")
    for path in filter(type(cache).is_file, cache.rglob("*")):  # as `aws s3 sync` does
        bucket.write(f"{FOLDER}/{path.relative_to(cache).as_posix()}", path.read_bytes())
    clone = colleague()
    clone("git rm --quiet dvc.lock && git commit --quiet -m 'other results'")
    assert ran(clone("dvc repro --pull")) == {"compare", "report"}
    assert are_those_of(first, clone)
