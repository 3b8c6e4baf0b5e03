"""What the name of an archive member says."""

import pytest

from detector.base.layout import (
    CIFAR_CLASSES,
    CLASSES,
    cifar_class,
    is_system_file,
    locate,
    small_classes,
)


def test_the_label_of_real_is_one():
    assert CLASSES == ("FAKE", "REAL")


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("train/REAL/0000 (2).jpg", ("train", 1)),
        ("train/FAKE/1000.jpg", ("train", 0)),
        ("test/REAL/a.PNG", ("test", 1)),
        ("test/FAKE/größe.jpeg", ("test", 0)),
        ("test/FAKE/a..b.webp", ("test", 0)),
        ("train/REAL/a:b.bmp", ("train", 1)),
        ("train/REAL/a.tif", ("train", 1)),
        ("train/REAL/a.tiff", ("train", 1)),
    ],
)
def test_accepted_names(name, place):
    assert locate(name) == place


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/train/REAL/a.jpg", "leads out"),
        ("../train/REAL/a.jpg", "leads out"),
        ("train/REAL/../a.jpg", "leads out"),
        ("train/REAL/..", "leads out"),
        ("train\\REAL\\a.jpg", "leads out"),
        ("train/REAL/..\\a.jpg", "leads out"),
        ("C:/REAL/a.jpg", "leads out"),
        ("val/REAL/a.jpg", "not in train/REAL"),
        ("train/real/a.jpg", "not in train/REAL"),
        ("Train/REAL/a.jpg", "not in train/REAL"),
        ("train/REAL/more/a.jpg", "not in train/REAL"),
        ("cifake/train/REAL/a.jpg", "not in train/REAL"),
        ("train/a.jpg", "not in train/REAL"),
        ("a.jpg", "not in train/REAL"),
        ("", "not in train/REAL"),
        ("train//a.jpg", "not in train/REAL"),
        ("train/REAL/a.txt", "does not end in .jpg"),
        ("train/REAL/a.gif", "does not end in .jpg"),
        ("train/REAL/jpg", "does not end in .jpg"),
        ("train/REAL/", "does not end in .jpg"),
        ("train/REAL/.a.jpg", "hidden"),
        ("train/REAL/._a.jpg", "hidden"),
    ],
)
def test_refused_names(name, reason):
    with pytest.raises(ValueError, match=reason):
        locate(name)


def test_system_files():
    own = ["__MACOSX/train/REAL/._a.jpg", "train/REAL/.DS_Store", "Thumbs.db", "test/desktop.ini"]
    assert all(map(is_system_file, own))
    assert not any(map(is_system_file, ["train/REAL/a.jpg", "train/__MACOSX/a.jpg", "notes.txt"]))


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("0000.jpg", 0),
        ("1000.jpg", 0),
        ("0.jpg", 0),
        ("train/REAL/0000 (2).jpg", 1),
        ("0000 (9).jpg", 8),
        ("5999 (10).jpg", 9),
        ("0000 (11).jpg", None),
        ("0000 (1).jpg", None),
        ("0000 (0).jpg", None),
        ("0000 (02).jpg", None),
        ("0000(2).jpg", None),
        ("0000  (2).jpg", None),
        ("00000.jpg", None),
        ("0000.png", None),
        ("0000 (2).jpg\n", None),
        ("cat (2).jpg", None),
        (".jpg", None),
        ("", None),
    ],
)
def test_cifar_class(name, number):
    assert cifar_class(name) == number


def test_cifar_classes_are_in_the_order_of_cifar_10():
    assert "-".join(CIFAR_CLASSES) == (
        "airplane-automobile-bird-cat-deer-dog-frog-horse-ship-truck"
    )


def test_a_class_with_few_images_is_named():
    """2 and 4 FAKE images, as chose temperature and threshold and made a balanced accuracy."""
    counts = {
        "train": {"FAKE": 1, "REAL": 1},
        "val": {"FAKE": 2, "REAL": 50},
        "test": {"FAKE": 49, "REAL": 1},
    }
    assert small_classes(counts) == [
        "only 2 FAKE images in val, fewer than 50: temperature, threshold and unsure band rest on "
        "them",
        "only 49 FAKE images in test, fewer than 50: trust the intervals, not the figures",
        "only 1 REAL image in test, fewer than 50: trust the intervals, not the figures",
    ]
    assert small_classes({"train": {"FAKE": 3}}) == []
