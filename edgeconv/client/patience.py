"""How long and how often a lost server is tried again."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgeconv.base.errors import EdgeconvError
from edgeconv.client.server_news import ServerNews


@dataclass(frozen=True)
class Patience:
    """Pauses that double from `first_s` to `longest_s` until `limit_s` are used up.

    Attributes:
        first_s: First pause in seconds.
        longest_s: No pause is longer.
        limit_s: Sum of the pauses after which the server counts as gone.
        tries: Pauses taken since the last success.
        waited_s: Their sum.
        news: Who is told that the server was lost or answers again.
    """

    first_s: float = 0.1
    longest_s: float = 2.0
    limit_s: float = 60.0
    tries: int = 0
    waited_s: float = 0.0
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
        return replace(self, tries=0, waited_s=0.0)
