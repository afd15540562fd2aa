"""Exit codes of every command."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command's exit code says; the same for every command. 10 and 11 are the gate's."""

    DONE = 0
    UNEXPECTED = 1
    USAGE = 2
    BAD_INPUT = 3
    PRECONDITION = 4
    REFUSED = 5
    INFRASTRUCTURE = 6
    PARTLY_DONE = 7
    INTERRUPTED = 130

    @property
    def meaning(self) -> str:
        """What it says to a person, a few words."""
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.DONE: "done",
    ExitCode.UNEXPECTED: "a fault of edgeconv itself",
    ExitCode.USAGE: "the command line is wrong",
    ExitCode.BAD_INPUT: "bad input: a model, a recipe, data, a field",
    ExitCode.PRECONDITION: "not found, in the way, or something is missing first",
    ExitCode.REFUSED: "refused: no valid token",
    ExitCode.INFRASTRUCTURE: "a device, the server, the network or a limit failed it",
    ExitCode.PARTLY_DONE: "partly done: some variants were not made",
    ExitCode.INTERRUPTED: "interrupted or cancelled",
}
