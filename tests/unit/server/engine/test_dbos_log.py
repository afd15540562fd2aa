from __future__ import annotations

import logging

from edgeconv.server.engine.dbos_log import DbosNews

TRACE = """Exception polling schedules: Traceback (most recent call last):
  File "pool.py", line 943, in __connect
sqlalchemy.exc.OperationalError: (psycopg.OperationalError) connection is bad: no such file.
(Background on this error at: https://sqlalche.me/e/21/e3q8)"""


def _passed(news: DbosNews, message: str) -> str | None:
    record = logging.LogRecord("dbos", logging.WARNING, "", 0, "%s", (message,), None)
    return record.getMessage() if news.filter(record) else None


def test_a_lost_database_is_a_line_a_minute() -> None:
    now_s = 5.0
    news = DbosNews(lambda: now_s)
    expected = "the database of queues does not answer: connection is bad: no such file"
    assert _passed(news, TRACE) == expected
    now_s += 59.0
    assert _passed(news, TRACE) is None
    now_s += 2.0
    assert _passed(news, TRACE) == expected


def test_the_rest_goes_through_but_what_was_asked_for() -> None:
    news = DbosNews()
    assert _passed(news, "Asyncio task cancelled: 7") is None
    assert _passed(news, "a queue is odd") == "a queue is odd"
