"""Which commands use the server of a state folder.

A server that a command started for itself ends when nobody uses it any more; other commands
may have come to it meanwhile. So each holds the file `users` in the state folder shared while
it uses the server, and the server ends when it gets that file alone. The kernel frees what a
command holds when it ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.state_folder import StateFolder, make_state_folder

_LEAVING_S = 60.0


class Users:
    """The users of a state folder's server, as one process sees them. Close it at the end.

    Raises:
        EdgeconvError: STATE_UNWRITABLE.
    """

    def __init__(self, state: Path) -> None:
        self._state = state
        make_state_folder(state)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(StateFolder(state).users, flags, 0o600)

    def join(self, limit_s: float = _LEAVING_S) -> None:
        """Makes this process one of them; waits while a server that nobody used is ending.

        Args:
            limit_s: How long that may take, in seconds.

        Raises:
            EdgeconvError: STATE_LOCKED when it does not end.
        """
        deadline = time.monotonic() + limit_s
        while not self._take(fcntl.LOCK_SH):
            if time.monotonic() > deadline:
                raise EdgeconvError(
                    Reason.STATE_LOCKED,
                    f"The server on {str(self._state)!r} ends, but does not come to its end.",
                    fix="Stop the process that `lock` in that folder names.",
                    state=self._state,
                )
            time.sleep(0.05)

    def leave(self) -> None:
        """Takes this process out again."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def shut_out(self) -> bool:
        """Keeps everyone out until `close`, if there are no users; else does nothing."""
        return self._take(fcntl.LOCK_EX)

    def may_join(self) -> bool:
        """Whether nobody keeps everyone out."""
        can = self._take(fcntl.LOCK_SH)
        self.leave()
        return can

    def close(self) -> None:
        """Gives back what is held."""
        os.close(self._descriptor)

    def _take(self, kind: int) -> bool:
        with suppress(BlockingIOError):
            fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
            return True
        return False


@contextmanager
def attached(state: Path) -> Iterator[Users]:
    """Keeps a server on the state folder that ends with its users from ending.

    Raises:
        EdgeconvError: STATE_LOCKED, STATE_UNWRITABLE.
    """
    users = Users(state)
    try:
        users.join()
        yield users
    finally:
        users.close()
