"""Checks of requests that hold for every call: required fields, page tokens, ids."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Protocol, TypeVar

from google.api import field_behavior_pb2  # type: ignore[import-untyped]
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from edgeconv.base.digests import digest_bytes, is_digest
from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason
from edgeconv.server.store.requests import Request

S = TypeVar("S", bound="HasSeq")
M = TypeVar("M", bound=Message)

PRINCIPAL: ContextVar[str] = ContextVar("principal")
"""Who makes the call that is being served."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,64}\Z")
_DEFAULT_PAGE = 50
_MAX_PAGE = 200
_MAX_PAGE_BYTES = 2 * 1024 * 1024
"""gRPC takes answers of 4 MiB where nobody has said otherwise."""
_LAST_SEQUENCE = 2**63 - 1
"""More is no integer of a database."""


def check_fields(message: Message) -> None:
    """Refuses a message that lacks a field marked REQUIRED, or has text that not every database
    keeps, at any depth.

    Raises:
        EdgeconvError: FIELD_INVALID with a violation for each.
    """
    missing = list(_missing(message, ""))
    if missing:
        raise EdgeconvError(
            Reason.FIELD_INVALID,
            f"Missing: {', '.join(missing)}.",
            violations=[FieldViolation(path, "is required") for path in missing],
        )
    unfit = list(_with_nul(message, ""))
    if unfit:
        raise EdgeconvError(
            Reason.FIELD_INVALID,
            f"No text may have the character U+0000: {', '.join(unfit)}.",
            violations=[FieldViolation(path, "has the character U+0000") for path in unfit],
        )


def refuse(field: str, message: str, *, fix: str = "") -> EdgeconvError:
    """FIELD_INVALID for one field; `message` is a sentence without a full stop."""
    return EdgeconvError(
        Reason.FIELD_INVALID,
        f"{field}: {message}.",
        fix=fix,
        violations=[FieldViolation(field, message)],
    )


def not_found(name: str) -> EdgeconvError:
    """NOT_FOUND for a resource."""
    return EdgeconvError(Reason.NOT_FOUND, f"There is no {name!r}.", name=name)


def check_digest(digest: str, field: str) -> str:
    """Gives a well-formed digest back.

    Raises:
        EdgeconvError: FIELD_INVALID.
    """
    if not is_digest(digest):
        raise refuse(field, f'{digest!r} is not "sha256:" and 64 hexadecimal digits')
    return digest


def page_size(asked: int) -> int:
    """How many items a page has.

    Raises:
        EdgeconvError: FIELD_INVALID for a negative number.
    """
    if asked < 0:
        raise refuse("page_size", "can't be negative")
    return min(asked or _DEFAULT_PAGE, _MAX_PAGE)


def page_start(token: str) -> int | None:
    """What a page token of a list by sequence says; None for the first page.

    Raises:
        EdgeconvError: FIELD_INVALID for a token that this server did not give.
    """
    if not token:
        return None
    known = token.isascii() and token.isdigit() and len(token) < 20
    if not known or int(token) > _LAST_SEQUENCE:
        raise refuse("page_token", f"{token!r} is none that this server gave")
    return int(token)


class HasSeq(Protocol):
    """A record of a list by sequence."""

    @property
    def seq(self) -> int: ...


def fill_page(found: Sequence[S], limit: int, make: Callable[[S], M]) -> tuple[list[M], str]:
    """The items of a page, and the token of the next page; empty when there is none.

    Args:
        found: The page's records, and one more when there are more.
        limit: How many the page may have; it has fewer when they are large.
        make: What the page shows of a record.
    """
    items: list[M] = []
    size = 0
    for record in found[:limit]:
        item = make(record)
        size += item.ByteSize()
        if items and size > _MAX_PAGE_BYTES:
            break
        items.append(item)
    return items, str(found[len(items) - 1].seq) if len(found) > len(items) else ""


def request_of(message: Message, request_id: str) -> Request:
    """The call as one that may come again.

    Raises:
        EdgeconvError: FIELD_INVALID for a malformed id.
    """
    if request_id and not _REQUEST_ID.match(request_id):
        raise refuse("request_id", "a UUID has letters, digits and hyphens, at most 64")
    call = f"{message.DESCRIPTOR.full_name}\n".encode()
    fingerprint = digest_bytes(call + message.SerializeToString(deterministic=True))
    return Request(PRINCIPAL.get(), request_id, fingerprint)


def _missing(message: Message, prefix: str) -> Iterator[str]:
    required, nested = _fields(message.DESCRIPTOR)
    present = {field.name for field, _ in message.ListFields()}
    for name in required:
        if name not in present:
            yield f"{prefix}{name}"
    for field, value in message.ListFields():
        if field.name not in nested:
            continue
        if isinstance(value, Message):
            yield from _missing(value, f"{prefix}{field.name}.")
        else:
            for place, each in enumerate(value):
                yield from _missing(each, f"{prefix}{field.name}[{place}].")


def _with_nul(message: Message, prefix: str) -> Iterator[str]:
    """Paths of texts with U+0000. Messages that are not ours, such as a status, are not read."""
    ours = message.DESCRIPTOR.file.package
    for field, value in message.ListFields():
        path = f"{prefix}{field.name}"
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            for key, each in value.items():
                # Without the key: it would stand in the refusal.
                yield from _nul_in(key, path, ours)
                yield from _nul_in(each, path, ours)
        elif isinstance(value, str | Message):
            yield from _nul_in(value, path, ours)
        elif kind is not None or field.cpp_type == field.CPPTYPE_STRING:
            for place, each in enumerate(value):
                yield from _nul_in(each, f"{path}[{place}]", ours)


def _nul_in(value: object, path: str, ours: str) -> Iterator[str]:
    if isinstance(value, str) and "\0" in value:
        yield path
    elif isinstance(value, Message) and value.DESCRIPTOR.file.package == ours:
        yield from _with_nul(value, f"{path}.")


@functools.cache
def _fields(descriptor: Descriptor) -> tuple[tuple[str, ...], frozenset[str]]:
    """Names of the required fields, and of those that hold messages of ours."""
    required, nested = [], set()
    for field in descriptor.fields:
        behaviour = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
        if field_behavior_pb2.REQUIRED in behaviour:
            required.append(field.name)
        kind = field.message_type
        if (
            kind is not None
            and kind.file.package == descriptor.file.package
            and not kind.GetOptions().map_entry
        ):
            nested.add(field.name)
    return tuple(required), frozenset(nested)
