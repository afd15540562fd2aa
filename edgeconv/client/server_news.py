"""Says that a server was lost, and that it answers again."""

from __future__ import annotations

from collections.abc import Callable

from edgeconv.base.errors import EdgeconvError


class ServerNews:
    """Tells each loss and each return once, however many calls see it.

    Args:
        tell: Told SERVER_UNREACHABLE when the server was lost and is tried again, and None
            when it answers again. It runs on the client's event loop.
    """

    def __init__(self, tell: Callable[[EdgeconvError | None], None]) -> None:
        self._tell = tell
        self._is_lost = False

    def lost(self, error: EdgeconvError) -> None:
        """A call found the server gone, and will try again."""
        if not self._is_lost:
            self._is_lost = True
            self._tell(error)

    def back(self) -> None:
        """A call was answered."""
        if self._is_lost:
            self._is_lost = False
            self._tell(None)
