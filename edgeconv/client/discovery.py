"""Finds a running server."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason
from edgeconv.base.state_folder import Endpoint, read_endpoint

SERVER_VARIABLE = "EDGECONV_SERVER"
TOKEN_VARIABLE = "EDGECONV_TOKEN"
_ADDRESS = re.compile(
    r"(?:(?:dns:(?://[^/\s]*/)?|ipv4:|ipv6:)?(?:\[[^\]\s]+\]|[^:/\s\[\]]+):([0-9]{1,5})|unix:\S+)"
)


def check_address(address: str, field: str = "address") -> None:
    """Refuses what can't be the address of a server, before anybody waits for its answer.

    "host:port", "unix:PATH", and gRPC's forms "dns:…", "ipv4:…" and "ipv6:…" can be one.

    Args:
        field: Where the address came from; the message begins with it.

    Raises:
        EdgeconvError: FIELD_INVALID.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None or (found[1] and not 0 < int(found[1]) < 65536):
        message = f"{field} {address!r} does not have the form host:port."
        raise EdgeconvError(
            Reason.FIELD_INVALID,
            message,
            fix="Write an address such as 127.0.0.1:50051; the server says its own at its start.",
            violations=[FieldViolation(field, message)],
            address=address,
        )


def find_server(
    state: Path,
    *,
    server: str | None = None,
    token: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Endpoint | None:
    """The server to call: the one named, else $EDGECONV_SERVER, else the state folder's.

    The token is the one given, else $EDGECONV_TOKEN. A named server without one gets the
    state folder's token where it is the server that runs there.

    Returns:
        None when none is named and none runs on the state folder.
    """
    address = server or environment.get(SERVER_VARIABLE)
    shown = token or environment.get(TOKEN_VARIABLE)
    local = read_endpoint(state)
    if not address:
        return Endpoint(local.address, shown or local.token) if local else None
    if not shown and local is not None and local.address == address:
        shown = local.token
    return Endpoint(address, shown or "")
