"""`make verify` runs the committed state twice, and sees it when bytes or metrics differ."""

import json
import os
import subprocess
import sys

import pytest

from tests.clone import small_clone
from tests.helpers import ROOT
from tests.verify import apart, compared, hashes, numbers, summary


def test_numbers_of_a_tree():
    tree = {"n": 3, "test": {"auc": 0.5, "flag": True, "by": [1, {"x": 2.5}]}, "word": "1"}
    assert dict(numbers(tree, "m")) == {"m:n": 3, "m:test:auc": 0.5, "m:test:by:0": 1,
                                        "m:test:by:1:x": 2.5}  # fmt: skip


def test_what_is_apart():
    committed = {"a": 0.5, "b": 0.5, "c": 1000.0, "d": 1000.0, "gone": 1.0}
    new = {"a": 0.515, "b": 0.53, "c": 1015.0, "d": 1030.0, "more": 1.0}
    assert [words.split()[0] for words in apart(committed, new, 0.02)] == ["b", "d", "gone", "more"]


def test_every_out_of_any_run_is_compared():
    committed = {"a": "1", "b": "1", "only committed": "1"}
    first = {"a": "1", "b": "2", "c": "1"}
    second = {"a": "1", "b": "3", "only second": "1"}
    table, different, uncommitted = compared(committed, first, second)
    assert different == ["b", "c", "only second"]
    assert uncommitted == ["b", "c", "only committed"]
    assert all(name in table for name in {*committed, *first, *second})
    assert "Another processor" in summary(3, different, uncommitted)
    assert summary(2, [], []).startswith("2 of 2 outs")


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    clone = small_clone(tmp_path_factory.mktemp("verify") / "repository", "model=cnn32")
    clone("dvc repro")
    clone.commit()
    return clone


def verify(clone):
    environment = {**clone.environment, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.verify", "--repository", str(clone.folder)]
    return subprocess.run(
        command, cwd=clone.folder.parent, env=environment, capture_output=True, text=True
    )


@pytest.mark.slow
@pytest.mark.soak
def test_a_sound_repository(repository):
    done = verify(repository)
    assert done.returncode == 0, done.stdout + done.stderr
    count = len(hashes(repository.folder))
    assert count > 15
    assert (
        f"{count} of {count} outs have the same bytes in both runs, and all are those of the "
        "committed dvc.lock." in done.stdout
    )
    assert "PYTHONHASHSEED=4711" in done.stdout and "on 1 CPU\n" in done.stdout


@pytest.mark.slow
@pytest.mark.soak
def test_a_stage_that_hangs_on_the_hash_seed_and_metrics_that_are_not_ours(repository):
    stage = repository.path("stages/compare.py")
    stage.write_text(
        stage.read_text().replace(
            'if __name__ == "__main__":\n    run(main)',
            'if __name__ == "__main__":\n    run(main)\n'
            '    with open("plots/compare/compare.md", "a") as file:\n'
            '        file.write(str(hash("x")))',
        )
    )
    metrics = repository.path("metrics/cnn32.json")
    changed = json.loads(metrics.read_text())
    changed["accuracy"] += 0.1
    metrics.write_text(json.dumps(changed))
    repository.commit()
    done = verify(repository)
    assert done.returncode == 1
    assert "error: two runs on this machine differ in plots/compare/compare.md" in done.stderr
    assert os.path.basename("plots/compare/compare.md") in done.stdout
