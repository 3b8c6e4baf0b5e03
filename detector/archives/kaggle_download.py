"""Fetch one version of a Kaggle dataset with the official client, resuming what broke off.

The client (2.2.4) resumes with Range requests and checks the size. Three habits of it are mended
here: importing it prints and may exit; its requests have no time limit; and when a resume is
answered with an error, it writes the error's body over the partial file.
"""

import contextlib
import io
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from detector.base.errors import ExpectedError

# Together these bound a dead network to about 100 seconds: three attempts and the client's own
# pauses of 2 and 4 seconds between them.
_CONNECT_SECONDS = 10
_READ_SECONDS = 30  # of silence, not of the whole transfer
_RETRIES = 2
_CHUNK = 1 << 16  # bytes; a chunk that is not complete when the connection breaks is lost

_CREDENTIALS = (
    "make a token at https://www.kaggle.com/settings and put it into the variable "
    "KAGGLE_API_TOKEN or the file ~/.kaggle/access_token (or keep the older kaggle.json with "
    "username and key in ~/.kaggle)"
)
_UNSENDABLE = f"the credentials hold characters that no request can carry; {_CREDENTIALS}"


def fetch(dataset: str, version: int, folder: Path) -> Path:
    """Download version `version` of `dataset` ("owner/slug") into `folder`, with a progress bar.

    Returns the path of the zip, of which only the size has been checked. Sends the credentials
    that the client finds, or none, which Kaggle allows for public datasets. `folder` must serve
    this version alone: a partial file in it is resumed.
    Raises ExpectedError; whatever was transferred by then stays in `folder`. No message holds
    anything of the credentials or of the signed address that Kaggle redirects to.
    """
    target = folder / f"{dataset.split('/')[1]}.zip"
    what = f"{dataset} version {version}"
    with _mended_requests(), contextlib.redirect_stdout(io.StringIO()):
        api = _client()
        with _bounded(api, target) as announced:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                # Not quiet: that shows the bar, on stderr; the chatter is on stdout, caught above.
                api.dataset_download_files(f"{dataset}/{version}", str(folder), quiet=False)
            except OSError as error:  # requests' errors are OSErrors, too
                raise ExpectedError(_message(error, what, target)) from error
            except ValueError as error:
                if "size" not in announced:  # http.client quotes the header, token and all
                    raise ExpectedError(f"{what}: {_UNSENDABLE}") from None
                # The client compares the sizes at the end. Its next run takes a part for a part,
                # and what is too long fails the caller's checks.
                raise ExpectedError(
                    f"{what}: the transfer ended with another size than announced; run again"
                ) from error
    return target


def _client() -> Any:
    try:
        import kaggle  # prints help and authenticates, over the network if there is a token
    except (OSError, SystemExit) as error:
        raise ExpectedError(
            f"the Kaggle client does not start ({getattr(error, 'strerror', None) or 'it exits'});"
            " set KAGGLE_CONFIG_DIR to a folder that can be written"
        ) from error
    # Authenticated if the client found something to do it with, else anonymous.
    return kaggle.api


@contextlib.contextmanager
def _bounded(api: Any, target: Path) -> Iterator[dict[str, int]]:
    """Limit the client's retries, and refuse early what the disk cannot hold.

    Gives a dictionary whose "size" is the announced number of bytes, once there is one.
    """
    announced: dict[str, int] = {}
    original = api.download_file

    def download_file(response: Any, *args: Any) -> None:
        size = announced["size"] = int(response.headers.get("Content-Length") or 0)
        missing = size - (target.stat().st_size if target.exists() else 0)
        free = shutil.disk_usage(target.parent).free
        if missing > free:
            raise ExpectedError(
                f"{target.parent}: the download needs {missing} bytes more, but only {free} are "
                f"free; free some space and run again{_kept(target)}"
            )
        original(
            response,
            *args,
            chunk_size=_CHUNK,
            max_retries=_RETRIES,
            timeout=_READ_SECONDS,
        )

    api.download_file = download_file
    try:
        yield announced
    finally:
        del api.download_file  # the class's method shows again


@contextlib.contextmanager
def _mended_requests() -> Iterator[None]:
    """Give every request a time limit, and let no error's body pass for a part of the file."""
    import requests

    original: Callable[..., Any] = requests.adapters.HTTPAdapter.send

    def send(self: Any, request: Any, **kwargs: Any) -> Any:
        kwargs["timeout"] = (_CONNECT_SECONDS, _READ_SECONDS)
        response = original(self, request, **kwargs)
        response.headers.pop("Retry-After", None)  # may ask the client to sleep for hours
        # To 416, "there is no such range", the client does well: it asks for the whole file.
        known = response.status_code == 416 and "Range" in request.headers
        if request.method == "GET" and response.status_code >= 400 and not known:
            raise requests.HTTPError(response=response, request=request)
        return response

    requests.adapters.HTTPAdapter.send = send
    try:
        yield
    finally:
        requests.adapters.HTTPAdapter.send = original


def _message(error: OSError, what: str, target: Path) -> str:
    """Say what went wrong. The text of `error` is never used: it may quote a token or a link."""
    import requests

    kept = _kept(target)
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"{what}: {_refusal(error.response)}{kept}"
    if isinstance(error, requests.exceptions.InvalidHeader):
        return f"{what}: {_UNSENDABLE}"
    if isinstance(error, requests.RequestException):
        host = urlsplit(getattr(error.request, "url", None) or "").hostname or "the server"
        instead = kept or ", or name a zip that you have: -S data=archive -S data.path=my.zip"
        return f"{what}: {_network_reason(error, host)}; check the network and run again{instead}"
    reason = error.strerror or type(error).__name__
    if error.filename is None or Path(error.filename).is_relative_to(target.parent):
        return (
            f"{target.parent}: cannot be written ({reason}); "
            f"free some space or mend the permissions and run again{kept}"
        )
    # The name is not shown: the client takes KAGGLE_API_TOKEN for a path first.
    return f"{what}: the Kaggle client cannot read its credentials ({reason}); {_CREDENTIALS}"


def _kept(target: Path) -> str:
    size = target.stat().st_size if target.exists() else 0
    return f"; {size} bytes are kept in {target.parent}, and the next run resumes" if size else ""


def _refusal(response: Any) -> str:
    status = response.status_code
    if response.request.method == "GET":
        return (
            f"the storage that Kaggle points to answers HTTP {status}; run again for a fresh link"
        )
    known = "Authorization" in response.request.headers
    match status:
        case 401 if known:
            return f"Kaggle refuses the credentials it was given (HTTP 401); {_CREDENTIALS}"
        case 401:
            return f"Kaggle wants to know who downloads this (HTTP 401); {_CREDENTIALS}"
        case 403 if known:
            return (
                "Kaggle denies access (HTTP 403): the dataset is private or its terms are not "
                "accepted; accept them on its page on kaggle.com with the account that the "
                "credentials belong to"
            )
        case 403:
            return (
                "Kaggle denies access without an account (HTTP 403); accept the dataset's terms "
                f"on its page on kaggle.com, then {_CREDENTIALS}"
            )
        case 404:
            return (
                "Kaggle has no such dataset or version, or it is private (HTTP 404); check "
                "data.kaggle in conf/data"
            )
        case 429:
            return "Kaggle asks to slow down (HTTP 429); run again in some minutes"
    return f"Kaggle answers HTTP {status}; run again later"


def _network_reason(error: BaseException, host: str) -> str:
    import requests

    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) and cause not in causes:
        causes.append(cause)
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return f"the name {host} cannot be resolved (no network?)"
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return f"{host} refuses the connection"
    if any(isinstance(cause, (requests.Timeout, TimeoutError)) for cause in causes):
        return f"{host} did not answer for {_READ_SECONDS} seconds"
    if isinstance(error, requests.exceptions.SSLError):
        return f"the certificate of {host} is not accepted"
    return f"the connection to {host} broke off"
