"""How long and how often a server is tried again that was lost, or has no room for a call."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, replace

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.client.server_news import ServerNews


@dataclass(frozen=True)
class Patience:
    """Pauses that double from `first_s` to `longest_s` until `limit_s` are used up.

    Attributes:
        first_s: First pause in seconds.
        longest_s: No pause is longer.
        limit_s: Sum of the pauses after which the server counts as gone; where only its
            database is lost, the time since it said so first.
        tries: Pauses taken since the last success.
        waited_s: Their sum.
        busy_limit_s: How long in all a call is tried again for which the server has no room.
        busy_s: Pauses of that kind since the last success, in seconds.
        outage_since_s: When the server said first, since the last success, that its database
            is lost; a time of the event loop.
        news: Who is told that the server was lost or answers again.
    """

    first_s: float = 0.1
    longest_s: float = 2.0
    limit_s: float = 60.0
    tries: int = 0
    waited_s: float = 0.0
    busy_limit_s: float = 300.0
    busy_s: float = 0.0
    outage_since_s: float | None = None
    news: ServerNews | None = None

    @property
    def pause_s(self) -> float | None:
        """The next pause; None when patience is at its end."""
        # Beyond 2^30 the pause has long reached its limit, and floats would overflow.
        pause = min(self.first_s * 2.0 ** min(self.tries, 30), self.longest_s)
        return pause if self.waited_s + pause <= self.limit_s else None

    def after_pause(self) -> Patience:
        """Patience after the next pause was taken."""
        return replace(
            self, tries=self.tries + 1, waited_s=self.waited_s + (self.pause_s or self.longest_s)
        )

    def tell_lost(self, error: EdgeconvError) -> None:
        """Tells that the server is gone and will be tried again."""
        if self.news is not None:
            self.news.lost(error)

    def tell_back(self) -> None:
        """Tells that the server is there again. Patience is renewed only when more came of
        it than that: a server may take each call and break it off."""
        if self.news is not None:
            self.news.back()

    def renewed(self) -> Patience:
        """Patience after the server answered."""
        self.tell_back()
        return replace(self, tries=0, waited_s=0.0, busy_s=0.0, outage_since_s=None)


async def rest(error: EdgeconvError, patience: Patience) -> Patience:
    """Waits before the next try.

    Raises:
        EdgeconvError: `error` itself, when another try would not help or patience has ended.
    """
    if error.reason is Reason.DATABASE_UNAVAILABLE:
        return await _rest_in_outage(error, patience)
    if error.retry_s:
        return await _rest_while_busy(error, patience)
    if error.reason is not Reason.SERVER_UNREACHABLE or patience.pause_s is None:
        raise error
    patience.tell_lost(error)
    await asyncio.sleep(patience.pause_s)
    return patience.after_pause()


async def _rest_in_outage(error: EdgeconvError, patience: Patience) -> Patience:
    """By the clock: such a server takes its time for each refusal."""
    now_s = asyncio.get_running_loop().time()
    since_s = now_s if patience.outage_since_s is None else patience.outage_since_s
    pause_s = _apart(error.retry_s or patience.longest_s)
    if now_s + pause_s - since_s > patience.limit_s:
        if patience.outage_since_s is not None:
            error.fix = f"It was tried again for {now_s - since_s:.0f} s. {error.fix}"
        raise error
    patience.tell_lost(error)
    await asyncio.sleep(pause_s)
    return replace(patience, outage_since_s=since_s)


def _apart(pause_s: float) -> float:
    """Those who were refused together had better not come back together."""
    return pause_s * random.uniform(1.0, 1.25)


async def _rest_while_busy(error: EdgeconvError, patience: Patience) -> Patience:
    pause_s = _apart(error.retry_s)
    if patience.busy_s + pause_s > patience.busy_limit_s:
        if patience.busy_s:
            error.fix = (
                f"It was tried again for {patience.busy_s:.0f} s. Call again later, when the"
                " server has less to do."
            )
        raise error
    if patience.news is not None:
        patience.news.busy(error)
    await asyncio.sleep(pause_s)
    return replace(patience, busy_s=patience.busy_s + pause_s)
