"""An event loop in a thread of its own, for callers that have none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Generic, NoReturn, TypeVar

_CANCEL_S = 5.0

Result = TypeVar("Result")


class LoopThread:
    """An event loop that runs in a daemon thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="edgeconv-client", daemon=True
        )
        self._thread.start()

    @property
    def closed(self) -> bool:
        """Whether it was stopped."""
        return self._loop.is_closed()

    def run(self, call: Coroutine[Any, Any, Result]) -> Result:
        """Runs a coroutine to its end; an interrupted caller leaves when it has ended too.

        Raises:
            RuntimeError: the thread was stopped.
        """
        if self.closed:
            call.close()
            raise RuntimeError("the client is closed")
        under_way = _Call(self._loop, call)
        try:
            return under_way.result()
        except BaseException:
            under_way.end()
            raise

    def stop(self) -> None:
        """Ends the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class _Call(Generic[Result]):
    """A coroutine that another thread waits for, which an interrupt may hit at any moment.

    So it waits for a bare lock: what stands on conditions is left in disorder by an interrupt.
    And it never holds the task: an interrupt that hits while one is finalized is dropped.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, call: Coroutine[Any, Any, Result]) -> None:
        self._loop = loop
        self._call = call
        self._task: asyncio.Task[Result] | None = None
        self._come: Callable[[], Result] | None = None
        self._ended = threading.Lock()
        self._ended.acquire()

    def result(self) -> Result:
        """Has it begun and waits for what comes of it."""
        self._loop.call_soon_threadsafe(self._begin)
        self._ended.acquire()
        assert self._come is not None
        return self._come()

    def end(self) -> None:
        """Has it cancelled unless it has ended, and waits until it has."""
        if self._come is None:
            # The loop begins calls in their order: one that has no task by then never will.
            self._loop.call_soon_threadsafe(self._cancel)
            self._ended.acquire(timeout=_CANCEL_S)

    def _begin(self) -> None:
        self._task = self._loop.create_task(self._call)
        self._task.add_done_callback(self._keep)

    def _keep(self, task: asyncio.Task[Result]) -> None:
        self._task = None
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        self._come = partial(_raised, error) if error is not None else partial(_same, task.result())
        self._ended.release()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        elif self._come is None:
            self._call.close()
            self._ended.release()


def _raised(error: BaseException) -> NoReturn:
    raise error


def _same(result: Result) -> Result:
    return result
