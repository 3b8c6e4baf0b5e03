"""The loop of damaged files: what it makes is decided by its seed, and it finds what is planted."""

import base64
import json
import random
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from detector.base.errors import ExpectedError
from detector.external import sets as external
from detector.images import decode
from detector.preprocessing import ingest
from tests import fuzz_readers
from tests.fuzz_readers import Escape, fuzz, make_case, table
from tests.helpers import ROOT
from tests.mutations import MUTATORS, mutate
from tests.raw_zip import members_and_files
from tests.seed_files import image_seeds, model_seeds, params_seeds, zip_seeds

SEEDS = [
    *image_seeds().values(), *zip_seeds().values(), *model_seeds().values(),
    *params_seeds().values(), b"", b"x",
]  # fmt: skip


@pytest.mark.parametrize("mutator", MUTATORS, ids=lambda mutator: mutator.__name__)
def test_a_mutator_is_decided_by_its_generator_and_changes_something(mutator):
    changed = 0
    for data in SEEDS:
        for seed in range(20):
            first, second = (mutator(random.Random(seed), data, SEEDS) for _ in range(2))
            assert first == second and isinstance(first, bytes)
            changed += first != data
    assert changed > 10 * len(SEEDS)


def test_cases_are_decided_by_seed_and_number():
    cases = [make_case(1, number) for number in range(300)]
    assert cases == [make_case(1, number) for number in range(300)]
    assert {name for name, _ in cases} == set(fuzz_readers.READERS)
    assert len({data for _, data in cases}) > 250
    assert cases != [make_case(2, number) for number in range(300)]
    assert mutate(random.Random(1), b"", []) == mutate(random.Random(1), b"", [])


def test_the_seeds_are_in_order(tmp_path):
    accepted = []
    for name, reader in fuzz_readers.READERS.items():
        for label, data in reader.seeds().items():
            try:
                reader.read(data, tmp_path)
            except (reader.refusal, ExpectedError):
                continue
            accepted.append((name, label))
    named = dict(accepted)
    assert set(named) == set(fuzz_readers.READERS)
    assert ("decode_any", "phone.jpg") in accepted and ("members", "zip64") in accepted


def test_a_short_run_has_no_escape(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_AS), signal.getsignal(signal.SIGALRM)
    counts = fuzz(2000, seed=5, kept=tmp_path)
    assert counts.total() == 2000 and not list(tmp_path.iterdir())
    assert all(counts[name, "refused"] for name in fuzz_readers.READERS)
    assert counts == fuzz(2000, seed=5, kept=tmp_path)
    assert before == (resource.getrlimit(resource.RLIMIT_AS), signal.getsignal(signal.SIGALRM))
    assert "members" in table(counts)


def planted(tmp_path) -> dict:
    """Give what is said of the first escape."""
    with pytest.raises(Escape) as raised:
        fuzz(3000, seed=1, kept=tmp_path)
    (path,) = tmp_path.iterdir()
    found = json.loads(path.read_text())
    name, data = make_case(1, found["case"])
    assert found["reader"] == name and base64.b64decode(found["base64"]) == data
    assert found["what"] in str(raised.value) and str(path) in str(raised.value)
    return found


def key_error(*_):
    raise KeyError("planted")


def unicode_error(*_):
    return b"\xff".decode()


def address(*_):
    raise ValueError("<x object at 0x7f0011223344>")


def two_lines(*_):
    raise ValueError("a\nb")


def too_long(*_):
    time.sleep(2)


def too_much(*_):
    bytearray(1 << 40)


@pytest.mark.parametrize(
    ("bug", "what"),
    [
        (key_error, "raises KeyError: 'planted'"),
        (unicode_error, "raises UnicodeDecodeError"),
        (address, "has an address"),
        (two_lines, "no printable line"),
        (too_long, "takes more than"),
        (too_much, "raises MemoryError"),
        (lambda *_: (np.zeros((32, 32)), "PNG", ()), "not uint8 of"),
    ],
)
def test_a_planted_bug_of_a_decoder_is_found(tmp_path, monkeypatch, bug, what):
    monkeypatch.setattr(fuzz_readers, "SECONDS", 0.5)
    monkeypatch.setattr(decode, "decode_image", bug)
    assert what in planted(tmp_path)["what"]


def test_a_dropped_member_is_found(tmp_path, monkeypatch):
    sort = ingest.sort_members
    monkeypatch.setattr(ingest, "sort_members", lambda names: (*sort(names)[:2], []))
    assert "a member is dropped by its name" in planted(tmp_path)["what"]


def test_a_member_that_is_not_listed_is_found(tmp_path, monkeypatch):
    names = external._files_of_zip
    monkeypatch.setattr(external, "_files_of_zip", lambda path: names(path)[:-1])
    found = planted(tmp_path)
    assert "members are accounted for" in found["what"]
    assert members_and_files(base64.b64decode(found["base64"]))[1] > 0


def test_the_command(tmp_path):
    command = [sys.executable, "-m", "tests.fuzz_readers", "--cases", "50", "--seed", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (
        done.returncode == 0 and "50 cases of seed 3" in done.stdout and "no escape" in done.stdout
    )


@pytest.mark.soak
def test_a_long_run_has_no_escape(tmp_path):
    assert fuzz(100_000, seed=1, kept=tmp_path).total() == 100_000
