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

        Progress (sequence 0) is always new: it is not kept and never repeated. Of a conversion
        whose files were removed long after it only the end is left.

        Raises:
            EdgeconvError: INTERNAL when an event is missing before another than the end.
        """
        if event.sequence == 0:
            return self, True
        if event.sequence <= self.sequence:
            return self, False
        ended = event.HasField("state_changed") and event.state_changed.state in TERMINAL_STATES
        if event.sequence != self.sequence + 1 and not ended:
            raise EdgeconvError(
                Reason.INTERNAL,
                f"Event {event.sequence} came after event {self.sequence}.",
                sequence=event.sequence,
                expected=self.sequence + 1,
            )
        return replace(self, sequence=event.sequence, ended=ended), True
