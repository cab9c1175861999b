"""Several jobs at once: all of them, or the first failure."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from provision.errors import InterruptedByUserError

STOP_WAIT_S = 2.0

K = TypeVar("K")
T = TypeVar("T")


def side_by_side(jobs: Mapping[K, Callable[[], T]], workers: int, failed: threading.Event) -> dict[K, T]:
    """Return the result of every job.

    ``failed`` is set at the first failure, which is raised, or at Ctrl-C; the other jobs are to look at it, and are
    waited for only shortly.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="fetch")
    futures = {key: pool.submit(job) for key, job in jobs.items()}
    try:
        done, _ = wait(futures.values(), return_when=FIRST_EXCEPTION)
        _raise_first(done)
        return {key: future.result() for key, future in futures.items()}
    except BaseException:
        failed.set()
        for future in futures.values():
            future.cancel()
        wait(futures.values(), timeout=STOP_WAIT_S)
        raise
    finally:
        pool.shutdown(wait=False)


def _raise_first(done: Iterable[Future[T]]) -> None:
    """Raise what made the others stop, rather than that they were stopped."""
    errors = [error for future in done if (error := future.exception()) is not None]
    if errors:
        raise min(errors, key=lambda error: isinstance(error, InterruptedByUserError))
