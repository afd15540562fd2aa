"""What of DBOS's log a server's operator reads."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from edgeconv.base.sentences import clause

_LOST = "OperationalError"
_AGAIN_S = 60.0


class DbosNews(logging.Filter):
    """Leaves out what says nothing new.

    While its database is gone, each look at a queue leaves a line, or a trace of a hundred. Once
    a minute is enough for that, and a line.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now_s = now_s
        self._told_s: float | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is let through; one of a lost database is shortened."""
        message = record.getMessage()
        if _LOST in message:
            return self._is_due(record, message)
        return not message.startswith("Asyncio task cancelled")

    def _is_due(self, record: logging.LogRecord, message: str) -> bool:
        now_s = self._now_s()
        if self._told_s is not None and now_s - self._told_s < _AGAIN_S:
            return False
        self._told_s = now_s
        lines = [line for line in message.splitlines() if _LOST in line]
        words = clause(lines[-1].rpartition(f"{_LOST})")[2])
        record.msg, record.args = "the database of queues does not answer: %s", (words,)
        record.exc_info = record.exc_text = None
        return True
