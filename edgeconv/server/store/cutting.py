"""Breaks a connection off from outside the thread that waits for its answer."""

from __future__ import annotations

import os
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy as sa


class Cuttable:
    """The connection that some thread works on now, if any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: Any = None

    @contextmanager
    def by(self, connection: sa.Connection) -> Iterator[None]:
        """Lets the connection be cut while the block runs."""
        with self._lock:
            self._connection = connection.connection.driver_connection
        try:
            yield
        finally:
            with self._lock:
                self._connection = None

    def cut(self) -> None:
        """Makes what runs on the connection fail soon; without effect where nothing does.

        A database that has stopped for good reads no request to cancel, so the connection's
        socket is shut down. The thread sees that as a lost database.
        """
        with self._lock:
            if self._connection is None:
                return
            if isinstance(self._connection, sqlite3.Connection):
                self._connection.interrupt()
            else:
                _shut_down(self._connection)


def _shut_down(connection: Any) -> None:
    from psycopg import OperationalError

    # It may be lost already.
    with suppress(OSError, OperationalError):
        # A descriptor of our own: the connection closes its one itself.
        mine = socket.socket(fileno=os.dup(connection.fileno()))
        with mine:
            mine.shutdown(socket.SHUT_RDWR)
