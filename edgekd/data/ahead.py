"""Work that is done ahead in threads, so that whoever takes the results need not wait for them.

The results come in the order of the jobs, and each job depends on nothing but itself, so they are
the same whatever the number of threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")


def run_ahead(jobs: Sequence[Callable[[], T]], *, workers: int) -> Iterator[T]:
    """Yield the result of each job in order; at most `workers` + 1 are under way or wait.

    Threads and not processes: pixels are copied, resized and blended outside of Python's lock, and
    nothing has to be sent. What a job raises is raised here in its turn.

    Args:
        jobs: may run at the same time.
        workers: threads; 0 does each job when its result is taken.
    """
    if not workers:
        yield from (job() for job in jobs)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="ahead")
    try:
        waiting: deque[Future[T]] = deque()
        for job in jobs:
            waiting.append(pool.submit(copy_context().run, job))  # errors are worded by it
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # also if the taker stops early
        pool.shutdown(wait=True, cancel_futures=True)
