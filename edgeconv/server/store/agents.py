"""What an agent says, and whether it is the one that is believed, inside a transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.quantities import NS_PER_S
from edgeconv.server.records import DeviceState
from edgeconv.server.store.database import Transaction, insert_new
from edgeconv.server.store.tables import agents


@dataclass(frozen=True)
class AgentDevice:
    """A device as its agent describes it."""

    device: str
    capabilities: dict[str, Any]
    labels: dict[str, str]


@dataclass(frozen=True)
class HeldLease:
    """A lease as its agent knows it."""

    benchmark: str
    token: int
    device_state: DeviceState
    message: str


@dataclass(frozen=True)
class Word:
    """What an agent says: its whole state.

    Attributes:
        agent: Kept over restarts, in its state folder, and copied with that.
        incarnation: Another one for each start.
        place: Where it runs; only one can run in a place. Empty from an agent that does
            not tell.
    """

    agent: str
    incarnation: str
    version: str
    devices: tuple[AgentDevice, ...]
    leases: tuple[HeldLease, ...]
    leaving: bool
    place: str = ""


def admit_agent(tx: Transaction, word: Word, silence_ns: int) -> bool:
    """Notes that an agent was heard, unless another of the same id is up elsewhere.

    A new start in the same place shows that the one before has ended. In another place
    that shows only by its leaving, or by its silence.

    Returns:
        Whether it was started anew since it was heard last.

    Raises:
        EdgeconvError: ALREADY_EXISTS.
    """
    known = tx.row(sa.select(agents).where(agents.c.agent == word.agent))
    restarted = known is not None and known["incarnation"] != word.incarnation
    if known is not None and restarted and known["place"] != word.place:
        silent_ns = tx.now_ns - known["last_seen_ns"]
        if silent_ns <= silence_ns:
            raise _doubled(word, silent_ns, silence_ns)
    values: dict[str, Any] = {
        "incarnation": word.incarnation,
        "place": word.place,
        "version": word.version,
        # Who leaves makes room at once.
        "last_seen_ns": 0 if word.leaving else tx.now_ns,
    }
    if not insert_new(tx, agents, {"agent": word.agent, **values}):
        tx.execute(sa.update(agents).where(agents.c.agent == word.agent).values(**values))
    return restarted


def _doubled(word: Word, silent_ns: int, silence_ns: int) -> EdgeconvError:
    heard_s, within_s = silent_ns // NS_PER_S, silence_ns // NS_PER_S
    return EdgeconvError(
        Reason.ALREADY_EXISTS,
        f"Agent {word.agent!r} is up elsewhere: it was heard {heard_s} s ago, from another"
        " machine or state folder.",
        fix="Each agent needs a state folder of its own: remove the copied one. After a restart"
        f" of the machine it is let in within {within_s} s.",
        agent=word.agent,
    )
