"""How far an upload or download is, on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgeconv.report.printable import printable

if TYPE_CHECKING:
    from edgeconv.cli.terminal import Terminal


@contextmanager
def transfer(terminal: Terminal, words: str) -> Iterator[Callable[[int, int], None]]:
    """A bar while bytes move; on what is no terminal nothing but one line at the begin.

    Gives a function that is told (bytes done, bytes in all).
    """
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    if not terminal.err.is_terminal:
        terminal.say(f"{words[:1].upper()}{words[1:]}", style="dim")
        yield lambda done, total: None
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
    with Progress(*columns, console=terminal.err, transient=True) as bars:
        task = bars.add_task(printable(words), total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)
