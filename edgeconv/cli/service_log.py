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

_MOST_BYTES = 4 * 1024 * 1024


class _FirstLine(logging.Formatter):
    """The first line of a record, without its traceback, and where the rest stands."""

    def __init__(self, log: Path) -> None:
        super().__init__()
        self._log = log

    def format(self, record: logging.LogRecord) -> str:
        first, *rest = record.getMessage().splitlines() or [""]
        if not (rest or record.exc_info):
            return first
        return f"{clause(first).rstrip(':')}; {str(self._log)!r} says more."


@contextmanager
def log_kept(state: Path, stream: TextIO) -> Iterator[None]:
    """Where `stream` is a terminal, keeps what is logged in the state folder's `server.log`.

    A child's last words are many lines of the libraries it loaded. What is no terminal, a
    service manager's log say, gets all of it itself.

    Raises:
        EdgeconvError: STATE_UNWRITABLE.
    """
    if not stream.isatty():
        yield
        return
    make_state_folder(state)
    path = StateFolder(state).log
    shown = logging.StreamHandler(stream)
    shown.setLevel(logging.WARNING)
    shown.setFormatter(_FirstLine(path))
    kept = RotatingFileHandler(path, maxBytes=_MOST_BYTES, backupCount=1, encoding="utf-8")
    kept.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(shown)
    root.addHandler(kept)
    try:
        yield
    finally:
        root.removeHandler(shown)
        root.removeHandler(kept)
        kept.close()
