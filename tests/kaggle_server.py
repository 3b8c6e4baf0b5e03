"""Kaggle's download API on loopback, and a place to run the download stage against it.

Two ports, as on Kaggle: the API answers with a redirect to a signed address at the storage, which
is another host. Nothing here reaches the network.
"""

import hashlib
import io
import json
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml

REPO = Path(__file__).parents[1]
SIGNATURE = "X-Goog-Signature=s3cret-signature"
INTROSPECT = "/v1/security.OAuthService/IntrospectToken"
DOWNLOAD = "/v1/datasets.DatasetApiService/DownloadDataset"
ERROR_BODY = b"<?xml version='1.0'?><Error><Code>Trouble</Code></Error>" * 40

# Points the official client at the test's server, and shortens its pauses and the time limit.
SITECUSTOMIZE = """
import os, time
if "TEST_KAGGLE_ENDPOINT" in os.environ:
    from kagglesdk import kaggle_env
    kaggle_env._env_to_endpoint[kaggle_env.KaggleEnv.PROD] = os.environ["TEST_KAGGLE_ENDPOINT"]
    sleep = time.sleep
    time.sleep = lambda seconds: sleep(min(seconds, 0.02))
if "TEST_READ_SECONDS" in os.environ:
    from detector.archives import kaggle_download
    kaggle_download._READ_SECONDS = float(os.environ["TEST_READ_SECONDS"])
"""


def make_zip(per_class: int = 2, padding: int = 0, extra: tuple[str, ...] = ()) -> bytes:
    """Give a zip in the layout; its files are no real JPEGs, since this stage decodes nothing."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for split in ("train", "test"):
            for name in ("REAL", "FAKE"):
                for index in range(per_class):
                    body = bytes((index * 7 + k * k) % 251 for k in range(64)) + bytes(padding)
                    # Of a fixed date: both processes of the suite must collect the same tests.
                    archive.writestr(zipfile.ZipInfo(f"{split}/{name}/{index:04d}.jpg"), body)
        for name in extra:
            archive.writestr(zipfile.ZipInfo(name), b"extra")
    return buffer.getvalue()


@dataclass
class Seen:
    """One request that the server got, and what it answered."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict
    status: int = 0
    sent: int = 0


@dataclass
class KaggleServer:
    """What the server shall answer (to be changed by a test) and what it was asked."""

    payload: bytes
    etag: str = '"version-3"'
    api_status: int = 302
    introspect_status: int = 200
    storage_statuses: list[int] = field(default_factory=list)  # of successive GETs, then 200
    cuts: list[int] = field(default_factory=list)  # bytes after which successive GETs break off
    successor: tuple[bytes, str] | None = None  # payload and ETag from the second GET on
    hold_after: int | None = None  # bytes after which the storage falls silent
    announce_length: bool = True
    api: list[Seen] = field(default_factory=list)
    storage: list[Seen] = field(default_factory=list)
    api_port: int = 0
    storage_port: int = 0
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"


class _Handler(BaseHTTPRequestHandler):
    kaggle: KaggleServer

    def log_message(self, *_: object) -> None:
        pass

    def note(self, log: list[Seen], body: dict) -> None:
        self.seen = Seen(self.command, self.path, dict(self.headers), body)
        log.append(self.seen)

    def answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.seen.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            for start in range(0, len(body), 1 << 15):
                part = body[start : start + (1 << 15)]
                self.wfile.write(part)
                self.seen.sent += len(part)
        except ConnectionError:  # the client went away
            pass


class _Api(_Handler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        self.note(self.kaggle.api, body)
        status = self.kaggle.api_status
        if self.path == INTROSPECT:
            status = self.kaggle.introspect_status
            answer = {"active": True, "username": "someone"}
        else:
            answer = {"code": status, "message": "no"}
        if status == 302:
            port = self.kaggle.storage_port
            self.answer(302, {"Location": f"http://127.0.0.1:{port}/a/archive.zip?{SIGNATURE}"})
        else:
            body = json.dumps(answer).encode()
            self.answer(status, {"Content-Type": "application/json"}, body)


class _Storage(_Handler):
    def do_GET(self) -> None:
        kaggle = self.kaggle
        self.note(kaggle.storage, {})
        status = kaggle.storage_statuses.pop(0) if kaggle.storage_statuses else 200
        if status >= 400:
            self.answer(status, {"Content-Length": str(len(ERROR_BODY))}, ERROR_BODY)
            return
        body, headers = kaggle.payload, {}
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        if "Range" in self.headers and self.headers.get("If-Range", kaggle.etag) == kaggle.etag:
            status, body = 206, body[start:]
            headers["Content-Range"] = f"bytes {start}-{len(kaggle.payload) - 1}/{len(body)}"
        if kaggle.announce_length:
            headers["Content-Length"] = str(len(body))
        headers |= {
            "Accept-Ranges": "bytes",
            "ETag": kaggle.etag,
            "Last-Modified": "Sat, 25 Mar 2023 10:00:00 GMT",
            "Content-Type": "application/zip",
        }
        if kaggle.successor is not None:
            kaggle.payload, kaggle.etag = kaggle.successor
        cut = kaggle.cuts.pop(0) if kaggle.cuts else None
        if kaggle.hold_after is not None:
            self.answer(status, headers, body[: kaggle.hold_after])
            self.wfile.flush()
            kaggle.released.wait(20)
        else:
            self.answer(status, headers, body[:cut])


@contextmanager
def serve(payload: bytes) -> Iterator[KaggleServer]:
    """Serve `payload` as the dataset's archive on two loopback ports."""
    kaggle = KaggleServer(payload)
    servers = []
    for base in (_Api, _Storage):
        handler = type(base.__name__, (base,), {"kaggle": kaggle})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
    kaggle.api_port, kaggle.storage_port = (server.server_port for server in servers)
    try:
        yield kaggle
    finally:
        kaggle.released.set()
        for server in servers:
            server.shutdown()
            server.socket.close()


class Place:
    """A folder with a params.yaml in which the stage runs, with a home folder of its own."""

    def __init__(self, folder: Path, endpoint: str | None = None) -> None:
        self.cwd, self.home, site = folder / "repo", folder / "home", folder / "site"
        for path in (self.cwd, self.home, site):
            path.mkdir()
        (site / "sitecustomize.py").write_text(SITECUSTOMIZE)
        # Made from nothing, so that no KAGGLE_* variable or proxy of the surroundings gets in.
        self.env = {
            "HOME": str(self.home),
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": f"{site}:{REPO}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        if endpoint is not None:
            self.env["TEST_KAGGLE_ENDPOINT"] = endpoint
        self.zip = self.cwd / "data/raw/data.zip"
        self.work = self.cwd / ".work/download/data"
        self.err = ""  # what the last run wrote to stderr

    def set(self, **data: object) -> None:
        """Write params.yaml: the committed one with a data section of the given values."""
        tree = yaml.safe_load((REPO / "params.yaml").read_text())
        tree["data"] = {
            "name": "data",
            "path": "conf/data/data.yaml",
            "kaggle": None,
            "sha256": None,
            "image_size": 32,
            "cifar_class_in_name": False,
        } | data
        (self.cwd / "params.yaml").write_text(yaml.safe_dump(tree))

    def start(self, **options: object) -> subprocess.Popen[str]:
        """Start the stage."""
        return subprocess.Popen(
            [sys.executable, "-m", "stages.download"],
            cwd=self.cwd,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def succeed(self, **options: object) -> str:
        """Run the stage, which must succeed, and give the line that it prints."""
        process = self.start(**options)
        out, self.err = process.communicate(timeout=60)
        assert process.returncode == 0, self.err
        assert out.count("\n") == 1 and "error" not in self.err, (out, self.err)
        return out

    def fail(self, **options: object) -> str:
        """Run the stage, which must fail as every failure should, and give its message."""
        process = self.start(**options)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 1, (out, err)
        errors = [line for line in err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1 and err.endswith(f"{errors[0]}\n"), err
        assert out == "" and "Traceback" not in err
        assert SIGNATURE.partition("=")[2] not in err
        raw = self.zip.parent
        assert not raw.exists() or not list(raw.iterdir())
        return errors[0]


SMALL = make_zip()


def content_sha256(data: bytes) -> str:
    """Give the sha256 of what sha256sum would print of the files of a zip, by name."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        lines = [
            f"{hashlib.sha256(archive.read(name)).hexdigest()}  {name}\n"
            for name in sorted(archive.namelist())
        ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def use_kaggle(place: Place, version: int = 3, **data: object) -> None:
    place.set(kaggle=f"owner/slug/versions/{version}", **data)
