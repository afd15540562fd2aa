"""Calls that make something are answered alike when they come again with one id."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason
from edgeconv.server.store.database import Transaction
from edgeconv.server.store.tables import requests


@dataclass(frozen=True)
class Request:
    """A call: who made it, under which id (empty for none), and a digest of what it asked."""

    principal: str
    request_id: str
    fingerprint: str


def earlier_result(tx: Transaction, request: Request) -> str | None:
    """The name of what the same call made before, or None.

    Raises:
        EdgeconvError: FIELD_INVALID when the id belongs to another call.
    """
    if not request.request_id:
        return None
    found = tx.row(
        sa.select(requests).where(
            requests.c.principal == request.principal,
            requests.c.request_id == request.request_id,
        )
    )
    if found is None:
        return None
    if found["fingerprint"] != request.fingerprint:
        message = f"request_id {request.request_id!r} was used for another call."
        raise EdgeconvError(
            Reason.FIELD_INVALID,
            message,
            fix="Use a fresh UUID for each call that asks for something else.",
            violations=[FieldViolation("request_id", message)],
        )
    return str(found["result"])


def gone(name: str) -> EdgeconvError:
    """What a call is told that made something which has been deleted since."""
    return EdgeconvError(
        Reason.NOT_FOUND,
        f"This call made {name!r} before, and that has been deleted since.",
        fix="To make it anew, call with another request_id.",
        name=name,
    )


def remember_result(tx: Transaction, request: Request, result: str) -> None:
    """Keeps the name of what a call made."""
    if request.request_id:
        tx.execute(
            sa.insert(requests).values(
                principal=request.principal,
                request_id=request.request_id,
                fingerprint=request.fingerprint,
                result=result,
                create_ns=tx.now_ns,
            )
        )
