"""How a program of this repository ends: with an exit code that tells what happened.

An expected error is one line on standard error and never a traceback.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from detector.base.errors import ExpectedError

NO_MEMORY = (
    "the memory of this machine is used up; end other programs, or lower train.batch_size and "
    "evaluate.batch_size"
)


def run(main: Callable[[], None]) -> None:
    """Run a stage or a tool; it ends as `ending` says, with 1 for an expected error."""
    with ending(1, NO_MEMORY):
        main()


@contextmanager
def ending(refused: int, no_memory: str) -> Iterator[None]:
    """Let an ExpectedError in the block become one line on standard error.

    refused: exit code after it, and after a lack of memory, of which `no_memory` is said. SIGINT,
    SIGTERM and a reader that is gone end the program as a shell counts them: 130, 143 and 141,
    once `detector.base.files.replacing` has taken away what is half-written.
    """
    before = signal.signal(signal.SIGTERM, _end)
    try:
        yield
    except ExpectedError as error:
        _fail(printable(str(error)), refused)
    except MemoryError:
        _fail(no_memory, refused)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:
        _hush()
        sys.exit(128 + 13)  # SIGPIPE, which Windows has not
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(number: int, frame: Any) -> None:
    sys.exit(128 + number)


def _fail(sentence: str, code: int) -> None:
    _hush()
    if code == 1:
        sys.exit(f"error: {sentence}")  # Python prints it and ends with 1
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(code)


def _hush() -> None:
    """Let Python's last flush of standard output go nowhere if it cannot be written."""
    try:
        sys.stdout.flush()
    except (AttributeError, OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        if sys.stdout is not None:
            os.dup2(nowhere, sys.stdout.fileno())


def printable(text: str) -> str:
    r"""Escape what could move a terminal's cursor, hide or be no text, such as a line's end.

    Bytes of a file name that are no text come as \xff, other characters as Python writes them.
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    if "\udc80" <= character <= "\udcff":  # how Python keeps such bytes
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
