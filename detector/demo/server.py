"""Serve the page on this computer, to this computer."""

import socket
import warnings
from collections.abc import Sequence
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from detector.base.errors import ExpectedError
from detector.demo.app import create
from detector.demo.judge import Judge
from detector.demo.samples import read_samples

LOOPBACK = "127.0.0.1"
MODELS, SAMPLES = Path("models"), Path("data/sample/sample.zip")
CONNECTIONS = 128  # at a time; a browser opens six


def serve(models: Sequence[Path] = (), port: int = 8000, samples: Path | None = SAMPLES) -> None:
    """Serve the page on http://127.0.0.1:port until the process is interrupted.

    models: archives of models, the first is asked unless another is chosen; all of models/*.zip by
    default. port: 0 takes a free one. samples: the embedded sample; None: no images to try. It
    prints its address to standard output when it answers; requests are not logged. Raises
    ExpectedError for a port in use, a missing or damaged model, or damaged samples.
    """
    # Pillow's are of odd images, of which the page says what matters.
    warnings.filterwarnings("ignore", module="PIL")
    with bound(port) as listening:
        judge = Judge(list(models) or sorted(MODELS.glob("*.zip")))
        app = create(judge, read_samples(samples) if samples else [])
        judge.warm_up(next(iter(judge.descriptions)))
        configured(app, listening).run(sockets=[listening])


def configured(app: Starlette, listening: socket.socket) -> uvicorn.Server:
    """Give a server that is quiet but for its address. listening: of `bound`."""
    config = uvicorn.Config(
        app,
        log_config=None,  # its handlers would take the place of those of the process
        access_log=False,
        log_level="warning",
        server_header=False,
        ws="none",
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=3,
    )
    return _Server(config, f"http://{LOOPBACK}:{listening.getsockname()[1]}/")


class _Server(uvicorn.Server):
    """Tells its address once it answers."""

    def __init__(self, config: uvicorn.Config, address: str) -> None:
        super().__init__(config)
        self.address = address

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to answer."""
        await super().startup(sockets)
        print(f"Open {self.address} in a browser; Ctrl-C ends it.", flush=True)


def bound(port: int) -> socket.socket:
    """Give a socket of this computer's own address. Raises ExpectedError for a port in use."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # A port that was in use a minute ago may be taken again at once.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((LOOPBACK, port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise ExpectedError(
            f"port {port} cannot be used ({getattr(error, 'strerror', error)}); "
            "--port 0 takes a free one"
        ) from error
    return listening
