"""Identifiers and resource names."""

from __future__ import annotations

import base64
import re
import secrets

from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason

_CROCKFORD = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "0123456789abcdefghjkmnpqrstvwxyz")
_SEGMENT = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\Z")


def new_id() -> str:
    """A fresh identifier: 16 characters of Crockford base 32, 80 random bits."""
    # One call of the system, and not one a character: each transaction asks for one.
    return base64.b32encode(secrets.token_bytes(10)).decode().translate(_CROCKFORD)


def parse_name(name: str, pattern: str, *, field: str = "name") -> tuple[str, ...]:
    """The variable segments of a resource name.

    `parse_name("models/a/versions/3", "models/*/versions/*")` is `("a", "3")`.

    Raises:
        EdgeconvError: FIELD_INVALID when the name does not have that form.
    """
    wanted, given = pattern.split("/"), name.split("/")
    fits = len(wanted) == len(given) and all(
        _SEGMENT.match(have) if want == "*" else want == have
        for want, have in zip(wanted, given, strict=True)
    )
    if not fits:
        message = f"{name!r} does not have the form {pattern!r}."
        raise EdgeconvError(
            Reason.FIELD_INVALID,
            message,
            fix="Each * is 1 to 63 of a-z, 0-9, '.', '_' and '-'; a letter or digit comes first.",
            violations=[FieldViolation(field, message)],
            name=name,
        )
    return tuple(have for want, have in zip(wanted, given, strict=True) if want == "*")
