"""Other sets of images: which are found, which are refused by name, what gives the label away."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp

from detector.base.errors import ExpectedError
from detector.external.sets import audit_set, choose, find_sets, label_of
from tests.helpers import coded, random_pixels, zip_of
from tests.raw_zip import member, raw_zip

FOLDER = "data/external"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(FOLDER).mkdir(parents=True)


def put(name: str, members: dict[str, bytes]) -> Path:
    """Write a set to data/external/: a zip if the name says so, else a folder."""
    path = Path(FOLDER, name)
    if name.endswith(".zip"):
        return zip_of(path, members.items())
    for inner, data in members.items():
        (path / inner).parent.mkdir(parents=True, exist_ok=True)
        (path / inner).write_bytes(data)
    return path


def good(each: int = 3, size: int = 32, seed: int = 0, **options) -> dict[str, bytes]:
    return {
        f"test/{label}/{i}.jpg": coded(random_pixels(seed + 100 * n + i, size), **options)
        for n, label in enumerate(("REAL", "FAKE"))
        for i in range(each)
    }


def wrong(name: str, members: dict[str, bytes]) -> str:
    """Give what is said of a set that is refused."""
    path = put(name, members)
    with pytest.raises(ExpectedError) as error:
        find_sets(FOLDER)
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("member", "label"),
    [
        ("REAL/a.jpg", 1),
        ("fake/a.PNG", 0),
        ("test/Fake/x/y/a.jpeg", 0),
        ("REAL/FAKE/a.jpg", 0),
        ("FAKE/real/FAKES/a.jpg", 1),
        ("LICENSE", None),
        ("notes/a.csv", None),
        (".DS_Store", None),
        ("REAL/Thumbs.db", None),
        ("REAL/._a.jpg", None),
        (".git/REAL/a.jpg", None),
        ("__MACOSX/REAL/a.jpg", None),
    ],
)
def test_the_innermost_folder_gives_the_label(member, label):
    assert label_of(member) == label


@pytest.mark.parametrize("member", ["../REAL/a.jpg", "/REAL/a.jpg", "REAL\\a.jpg", "REAL/../a.jpg"])
def test_names_that_lead_out(member):
    with pytest.raises(ValueError, match="leads out"):
        label_of(member)


def test_the_folder_must_be_there(folder):
    Path(FOLDER).rmdir()
    with pytest.raises(
        ExpectedError, match=r"^data/external: not a folder that can be read \(No such"
    ):
        find_sets(FOLDER)
    Path(FOLDER).touch()
    with pytest.raises(ExpectedError, match="Not a directory"):
        find_sets(FOLDER)


def test_what_looks_like_a_set_but_is_none_is_refused(folder):
    for name, members, said in [
        ("a.zip", {}, "no image lies below"),
        ("b", {"photo.jpg": b"x"}, "first of 1 others: 'photo.jpg', not below a folder called"),
        ("REAL", {"photo.jpg": b"x"}, "no image lies below"),
        ("my photos", good(1), "no name for a set"),
        ("größe.zip", good(1), "no name for a set"),
        ("-x.zip", good(1), "no name for a set"),
        ("sets.json.zip", good(1), "no name for a set"),
        ("x" * 65, good(1), "no name for a set"),
    ]:
        assert said in wrong(name, members)
        path = Path(FOLDER, name)
        path.unlink() if path.is_file() else path.rename("elsewhere" + name)
    for name, said in [
        ("c.tar.gz", "an archive of another kind"),
        ("c.7z", "an archive of another kind"),
        ("c.JPG", "an image by itself"),
        ("c.zip", "not a readable zip"),
    ]:
        path = Path(FOLDER, name)
        path.write_bytes(b"PK\3\4 nothing")
        with pytest.raises(ExpectedError) as error:
            find_sets(FOLDER)
        assert str(path) in str(error.value) and said in str(error.value)
        path.unlink()


def test_two_sets_of_one_name(folder):
    put("a.zip", good(1))
    assert "data/external/a has this name too" in wrong("a", good(1))


def test_names_of_sets(folder):
    for name in ("v1.5", "Photos-2024.zip", "_x.ZIP"):
        put(name.lower() if name.endswith("ZIP") else name, good(1))
    Path("data/external/_x.zip").rename("data/external/_x.ZIP")
    assert [one.name for one in find_sets(FOLDER)] == ["Photos-2024", "_x", "v1.5"]


def test_links(folder):
    secret = Path("secret")
    secret.mkdir()
    (secret / "a.jpg").write_bytes(coded(random_pixels(0)))
    put("s", good(1))
    real = Path("data/external/s/test/REAL")
    (real / "out.jpg").symlink_to(secret.resolve() / "a.jpg")
    (real / "loop.jpg").symlink_to("loop.jpg")
    (real / "gone.jpg").symlink_to("nothing.jpg")
    (real / "in.jpg").symlink_to("../FAKE/0.jpg")
    (real / "up").symlink_to("..")
    Path("data/external/s/FAKE").symlink_to(secret.resolve())
    os.mkfifo(real / "pipe.jpg")
    (one,) = find_sets(FOLDER)
    assert list(one.labels) == ["test/FAKE/0.jpg", "test/REAL/0.jpg", "test/REAL/in.jpg"]
    assert one.bad == [
        ("FAKE", "a link that leads out of the set"),
        ("test/REAL/gone.jpg", "a link that leads nowhere"),
        ("test/REAL/loop.jpg", "a link that leads nowhere"),
        ("test/REAL/out.jpg", "a link that leads out of the set"),
        ("test/REAL/pipe.jpg", "neither a file nor a folder"),
        ("test/REAL/up", "a link to a folder"),
    ]
    Path("data/external/t").symlink_to(secret.resolve())
    with pytest.raises(
        ExpectedError, match="data/external/t: this link leads out of data/external"
    ):
        find_sets(FOLDER)


def test_a_name_that_is_not_utf8(folder):
    put("s", good(1))
    Path(os.fsdecode(b"data/external/s/test/REAL/gr\xf6sse.jpg")).write_bytes(
        coded(random_pixels(0))
    )
    (one,) = find_sets(FOLDER)
    assert one.bad == [("test/REAL/gr\\udcf6sse.jpg", "the name is not UTF-8")]


def test_odd_members_of_a_zip_are_listed(folder):
    image = coded(random_pixels(0))
    odd = [("", b"x"), ("\0", b""), ("REAL/", b""), ("REAL/a.jpg/", image), ("x/", b"more")]
    members = [member(*one) for one in [("REAL/a.jpg", image), *odd]]
    Path("data/external/a.zip").write_bytes(raw_zip(members))
    (one,) = find_sets(FOLDER)
    assert list(one.labels) == ["REAL/a.jpg"] and one.ignored == ["", "", "x/"]
    assert [bad.member for bad in one.bad] == ["REAL/a.jpg/"]
    Path("data/external/a.zip").write_bytes(raw_zip(members, count=7))
    with pytest.raises(ExpectedError, match="its end counts 7 members, its directory has 6"):
        find_sets(FOLDER)


def test_a_part_of_each_class_is_chosen_by_name(folder):
    labels = {f"{'REAL' if i % 3 else 'FAKE'}/{i:03d}.jpg": int(i % 3 > 0) for i in range(90)}
    labels = dict(sorted(labels.items()))
    some, more = choose(labels, 10), choose(labels, 20)
    assert [sum(v == label for v in some.values()) for label in (0, 1)] == [10, 10]
    assert some.keys() < more.keys() and list(some) == sorted(some)
    assert list(some)[:10] != list(labels)[:10]
    assert choose(dict(reversed(labels.items())), 10) == some
    assert choose(labels, 60) == choose(labels, None) == labels


def table(fake: list[tuple[int, int]], real: list[tuple[int, int]]) -> pd.DataFrame:
    width, height = zip(*fake, *real, strict=True)
    return pd.DataFrame(
        {
            "label": np.repeat([0, 1], [len(fake), len(real)]),
            "width": width,
            "height": height,
            "codec": "PNG",
            "file_bytes": 1000,
            "changes": [()] * len(width),
        }
    )


def test_sizes_that_give_the_label_away():
    report = audit_set(table([(512, 512)] * 40, [(640, 480)] * 30 + [(480, 640)] * 10), 32)
    (warning,) = report["warnings"]
    assert warning.startswith(
        "the shorter side of FAKE images is 512 pixels, that of REAL ones 480 (medians; the "
        "distributions are 100% apart)"
    )
    assert report["pixels"]["REAL"] == {
        "distinct": 2,
        "most_common": {"640x480": 30, "480x640": 10},
    }


def test_sizes_that_differ_by_chance_alone_are_no_warning():
    rng = np.random.default_rng(0)
    warned = 0
    for _ in range(100):
        sides = [[(int(a), 2000) for a in rng.integers(200, 1500, 60)] for _ in range(2)]
        warned += len(audit_set(table(*sides), 32)["warnings"])
    assert 0 <= warned <= 12  # 5 of 100 are to be expected
    assert audit_set(table([(9, 99)], [(99, 9)]), 8)["warnings"] == []
    assert len(audit_set(table([(9, 99)], [(10, 99)]), 8)["warnings"]) == 1


def test_the_gap_is_that_of_kolmogorov_and_smirnov():
    rng = np.random.default_rng(1)
    fake, real = rng.integers(100, 200, 300), rng.integers(110, 230, 200)
    sizes = [[(int(side), 999) for side in sides] for sides in (fake, real)]
    (warning,) = audit_set(table(*sizes), 32)["warnings"]
    gap = ks_2samp(fake, real).statistic
    assert f"the distributions are {gap:.0%} apart" in warning


def test_many_coders_do_not_fill_the_screen():
    sizes = [(32, 32)] * 200
    many = table(sizes, sizes)
    many["codec"] = [f"JPEG tables {i // 20:08x} 4:2:0" for i in range(400)]
    warnings = audit_set(many, 32)["warnings"]
    assert len(warnings) == 4 and "17 other coders: 0.0% of FAKE" in " ".join(warnings)


def test_sizes_of_files_are_said_where_those_in_pixels_say_nothing():
    sizes = [(32, 32)] * 30
    same, other = table(sizes, sizes), table(sizes, [(64, 64)] * 30)
    for one in (same, other):
        one["file_bytes"] = range(60)
    (warning,) = audit_set(same, 32)["warnings"]
    assert warning.startswith(
        "the size of a file alone tells the classes apart with an AUC of 1.00"
    )
    assert [w[:16] for w in audit_set(other, 32)["warnings"]] == ["the shorter side"]
