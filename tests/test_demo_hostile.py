"""The page of `make demo` under hostile uploads, foreign pages and too many requests."""

import asyncio
import re
import socket
import struct
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from PIL import Image

from detector.demo import limits
from detector.demo.limits import Limiter, Refusal
from tests.demo_server import Brightness, archive, ask, asked, grey, load, serving
from tests.helpers import coded, png, random_pixels

# What `serve` does; the filters of pytest are of each test.
pytestmark = pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with asked(tmp_path_factory.mktemp("models")) as client:
        yield client


# Uploads of which no answer can be had, and a word of the sentence that says so.


def with_scans():
    file = coded(random_pixels(3), "JPEG", progressive=True)
    start = file.index(b"\xff\xda")
    return file[:start] + file[start:-2] * 40 + b"\xff\xd9"


def tiff_of_many_pages(count=300_000):
    first = coded(random_pixels(4), "TIFF")
    offset = struct.unpack("<I", first[4:8])[0]
    entries = struct.unpack("<H", first[offset : offset + 2])[0]
    end = offset + 2 + 12 * entries
    base = len(first)
    pages = b"".join(struct.pack("<HI", 0, base + 6 * (i + 1)) for i in range(count))
    return first[:end] + struct.pack("<I", base) + first[end + 4 :] + pages


def huge_exif_png():
    exif = Image.Exif()
    exif[0x9286] = "x" * 15_000_000
    return grey(51, exif=exif)


def animation():
    frames = [Image.fromarray(random_pixels(i)) for i in range(3)]
    return coded(frames[0], "PNG", save_all=True, append_images=frames[1:])


HUGE = struct.pack(">HH", 65_000, 65_000)
JPEG = grey(51, kind="JPEG")
START = JPEG.index(b"\xff\xc0") + 5  # of height and width
SVG = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'><image href='file:///etc/passwd'/></svg>"
REFUSED = {
    "nothing": (b"", "empty file"),
    "bomb": (png(60_000, 60_000, 8, 2, b"\0" * 1000), "50 million pixels"),
    "bomb within Pillow's limit": (png(10_000, 10_000, 8, 2, b"\0" * 9999), "50 million pixels"),
    "JPEG bomb": (JPEG[:START] + HUGE + JPEG[START + 4 :], "50 million pixels"),
    "bomb of scans": (with_scans(), "scans"),
    "chain of pages": (tiff_of_many_pages(), "several pages"),
    "SVG": (SVG, "SVG is not read"),
    "polyglot of GIF and script": (b"GIF89a/*" + b" " * 99 + b"*/=1;alert(1)", "GIF is not read"),
    "polyglot of JPEG's first bytes": (b"\xff\xd8\xff<script>alert(1)</script>", "damaged"),
    "PDF called an image": (b"%PDF-1.7 " + b"x" * 99, "PDF is not read"),
    "EPS, which would start a program": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n" + b" " * 99,
        "PostScript is not read",
    ),
    "half a file": (JPEG[: len(JPEG) // 2], "cannot be read"),
    "animation": (animation(), "animated"),
    "16 bits": (png(32, 32, 16, 2, b"\0" * (32 * (32 * 6 + 1))), "8 bits"),
    "zip": (b"PK\x03\x04" + b"\0" * 99, "an archive"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_upload_is_refused_and_the_next_one_answered(page, name):
    content, word = REFUSED[name]
    reply = ask(page, content)
    assert reply.status_code == 415
    assert reply.elapsed.total_seconds() < 5  # decoding any of these would take minutes
    assert list(reply.json()) == ["error"]
    sentence = reply.json()["error"]
    assert word in sentence
    assert sentence.startswith("This file cannot be used: ")
    assert not re.search(r"0x[0-9a-f]{6}|Traceback|/", sentence)
    assert ask(page, grey(51)).json()["verdict"] == "FAKE"


@pytest.mark.parametrize(
    "content",
    [JPEG + SVG + b"<script>alert(1)</script>", JPEG + b"PK\x03\x04" + b"\0" * 99, huge_exif_png()],
    ids=["polyglot of JPEG and HTML", "polyglot of JPEG and zip", "huge EXIF"],
)
def test_odd_files_that_are_images_are_judged_as_such(page, content):
    reply = ask(page, content)
    assert reply.status_code == 200
    assert reply.json()["verdict"] == "FAKE"
    assert "script" not in reply.text
    assert ask(page, grey(200)).json()["verdict"] == "REAL"


def test_names_with_paths_are_not_looked_at(page):
    named = {"X-File-Name": "../../etc/passwd", "Content-Disposition": 'filename="/etc/passwd"'}
    assert ask(page, grey(51), headers=named).json()["verdict"] == "FAKE"
    for path in (
        "/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd",
        "/samples/../../README.md", "/samples/0", "/samples/7", "/models/bright.zip",
    ):  # fmt: skip
        reply = raw_get(page, path)
        assert reply.split(b" ")[1] == b"404", path


def raw_get(page, path):
    """Ask for a path as it is: httpx would resolve the dots."""
    with socket.create_connection((page.base_url.host, page.base_url.port)) as connection:
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_too_many_bytes(page):
    def endless():
        for _ in range(30):
            yield b"\0" * 2**20

    for content in (b"\0" * (limits.MAXIMUM_BYTES + 1), endless()):
        reply = ask(page, content)
        assert reply.status_code == 413
        assert reply.json() == {"error": "This file is larger than 20 MB, the most that is read."}
    assert ask(page, grey(51)).status_code == 200


def test_other_pages_of_the_browser_get_nothing(page):
    for host in ("evil.example", "127.0.0.1.evil.example:80", ""):
        assert page.get("/", headers={"Host": host}).status_code == 400
        assert ask(page, grey(51), headers={"Host": host}).status_code == 400
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
        reply = ask(page, grey(51), headers={"Origin": origin})
        assert reply.status_code == 403
        assert not [name for name in reply.headers if name.startswith("access-control")]
    own = f"http://127.0.0.1:{page.base_url.port}"
    assert ask(page, grey(51), headers={"Origin": own}).status_code == 200
    assert page.options("/api/predict", headers={"Origin": own}).status_code == 405
    assert page.get("/api/predict").status_code == 405


def test_nothing_is_written_and_nothing_logged(page, capfd):
    written = []
    watching = True

    def watch(event, arguments):
        if watching and event == "open" and isinstance(arguments[2], int) and arguments[2] & 3:
            written.append(arguments[0])
        elif watching and event in ("os.mkdir", "os.rename", "tempfile.mkstemp", "socket.connect"):
            written.append((event, arguments))

    ask(page, grey(51))  # what is opened once
    sys.addaudithook(watch)
    try:
        for content in (grey(51), b"", JPEG[:99], REFUSED["bomb"][0], huge_exif_png()):
            ask(page, content, headers={"X-File-Name": "secret.png"})
    finally:
        watching = False  # a hook cannot be taken away
    assert written == []
    assert capfd.readouterr() == ("", "")


def test_one_network_call_at_a_time_and_no_request_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(Brightness, "delay", 0.01)
    monkeypatch.setattr(Brightness, "most_at_once", 0)
    with serving(archive(tmp_path)) as address, ThreadPoolExecutor(8) as clients:
        replies = clients.map(
            lambda i: httpx.post(f"{address}api/predict", content=grey(i)), range(64)
        )
        assert [round(255 * reply.json()["probability"]) for reply in replies] == list(range(64))
    assert Brightness.most_at_once == 1


def test_who_waits_is_bounded(tmp_path):
    started, go = threading.Event(), threading.Event()

    def slow(path):
        started.set()
        go.wait(30)
        return load(path)

    limiter = Limiter(waiting=2)
    with (
        serving(archive(tmp_path), limiter=limiter, loader=slow) as address,
        ThreadPoolExecutor(2) as clients,
    ):
        waiting = [
            clients.submit(httpx.post, f"{address}api/predict", content=JPEG) for _ in range(2)
        ]
        assert started.wait(30)
        while limiter._inside < 2:
            pass
        refused = httpx.post(f"{address}api/predict", content=JPEG)
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "2"
        assert "waiting" in refused.json()["error"]
        go.set()
        assert [future.result().status_code for future in waiting] == [200, 200]
        assert httpx.post(f"{address}api/predict", content=JPEG).status_code == 200


def test_rate():
    now = 0.0
    limiter = Limiter(burst=3, per_second=2, waiting=9, clock=lambda: now)

    def admitted():
        try:
            with limiter.admitted():
                return True
        except Refusal as refusal:
            assert (refusal.status, refusal.retry_after) == (429, 1)
            return False

    assert [admitted() for _ in range(4)] == [True, True, True, False]
    now = 1.0
    assert [admitted() for _ in range(3)] == [True, True, False]
    now = 1000.0
    assert [admitted() for _ in range(4)] == [True, True, True, False]


def test_what_takes_too_long_is_given_up():
    async def slow():
        async with limits.in_time(0.01):
            await asyncio.sleep(5)

    with pytest.raises(Refusal, match=r"more than 0\.01 seconds"):
        asyncio.run(slow())
