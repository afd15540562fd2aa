"""Who may go on when not all can. Pure.

A caller has so many units under way, and more that wait in the order they came. Callers
take turns: one that asks for much waits longer, and keeps nobody else waiting. Who is next
and needs more than is free is waited for, so that much is not held back for ever by little.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(eq=False)
class Ticket:
    """A caller's wish for some units.

    Attributes:
        tell: Called once, when it is granted.
    """

    who: str
    units: int
    tell: Callable[[], None]
    granted: bool = False


class Turns:
    """Units that callers hold and wait for.

    Args:
        most: Units that may be held at once.
        most_of_one: Of them by one caller.

    What is larger than a bound is granted alone.
    """

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._held: Counter[str] = Counter()
        self._lines: OrderedDict[str, deque[Ticket]] = OrderedDict()

    @property
    def held(self) -> int:
        """Units held."""
        return self._held.total()

    def held_by(self, who: str) -> int:
        """Units that one caller holds."""
        return self._held[who]

    @property
    def waiting(self) -> int:
        """Tickets that wait."""
        return sum(map(len, self._lines.values()))

    def ask(self, who: str, units: int, tell: Callable[[], None]) -> Ticket:
        """A new ticket, granted at once where that takes nobody's turn."""
        ticket = Ticket(who, units, tell)
        self._lines.setdefault(who, deque()).append(ticket)
        self._grant()
        return ticket

    def give_up(self, ticket: Ticket) -> None:
        """Takes a ticket off, be it granted or waiting."""
        if ticket.granted:
            self._held[ticket.who] -= ticket.units
            if not self._held[ticket.who]:
                del self._held[ticket.who]
        else:
            line = self._lines[ticket.who]
            line.remove(ticket)
            if not line:
                del self._lines[ticket.who]
        self._grant()

    def _grant(self) -> None:
        while (ticket := self._next()) is not None:
            line = self._lines[ticket.who]
            line.popleft()
            self._lines.move_to_end(ticket.who)
            if not line:
                del self._lines[ticket.who]
            self._held[ticket.who] += ticket.units
            ticket.granted = True
            ticket.tell()

    def _next(self) -> Ticket | None:
        """The first ticket of the first caller whose own share lets it, if there is room."""
        for who, line in self._lines.items():
            ticket, own = line[0], self._held[who]
            if own and own + ticket.units > self._most_of_one:
                continue
            held = self.held
            return ticket if not held or held + ticket.units <= self._most else None
        return None
