"""One console for everything tfshop says while it works, on standard error so that output can be piped."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

# A notebook gets a plain line: widgets may be missing, and its FORCE_COLOR does not make a terminal of it.
_IS_TERMINAL = sys.stderr is not None and sys.stderr.isatty()
console = Console(stderr=True, force_jupyter=False, force_terminal=_IS_TERMINAL)


def say(message: str) -> None:
    """Print one line to whoever is watching."""
    console.print(message, highlight=False)


@contextmanager
def progress(description: str, total: float | None) -> Iterator[Callable[..., None]]:
    """Show a bar while the block runs; yields `advance(steps=1, note="")`.

    Where no terminal is attached the bar becomes one line, printed when the block ends.

    Example:
        >>> with progress("encoding", total=2) as advance:
        ...     advance()
        ...     advance()
    """
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, transient=False) as bar:
        task = bar.add_task(description, total=total, note="")

        def advance(steps: float = 1, note: str | None = None) -> None:
            if note is None:
                bar.update(task, advance=steps)
            else:
                bar.update(task, advance=steps, note=note)

        yield advance
