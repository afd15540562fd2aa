"""How far a measurement is, on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgeconv.report.printable import printable

if TYPE_CHECKING:
    from edgeconv.cli.terminal import Terminal


@contextmanager
def measuring(terminal: Terminal) -> Iterator[Callable[[float, str], None]]:
    """Gives a function that is told (fraction or -1, words); a bar shows them on a terminal.

    Where there is no terminal, only a wait is said: it may be long.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    if not terminal.err.is_terminal:
        yield lambda fraction, words: terminal.say(words) if fraction < 0 else None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=terminal.err, transient=True) as bars:
        task = bars.add_task("starting", total=1.0)

        def told(fraction: float, words: str) -> None:
            known = fraction >= 0
            bars.update(
                task,
                description=printable(words),
                total=1.0 if known else None,
                completed=max(fraction, 0.0),
            )

        yield told
