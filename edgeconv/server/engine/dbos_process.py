"""DBOS in this process: how it is started for an executor, and how it ends."""

from __future__ import annotations

import logging
import threading
from typing import Any

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer

from edgeconv.server.engine.dbos_log import DbosNews

_NAME = "edgeconv"
_END_S = 10.0
_THREADS = "dbos-executor"
_NEWS = DbosNews()


def launch(executor: str, database: Any, version: int) -> None:
    """Starts DBOS; to be called inside the event loop that jobs are to run in."""
    config: DBOSConfig = {
        "name": _NAME,
        "system_database_url": str(database.url.render_as_string(hide_password=False)),
        "system_database_engine": database,
        "application_version": str(version),
        "executor_id": executor,
        "serializer": DBOSPortableJSONSerializer(),
        "log_level": "WARNING",
        "use_listen_notify": False,
        # What polls it holds up the end by as much.
        "notification_listener_polling_interval_sec": 0.1,
    }
    DBOS(config=config)
    logger = logging.getLogger("dbos")
    logger.handlers.clear()
    logger.propagate = True
    logger.addFilter(_NEWS)
    DBOS.launch()


def end() -> None:
    """Ends DBOS and waits for the threads of its pool, for which it does not wait itself.

    One that has a connection while others close them, or while the interpreter ends, can take
    the process down.
    """
    DBOS.destroy()
    for thread in threading.enumerate():
        if thread.name.startswith(_THREADS):
            thread.join(_END_S)
