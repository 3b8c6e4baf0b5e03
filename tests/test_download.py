"""The stage `download` against the official Kaggle client and a server on loopback."""

import json
import signal
import time
from pathlib import Path

import pytest

from tests.kaggle_server import (
    DOWNLOAD,
    INTROSPECT,
    SMALL,
    KaggleServer,
    Place,
    content_sha256,
    make_zip,
    use_kaggle,
)

LARGE = make_zip(padding=400_000)  # 3.2 MB: larger than every buffer between server and client
TOKEN = "KGAT_t0ken-for-tests"


def partial(place: Place, version: int = 3) -> Path:
    return place.work / f"owner--slug--versions--{version}" / "slug.zip"


def test_success_without_an_account(kaggle: KaggleServer, place: Place) -> None:
    line = place.succeed()
    assert place.zip.read_bytes() == SMALL
    assert line.startswith("data: train 2 REAL + 2 FAKE, test 2 REAL + 2 FAKE; ")
    content = f"{len(SMALL)} bytes, content sha256 {content_sha256(SMALL)}; "
    assert f"{content}pin this sha256 as data.sha256 in " in line
    assert [seen.path for seen in kaggle.api] == [DOWNLOAD]
    asked = {"ownerSlug": "owner", "datasetSlug": "slug", "datasetVersionNumber": 3}
    assert asked.items() <= kaggle.api[0].body.items()
    assert "Authorization" not in kaggle.api[0].headers
    assert "100%|" in place.err
    assert not place.work.exists()


def test_success_with_pins(place: Place) -> None:
    use_kaggle(place, sha256=content_sha256(SMALL))
    assert "pin" not in place.succeed()
    assert place.zip.read_bytes() == SMALL


def give_token(place: Place) -> None:
    place.env["KAGGLE_API_TOKEN"] = TOKEN


def give_file(place: Place, name: str, text: str) -> None:
    (place.home / ".kaggle").mkdir()
    (place.home / ".kaggle" / name).write_text(text)
    (place.home / ".kaggle" / name).chmod(0o644)  # the client warns of this; it must not show


def give_token_file(place: Place) -> None:
    give_file(place, "access_token", f"{TOKEN}\n")


def give_key_file(place: Place) -> None:
    give_file(place, "kaggle.json", json.dumps({"username": "someone", "key": "k3y"}))


def give_key_variables(place: Place) -> None:
    place.env |= {"KAGGLE_USERNAME": "someone", "KAGGLE_KEY": "k3y"}


BASIC = "Basic c29tZW9uZTprM3k="  # someone:k3y


@pytest.mark.parametrize(
    ("give", "paths", "expected"),
    [
        (give_token, [INTROSPECT, DOWNLOAD], f"Bearer {TOKEN}"),
        (give_token_file, [INTROSPECT, DOWNLOAD], f"Bearer {TOKEN}"),
        (give_key_file, [DOWNLOAD], BASIC),
        (give_key_variables, [DOWNLOAD], BASIC),
    ],
)
def test_credentials_are_sent_to_the_api_alone(
    kaggle: KaggleServer, place: Place, give, paths: list[str], expected: str
) -> None:
    give(place)
    kaggle.payload, kaggle.cuts = LARGE, [1_000_000]  # a retry must not send them either
    place.succeed()
    assert [seen.path for seen in kaggle.api] == paths
    assert all(seen.headers["Authorization"] == expected for seen in kaggle.api)
    assert len(kaggle.storage) == 2
    for seen in kaggle.storage:
        assert not {"Authorization", "Cookie"} & set(seen.headers)
        assert TOKEN not in str(seen.headers) and "k3y" not in str(seen.headers)


def test_a_cut_connection_is_resumed_in_the_same_run(kaggle: KaggleServer, place: Place) -> None:
    kaggle.payload, kaggle.cuts = LARGE, [1_000_000]
    place.succeed()
    assert place.zip.read_bytes() == LARGE
    first, second = kaggle.storage
    start = int(second.headers["Range"].removeprefix("bytes=").removesuffix("-"))
    assert 900_000 < start <= 1_000_000 and second.headers["If-Range"] == kaggle.etag
    assert (first.status, second.status, second.sent) == (200, 206, len(LARGE) - start)


def assert_resumes(kaggle: KaggleServer, place: Place, kept: int) -> None:
    """Run again and see that exactly the bytes that were missing are asked for and sent."""
    kaggle.storage.clear()
    place.succeed()
    assert place.zip.read_bytes() == kaggle.payload
    (ranged,) = [seen for seen in kaggle.storage if "Range" in seen.headers]
    assert ranged.headers["Range"] == f"bytes={kept}-"
    assert (ranged.status, ranged.sent) == (206, len(kaggle.payload) - kept)


def test_a_connection_that_keeps_breaking_is_resumed_by_the_next_run(
    kaggle: KaggleServer, place: Place
) -> None:
    kaggle.payload, kaggle.cuts = LARGE, [1_000_000, 100_000, 100_000]
    message = place.fail()
    kept = partial(place).stat().st_size
    assert "the connection to the server broke off" in message
    assert f"{kept} bytes are kept" in message and 1_000_000 < kept < 1_200_000
    assert len(kaggle.storage) == 3  # the client alone would go on for more than a minute
    assert_resumes(kaggle, place, kept)


def test_a_silent_server_is_given_up(kaggle: KaggleServer, place: Place) -> None:
    kaggle.payload, kaggle.hold_after = LARGE, 700_000
    place.env["TEST_READ_SECONDS"] = "0.4"
    assert "did not answer for 0.4 seconds; check the network" in place.fail()
    kaggle.hold_after = None
    assert_resumes(kaggle, place, partial(place).stat().st_size)


def test_a_killed_run_is_resumed_by_the_next_run(kaggle: KaggleServer, place: Place) -> None:
    kaggle.payload, kaggle.hold_after = LARGE, 1_000_000
    process = place.start()
    deadline = time.monotonic() + 30
    while not partial(place).exists() or partial(place).stat().st_size < 900_000:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = partial(place).stat().st_size
    kaggle.hold_after = None
    assert_resumes(kaggle, place, kept)


def test_another_pinned_version_does_not_resume(kaggle: KaggleServer, place: Place) -> None:
    kaggle.payload, kaggle.cuts = LARGE, [1_000_000] * 3
    place.fail()
    assert partial(place).exists()
    kaggle.storage.clear()
    use_kaggle(place, version=4)
    place.succeed()
    assert kaggle.api[-1].body["datasetVersionNumber"] == 4
    assert [seen.headers.get("Range") for seen in kaggle.storage] == [None]
    assert place.zip.read_bytes() == LARGE


def test_a_dataset_that_changed_meanwhile_is_fetched_afresh(
    kaggle: KaggleServer, place: Place
) -> None:
    kaggle.payload, kaggle.cuts = LARGE, [1_000_000, 0, 0]
    place.fail()
    kaggle.payload, kaggle.etag = make_zip(padding=300_000), '"other"'
    place.succeed()
    assert place.zip.read_bytes() == kaggle.payload


@pytest.mark.parametrize("padding", [300_000, 500_000])
def test_a_dataset_that_changes_in_between_is_noticed(
    kaggle: KaggleServer, place: Place, padding: int
) -> None:
    kaggle.payload, kaggle.cuts = LARGE, [1_000_000]
    kaggle.successor = make_zip(padding=padding), '"other"'
    assert "the transfer ended with another size than announced" in place.fail()
    place.succeed()
    assert place.zip.read_bytes() == kaggle.payload


@pytest.mark.parametrize("status", [403, 416, 500])
def test_a_refused_resume_keeps_the_partial(
    kaggle: KaggleServer, place: Place, status: int
) -> None:
    kaggle.payload, kaggle.cuts = LARGE, [1_000_000]
    kaggle.storage_statuses = [200, status, status, status, status]
    message = place.fail()
    kept = partial(place).stat().st_size
    assert f"HTTP {status}" in message and "run again" in message
    assert LARGE.startswith(partial(place).read_bytes()) and kept > 900_000
    kaggle.storage_statuses = []
    assert_resumes(kaggle, place, kept)


def test_a_finished_transfer_is_not_repeated(kaggle: KaggleServer, place: Place) -> None:
    (place.cwd / "data").write_text("in the way")  # so that the file cannot be moved into place
    assert "the download is kept" in place.fail()
    (place.cwd / "data").unlink()
    kaggle.storage.clear()
    kaggle.cuts = [10]  # nobody needs the rest
    place.succeed()
    assert place.zip.read_bytes() == SMALL


@pytest.mark.parametrize(
    ("status", "known", "words"),
    [
        (401, False, ["wants to know who", "KAGGLE_API_TOKEN", "~/.kaggle/access_token"]),
        (401, True, ["the credentials it was given", "KAGGLE_API_TOKEN", "kaggle.json"]),
        (403, False, ["without an account", "accept", "terms", "KAGGLE_API_TOKEN"]),
        (403, True, ["accept", "terms", "the credentials belong to"]),
        (404, False, ["check data.kaggle in conf/data"]),
        (429, False, ["slow down", "run again"]),
        (500, False, ["run again"]),
    ],
)
def test_the_api_refuses(
    kaggle: KaggleServer, place: Place, status: int, known: bool, words: list[str]
) -> None:
    kaggle.api_status = kaggle.introspect_status = status
    if known:
        give_token(place)
    message = place.fail()
    assert message.startswith("error: owner/slug version 3: ") and TOKEN not in message
    assert all(word in message for word in [f"HTTP {status}", *words]), message


@pytest.mark.parametrize("token", [f"{TOKEN}\n", f"{TOKEN}é€", "x" * 5000])
def test_a_token_that_cannot_be_sent_is_not_shown(place: Place, token: str) -> None:
    place.env["KAGGLE_API_TOKEN"] = token
    message = place.fail()
    assert "credentials" in message and TOKEN not in message and "xxx" not in message


def test_no_server(place: Place) -> None:
    place.env["TEST_KAGGLE_ENDPOINT"] = "http://127.0.0.1:9"
    assert "127.0.0.1 refuses the connection; check the network" in place.fail()


def test_no_name(place: Place) -> None:
    place.env["TEST_KAGGLE_ENDPOINT"] = "http://kaggle.invalid"
    assert "the name kaggle.invalid cannot be resolved" in place.fail()


def damaged() -> bytes:
    data = bytearray(SMALL)
    data[data.index(b"test/REAL/0001.jpg") + 40] ^= 1
    return bytes(data)


@pytest.mark.parametrize(
    ("payload", "pins", "words"),
    [
        (b"<!DOCTYPE html><p>Sign in", {}, "not a readable zip archive (it begins with b'<!DOC"),
        (b"", {}, "not a readable zip archive"),
        (SMALL[:-100], {}, "not a readable zip archive"),
        (SMALL, {"sha256": "0" * 64}, f"the sha256 {content_sha256(SMALL)}, not the pinned 0"),
        (
            damaged(),
            {},
            "'test/REAL/0001.jpg' is unusable: damaged in the archive (Bad CRC-32",
        ),
        (make_zip(extra=("readme.md",)), {}, "such as 'readme.md'"),
    ],
)
def test_a_wrong_archive_is_set_aside(
    kaggle: KaggleServer, place: Place, payload: bytes, pins: dict, words: str
) -> None:
    kaggle.payload = payload
    use_kaggle(place, **pins)
    message = place.fail()
    assert words in message and "refused.zip" in message and "run again" in message
    assert (place.work / "refused.zip").read_bytes() == payload
    kaggle.payload = SMALL
    use_kaggle(place)
    place.succeed()
    assert place.zip.read_bytes() == SMALL and not place.work.exists()
