"""Work shared among processes of this machine, with results in order."""

import gc
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from typing import Any


def map_in_processes(
    function: Callable,
    tasks: Iterable[tuple],
    workers: int,
    ahead: int,
    prepare: Callable[[], None],
) -> Generator[Any, None, None]:
    """Yield None when the processes are at work, then function(*task) of each task, in order.

    workers: number of processes. ahead: at most so many tasks are given out before their results
    are asked for. prepare: called once in each process. The processes end with the last result or
    when the generator is closed. Raises what `function` raises, and BrokenProcessPool when a
    process was killed.
    """
    # A fork is at work at once; elsewhere than on Linux it is not safe beside system libraries.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_start, initargs=(prepare,))
    # A collection of garbage in a forked process would write to every object and so copy it.
    gc.freeze()
    try:
        given_out = (pool.submit(function, *task) for task in tasks)
        waiting = deque(islice(given_out, max(2 * workers, ahead)))
        yield None
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(islice(given_out, 1))
            yield result
    finally:
        gc.unfreeze()
        pool.shutdown(cancel_futures=True)


def _start(prepare: Callable[[], None]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C the parent ends its processes
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the parent's handler would only end the task
    threading.Thread(target=_end_with_parent, daemon=True).start()
    prepare()


def _end_with_parent() -> None:
    # A parent that is killed tells nobody; its processes would wait for work for ever.
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
