"""The errors for a saved program that is not whole, or could run code."""

from __future__ import annotations

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.sentences import clause

MODEL = "models/model.json"
"""The member that holds the graph."""
LONGEST_PLACE = 80


def unreadable(file: str, why: str) -> EdgeconvError:
    """The error for a file that is not a whole exported program."""
    return EdgeconvError(
        Reason.MODEL_UNREADABLE,
        f"{file!r} is not a whole exported program: {clause(why)}.",
        fix="Save it again with torch.export.save and send the whole file.",
        file=file,
    )


def unsafe(member: str, place: str, why: str) -> EdgeconvError:
    """Of a member as a whole where there is no place in it."""
    shown = place if len(place) <= LONGEST_PLACE else f"{place[:LONGEST_PLACE]}…"
    where = f"{shown!r} in member {member!r}" if place else f"Member {member!r}"
    return EdgeconvError(
        Reason.MODEL_UNSAFE,
        f"{where} of the saved program could run code: {clause(why)}.",
        fix="Save a program of plain tensors with torch.export.save.",
        member=member,
        place=place,
    )
