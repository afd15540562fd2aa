"""Exit codes of every command."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command's exit code says; the same for every command."""

    DONE = 0
    UNEXPECTED = 1
    USAGE = 2
    BAD_INPUT = 3
    PRECONDITION = 4
    REFUSED = 5
    INFRASTRUCTURE = 6
    PARTLY_DONE = 7
    GATE_NO = 10
    UNDECIDED = 11
    INTERRUPTED = 130
