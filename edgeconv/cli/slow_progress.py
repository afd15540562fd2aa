"""How far a piece of work is, on standard error, once it takes longer than a moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeconv.cli.terminal import Terminal

QUIET_S = 2.0


@contextmanager
def slow_progress(
    terminal: Terminal, words: str, *, in_bytes: bool, quiet_s: float = QUIET_S
) -> Iterator[Callable[[int, int], None]]:
    """A bar that appears after a while; on what is no terminal one line, once.

    Gives a function that is told (done, in all), bytes or things.
    """
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn

    began = time.monotonic()
    figures = DownloadColumn() if in_bytes else MofNCompleteColumn()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), figures)
    bars = Progress(*columns, console=terminal.err, transient=True)
    task = bars.add_task(words, total=None)
    shown = False
    with ExitStack() as stack:

        def tell(done: int, total: int) -> None:
            nonlocal shown
            bars.update(task, completed=done, total=total or None)
            if shown or time.monotonic() - began < quiet_s:
                return
            shown = True
            if terminal.err.is_terminal:
                stack.enter_context(bars)
            else:
                terminal.say(f"{words} …", style="dim")

        yield tell
