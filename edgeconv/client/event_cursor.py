"""Keeps a conversion's events without gap or repeat over reconnects."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.v1 import conversions_pb2

TERMINAL_STATES = frozenset(
    {
        conversions_pb2.CONVERSION_STATE_SUCCEEDED,
        conversions_pb2.CONVERSION_STATE_PARTLY_SUCCEEDED,
        conversions_pb2.CONVERSION_STATE_FAILED,
        conversions_pb2.CONVERSION_STATE_CANCELLED,
    }
)


@dataclass(frozen=True)
class EventCursor:
    """Where a watcher stands.

    Attributes:
        sequence: Of the last durable event that was delivered.
        ended: Whether that event made the conversion's state terminal.
    """

    sequence: int = 0
    ended: bool = False

    def take(self, event: conversions_pb2.ConversionEvent) -> tuple[EventCursor, bool]:
        """The cursor after an event came, and whether the event is new.

        Progress (sequence 0) is always new: it is not kept and never repeated.

        Raises:
            EdgeconvError: INTERNAL when an event is missing before this one.
        """
        if event.sequence == 0:
            return self, True
        if event.sequence <= self.sequence:
            return self, False
        if event.sequence != self.sequence + 1:
            raise EdgeconvError(
                Reason.INTERNAL,
                f"Event {event.sequence} came after event {self.sequence}.",
                sequence=event.sequence,
                expected=self.sequence + 1,
            )
        return self.at(event), True

    def at(self, event: conversions_pb2.ConversionEvent) -> EventCursor:
        """The cursor after a durable event, whatever came before it."""
        return replace(self, sequence=event.sequence, ended=is_end(event))


def is_end(event: conversions_pb2.ConversionEvent) -> bool:
    """Whether it made the conversion's state terminal."""
    return event.HasField("state_changed") and event.state_changed.state in TERMINAL_STATES
