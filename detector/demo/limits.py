"""How much the page may be asked for: bytes, pixels, requests in a time and at a time.

It serves one person at one computer. The limits keep a wrong file, a runaway script or another
page in the same browser from taking the machine's memory or all of its time.
"""

import asyncio
import io
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from PIL import Image

from detector.images.opener import FORMATS
from detector.prediction.images import Opened, open_image

MAXIMUM_BYTES = 20 * 2**20  # of a file
MAXIMUM_PIXELS = 50_000_000  # of an image: what the cameras of telephones make
LARGE_PIXELS = 16_000_000  # of larger images one at a time is decoded: up to 36 bytes a pixel
MAXIMUM_SCANS = 64  # of a JPEG; coders make about ten, and each costs the time of the whole image
MAXIMUM_IMAGES = 100  # that one open page holds

WAITING = 24  # requests that are being answered or wait for it
SECONDS = 120  # for one of them, uploading and a model's opening included
BURST, PER_SECOND = 400, 20  # requests at once after a pause, and lastingly

_one_large = threading.Lock()


class Refusal(Exception):
    """A request that gets no answer: status of HTTP, one sentence, seconds until it may come again.

    The seconds are None where the same request would be refused again.
    """

    def __init__(self, status: int, sentence: str, retry_after: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.retry_after = retry_after


class Limiter:
    """Lets in `burst` requests at once and `per_second` lastingly, of them `waiting` at a time.

    It is a token bucket. clock: gives seconds. For one event loop.
    """

    def __init__(
        self,
        burst: float = BURST,
        per_second: float = PER_SECOND,
        waiting: int = WAITING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._burst, self._per_second, self._waiting = burst, per_second, waiting
        self._clock, self._last = clock, clock()
        self._tokens, self._inside = burst, 0

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Hold a place for a request. Raises Refusal, 429 or 503, where there is none."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._last) * self._per_second)
        self._last = now
        if self._tokens < 1:
            raise Refusal(429, "Too many images in a short time; try again in a second.", 1)
        if self._inside >= self._waiting:
            raise Refusal(503, f"{self._waiting} images are waiting already; try again soon.", 2)
        self._tokens -= 1
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1


@asynccontextmanager
async def in_time(seconds: float = SECONDS) -> AsyncIterator[None]:
    """End what takes longer with Refusal 503."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise Refusal(503, f"This took more than {seconds:g} seconds and was given up.") from error


async def read_body(chunks: AsyncIterator[bytes], maximum: int = MAXIMUM_BYTES) -> bytes:
    """Gather an upload. Raises Refusal, 413, for more than `maximum` bytes, keeping none of it."""
    kept = bytearray()
    async for chunk in chunks:
        kept += chunk
        if len(kept) > maximum:
            raise Refusal(413, too_large(maximum))
    return bytes(kept)


def too_large(maximum: int = MAXIMUM_BYTES) -> str:
    """Say what is refused by its bytes."""
    return f"This file is larger than {maximum // 2**20} MB, the most that is read."


def decode(coded: bytes, size: int) -> Opened:
    """Open an image as deployment.images does, after a look at what decoding it would cost.

    Raises Refusal, 415, for what is no image or cannot be used, and 503 for lack of memory.
    """
    try:
        if _pixels(coded) > LARGE_PIXELS:
            with _one_large:
                return open_image(coded, size)
        return open_image(coded, size)
    except ValueError as error:
        raise Refusal(415, f"This file cannot be used: {error}.") from error
    except MemoryError as error:
        raise Refusal(503, "There is too little memory for this image just now.", 5) from error


def _pixels(coded: bytes) -> int:
    """Give width times height by the header. Raises ValueError for what would cost too much."""
    try:
        with Image.open(io.BytesIO(coded), formats=FORMATS) as image:
            pixels = image.width * image.height
            # Its pages are chained: to count millions of empty ones takes minutes.
            pages = image.format == "TIFF" and _has_second_page(image)
    except Image.DecompressionBombError:
        pixels, pages = MAXIMUM_PIXELS + 1, False
    except MemoryError:
        raise
    except Exception:  # Pillow raises every kind; open_image says what is wrong
        return 0
    if pixels > MAXIMUM_PIXELS:
        raise ValueError(f"it has more than {MAXIMUM_PIXELS // 10**6} million pixels")
    if pages:
        raise ValueError("it has several pages")
    # Within the compressed data these two bytes do not occur.
    if coded.startswith(b"\xff\xd8") and coded.count(b"\xff\xda") > MAXIMUM_SCANS:
        raise ValueError(f"a JPEG of more than {MAXIMUM_SCANS} scans")
    return pixels


def _has_second_page(image: Image.Image) -> bool:
    try:
        image.seek(1)
    except EOFError:
        return False
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error):
        pass  # there is one, whatever is wrong with it
    return True
