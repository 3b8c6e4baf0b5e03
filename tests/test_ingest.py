"""Every member of an archive is accounted for, and lands in the right split."""

import numpy as np
import pytest

from detector.base.arrays import SPLITS, load_split
from detector.base.errors import ExpectedError
from detector.images.decode import BadImage, decode_members, low_frequencies
from detector.preprocessing.ingest import plan_splits, sort_members, write_arrays
from stages.preprocess import member_names
from tests.helpers import coded, image_members, make_archive, random_pixels, zip_of
from tests.raw_zip import member, raw_zip


def test_members_are_sorted():
    members, bad, ignored = sort_members(
        [
            "train/REAL/b.jpg",
            "train/FAKE/a.jpg",
            "train/REAL/a.jpg",
            "train/REAL/a.jpg",
            "__MACOSX/train/REAL/._a.jpg",
            "train/REAL/.DS_Store",
            "../a.jpg",
            "readme.txt",
        ]
    )
    assert list(members.items()) == [
        ("train/FAKE/a.jpg", ("train", 0)),
        ("train/REAL/a.jpg", ("train", 1)),
        ("train/REAL/b.jpg", ("train", 1)),
    ]
    assert [entry.member for entry in bad] == ["../a.jpg", "readme.txt", "train/REAL/a.jpg"]
    assert bad[2].reason == "the archive has this name twice; the last one is used"
    assert ignored == ["__MACOSX/train/REAL/._a.jpg", "train/REAL/.DS_Store"]


def test_odd_members_are_listed(tmp_path):
    image = coded(random_pixels(0))
    odd = [("", b"x"), ("train/REAL/", b""), ("train/REAL/a.jpg/", image)]
    path = tmp_path / "a.zip"
    path.write_bytes(raw_zip([member(*one) for one in odd]))
    used, bad, ignored = sort_members(member_names(path))
    assert not used and not ignored
    assert [entry.member for entry in bad] == ["", "train/REAL/a.jpg/"]
    path.write_bytes(raw_zip([member(*one) for one in odd], count=2))
    with pytest.raises(ExpectedError, match="its end counts 2 members, its directory has 3"):
        member_names(path)


def test_of_a_name_that_occurs_twice_the_last_one_is_used(tmp_path):
    members = image_members(5)
    first = members[0][0]
    with pytest.warns(UserWarning, match="Duplicate name"):
        archive = zip_of(tmp_path / "a.zip", [*members, (first, coded(random_pixels(99), "PNG"))])
    plan = plan_splits(sort_members(name for name, _ in members)[0], False, 0.2, seed=1)
    folders = {split: tmp_path / split for split in SPLITS}
    table, _, _, bad = write_arrays(
        decode_members(str(archive), list(plan.index), 32), plan, folders, 32
    )
    assert not bad
    row = table.set_index("member").loc[first]
    assert np.array_equal(load_split(folders[row["split"]]).images[row["row"]], random_pixels(99))


def names(count, classes):
    """Give `count` training images of each label and CIFAR class, and one test image of each."""
    for name in ("REAL", "FAKE"):
        for number in classes:
            bracket = f" ({number})" if number > 1 else ""
            yield from (f"train/{name}/{i:04d}{bracket}.jpg" for i in range(count))
            yield f"test/{name}/0000{bracket}.jpg"


def test_validation_has_the_same_share_of_each_label_and_cifar_class():
    members, _, _ = sort_members(names(10, range(1, 11)))
    plan = plan_splits(members, class_in_name=True, fraction=0.2, seed=1)
    counts = plan.groupby(["split", "label", "class"]).size().unstack("split")
    assert len(counts) == 20
    assert (counts["train"] == 8).all() and (counts["val"] == 2).all()
    assert (counts["test"] == 1).all()
    assert list(plan["member"]) == list(plan.index) == list(members)
    assert plan.loc["train/REAL/0003 (10).jpg", "class"] == 9
    assert plan.loc["train/FAKE/0003.jpg", ["label", "class"]].tolist() == [0, 0]


def test_the_names_are_not_looked_at_unless_asked_for():
    members, _, _ = sort_members(names(10, [1, 2]))
    plan = plan_splits(members, class_in_name=False, fraction=0.2, seed=1)
    assert set(plan["class"]) == {-1}
    assert plan.groupby("label")["split"].value_counts().unstack()["val"].tolist() == [4, 4]


def test_the_seed_decides_and_the_order_of_the_archive_does_not():
    some = list(names(10, [1]))
    plans = [
        plan_splits(sort_members(order)[0], False, 0.2, seed)
        for order, seed in ((some, 1), (some[::-1], 1), (some, 2))
    ]
    assert plans[0].equals(plans[1])
    assert not plans[0].equals(plans[2])


def test_too_few_images():
    members, _, _ = sort_members(names(1, [1]))
    with pytest.raises(
        ExpectedError, match="the training images cannot be divided so: train/FAKE has 1"
    ):
        plan_splits(members, False, 0.2, seed=1)


def test_tables_and_arrays_say_the_same(tmp_path):
    archive = make_archive(tmp_path / "a.zip", each=5)
    plan = plan_splits(sort_members(name for name, _ in image_members(5))[0], False, 0.4, seed=1)
    plan = plan[plan.index != "test/FAKE/0000.jpg"]
    folders = {split: tmp_path / split for split in SPLITS}
    table, features, moments, bad = write_arrays(
        decode_members(str(archive), list(plan.index), 32), plan, folders, 32
    )
    assert bad == [] and len(table) == len(features) == len(moments) == 19
    assert list(table["member"]) == list(plan.index)
    for name, part in table.groupby("split"):
        split = load_split(folders[name])
        assert part["row"].tolist() == list(range(len(split)))
        rows = part.index.to_numpy()
        assert np.array_equal(moments[rows, 0] + 128, split.images.mean(axis=(1, 2)))
        assert np.array_equal(features[rows], low_frequencies(split.images))
        assert [member.decode() for member in split.names] == part["member"].tolist()
        assert split.labels.tolist() == part["label"].tolist()
        assert split.labels.tolist() == ["REAL" in member for member in part["member"]]


def test_members_that_are_left_out_leave_no_hole(tmp_path):
    members = image_members(5)
    members[1] = (members[1][0], b"garbage")
    archive = zip_of(tmp_path / "a.zip", members)
    plan = plan_splits(sort_members(name for name, _ in members)[0], False, 0.4, seed=1)
    folders = {split: tmp_path / split for split in SPLITS}
    table, _, _, bad = write_arrays(
        decode_members(str(archive), list(plan.index), 32), plan, folders, 32
    )
    assert bad == [BadImage(members[1][0], "not a JPEG, PNG, WEBP, BMP, TIFF file")]
    assert members[1][0] not in set(table["member"])
    for name, part in table.groupby("split"):
        assert part["row"].tolist() == list(range(len(load_split(folders[name]))))
