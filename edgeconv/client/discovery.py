"""Finds a running server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from edgeconv.base.state_folder import Endpoint, read_endpoint

SERVER_VARIABLE = "EDGECONV_SERVER"
TOKEN_VARIABLE = "EDGECONV_TOKEN"


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
