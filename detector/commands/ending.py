"""How a command ends: with an exit code that tells what happened, and no traceback for it."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from detector.commands.wording import printable
from detector.errors import ExpectedError

UNREADABLE, REFUSED = 1, 2  # exit codes, besides 0 and 128 + the number of a signal


@contextmanager
def ending() -> Iterator[None]:
    """Run a command; an ExpectedError becomes one line on standard error and exit code 2.

    A lack of memory does, too. SIGINT, SIGTERM and a reader that is gone end it as a shell counts
    them: 130, 143 and 141.
    """
    before = signal.signal(signal.SIGTERM, _end)
    try:
        yield
    except ExpectedError as error:
        _hush()
        _fail(printable(str(error)))
    except MemoryError:
        _fail("the memory of this machine is used up; end other programs or give smaller images")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:
        _hush()
        sys.exit(128 + 13)  # SIGPIPE, which Windows has not
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(number: int, frame: Any) -> None:
    sys.exit(128 + number)


def _fail(sentence: str) -> None:
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(REFUSED)


def _hush() -> None:
    """Let Python's last flush of standard output go nowhere if it cannot be written."""
    try:
        sys.stdout.flush()
    except (AttributeError, OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        if sys.stdout is not None:
            os.dup2(nowhere, sys.stdout.fileno())
