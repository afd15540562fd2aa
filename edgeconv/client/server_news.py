"""Says that a server or its database was lost, or that it is busy, and that it answers again."""

from __future__ import annotations

import time
from collections.abc import Callable

from edgeconv.base.errors import EdgeconvError

_BUSY_AGAIN_S = 30.0


class ServerNews:
    """Tells each loss and each return once, however many calls see it.

    Args:
        tell: Told SERVER_UNREACHABLE when the server was lost and is tried again,
            DATABASE_UNAVAILABLE when its database was, the refusal when it has no room for
            a call and is tried again, at most twice a minute, and None when what was lost
            answers again. It runs on the client's event loop.
        now_s: A clock that never goes back.
    """

    def __init__(
        self,
        tell: Callable[[EdgeconvError | None], None],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell = tell
        self._now_s = now_s
        self._is_lost = False
        self._told_busy_s: float | None = None

    def lost(self, error: EdgeconvError) -> None:
        """A call found the server or its database gone, and will try again."""
        if not self._is_lost:
            self._is_lost = True
            self._tell(error)

    def back(self) -> None:
        """A call was answered."""
        if self._is_lost:
            self._is_lost = False
            self._tell(None)

    def busy(self, error: EdgeconvError) -> None:
        """A call found no room, and will try again."""
        now_s = self._now_s()
        if self._told_busy_s is None or now_s - self._told_busy_s >= _BUSY_AGAIN_S:
            self._told_busy_s = now_s
            self._tell(error)
