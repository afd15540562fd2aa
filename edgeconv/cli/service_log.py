"""What a server logs, where a person looks on: a line on the terminal, all of it in a file."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

from edgeconv.base.sentences import clause
from edgeconv.base.state_folder import StateFolder, make_state_folder
from edgeconv.report.printable import printable, printable_lines

_MOST_BYTES = 4 * 1024 * 1024


class _FirstLine(logging.Formatter):
    """The first line of a record, without its traceback, and where the rest stands."""

    def __init__(self, log: Path) -> None:
        super().__init__()
        self._log = log

    def format(self, record: logging.LogRecord) -> str:
        first, *rest = record.getMessage().splitlines() or [""]
        if not (rest or record.exc_info):
            return printable(first)
        return printable(f"{clause(first).rstrip(':')}; {str(self._log)!r} says more.")


class _Printable(logging.Formatter):
    """All of a record. Its words may be those of a child, which a model's file may lead."""

    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(super().format(record))


@contextmanager
def log_kept(state: Path, stream: TextIO) -> Iterator[None]:
    """Where `stream` is a terminal, keeps what is logged in the state folder's `server.log`.

    A child's last words are many lines of the libraries it loaded. What is no terminal, a
    service manager's log say, gets all of it itself. Nothing in either can act on a terminal.

    Raises:
        EdgeconvError: STATE_UNWRITABLE.
    """
    shown = logging.StreamHandler(stream)
    shown.setLevel(logging.WARNING)
    shown.setFormatter(_Printable())
    handlers: list[logging.Handler] = [shown]
    if stream.isatty():
        make_state_folder(state)
        path = StateFolder(state).log
        shown.setFormatter(_FirstLine(path))
        kept = RotatingFileHandler(path, maxBytes=_MOST_BYTES, backupCount=1, encoding="utf-8")
        kept.setFormatter(_Printable("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        handlers.append(kept)
    root = logging.getLogger()
    for each in handlers:
        root.addHandler(each)
    try:
        yield
    finally:
        for each in handlers:
            root.removeHandler(each)
            each.close()
