"""What gives the label away is said, what chance explains is not."""

import numpy as np
import pandas as pd
import pytest

from detector.audit.audit import codec_warnings, codecs_by_class, file_sizes_by_class
from detector.audit.giveaways import weighed_duplicates, weighed_file_sizes
from tests.test_audit import coded_table, sized


def warned(fake, real):
    return codec_warnings(codecs_by_class(coded_table(fake, real)))


def test_warnings_of_coders():
    assert warned("a" * 50, "a" * 90) == []
    first, second = warned("aaab" * 10, "bbbb" * 10)
    assert first.startswith("a: 75.0% of FAKE but 0.0% of REAL files are coded so")
    assert second.startswith("b: 25.0% of FAKE but 100.0% of REAL files are coded so")


def test_a_small_difference_of_coders_is_let_pass():
    counts = {"FAKE": {"a": 9950, "b": 50}, "REAL": {"a": 10000}}
    assert codec_warnings(counts) == []
    counts["FAKE"] = {"a": 9800, "b": 200}
    assert len(codec_warnings(counts)) == 2


@pytest.mark.parametrize(("fake", "real"), [("aa", "bbb"), ("aaab", "bbbb"), ("a", "b")])
def test_what_chance_explains_is_not_said(fake, real):
    assert warned(fake, real) == []


def test_random_coders_are_seldom_warned_of():
    rng = np.random.default_rng(0)
    alarms = 0
    for most in (3, 40, 400):
        for _ in range(5):
            fake, real = rng.integers(0, most, 150), rng.integers(0, most, 50)
            alarms += bool(warned([f"c{i}" for i in fake], [f"c{i}" for i in real]))
    assert alarms <= 1  # 0.15 of 15 are to be expected


def test_rare_coders_that_together_separate_the_classes():
    """400 coders of half a percent of a class each: none is over the tolerance by itself."""
    fake, real = ([f"{name}{i % 200}" for i in range(1000)] for name in ("fake", "real"))
    assert warned(fake, real) == [
        "400 coders: 100.0% of FAKE but 0.0% of REAL files have one that is commoner among FAKE; "
        "together they tell the classes apart"
    ]
    mixed = [*fake[:500], *real[:500]]
    assert warned(mixed, mixed) == []


def test_few_coders_are_named_the_others_counted():
    sizes = {f"f{i}": 40 for i in range(6)}, {f"r{i}": 40 for i in range(6)}
    warnings = codec_warnings(dict(zip(("FAKE", "REAL"), sizes, strict=True)))
    assert len(warnings) == 4
    assert [w[:2] for w in warnings[1:]] == ["f0", "f1", "f2"]
    assert warnings[0].startswith("9 other coders: 0.0% of FAKE but 100.0% of REAL files")


def test_one_class_alone_has_no_difference():
    assert codec_warnings({"FAKE": {"a": 9}, "REAL": {}}) == []


def size_warnings(fake, real):
    table = sized(fake, real)
    return weighed_file_sizes(table, file_sizes_by_class(table))


def test_file_sizes_that_give_the_label_away():
    rng = np.random.default_rng(0)
    small, large = rng.normal(900, 80, (2, 200)).astype(int)
    ((weight, warning),) = size_warnings(small, large + 140)
    assert 0.7 < weight < 0.9
    assert warning.startswith(
        "the size of a file alone tells the classes apart with an AUC of 0.88 "
    )
    assert size_warnings(large + 140, small)[0][0] == pytest.approx(weight)
    assert size_warnings(small, large) == []
    assert size_warnings([1, 2], [3, 4, 5]) == []  # one in ten by chance
    assert weighed_file_sizes(pd.DataFrame(), {"FAKE": {"median": 1}}) == []


def test_the_warning_says_how_many_were_asked_about():
    exact = ("within_test", "test_and_train_or_val", "train_and_val", "fake_and_real")
    near = {"rms_at_most": 5.0, "test_and_train": 1, "test_and_train_asked": 3}
    near |= {"fake_and_real": 0, "fake_and_real_asked": 20}
    images = {split: {"FAKE": 10, "REAL": 10} for split in ("train", "val", "test")}
    ((_, warning),) = weighed_duplicates(images, dict.fromkeys(exact, 0), near)
    assert warning.startswith("1 test image (of 3 that were looked at) with a near-duplicate")
