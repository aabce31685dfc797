"""A progress bar for those waits that turn out to be long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from tfshop._console import progress

LONG_SECONDS = 2.0  # a wait that deserves a bar
_TRIAL_SECONDS = 0.3  # the first steps load and warm up; judging earlier would overrate the wait


@contextmanager
def progress_if_long(description: str, total: int) -> Iterator[Callable[[], None]]:
    """Yield `advance()`, to be called after each step, from any thread; a bar appears if much is left to wait for.

    Example:
        >>> with progress_if_long("scoring", total=2) as advance:
        ...     advance()
        ...     advance()
    """
    with ExitStack() as stack:
        began, lock = time.perf_counter(), threading.Lock()
        done = 0
        bar: Callable[..., None] | None = None

        def advance() -> None:
            nonlocal done, bar
            with lock:
                done += 1
                seconds = time.perf_counter() - began
                if bar is not None:
                    bar()
                elif seconds > _TRIAL_SECONDS and seconds / done * (total - done) > LONG_SECONDS:
                    bar = stack.enter_context(progress(description, total))
                    bar(done)

        yield advance
