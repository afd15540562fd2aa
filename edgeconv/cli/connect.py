"""The options that name a server, and the connection to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.cli.terminal import terminal_of

if TYPE_CHECKING:
    from edgeconv.base.state_folder import Endpoint
    from edgeconv.client.sync import Client

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Where:
    """Which server a command is to call.

    Attributes:
        server: "host:port" of a server that was named, else None.
        state: The state folder whose server is meant otherwise.
    """

    server: str | None
    state: Path

    def find(self) -> Endpoint | None:
        """The server; None when none is named and none runs on the state folder."""
        from edgeconv.client.discovery import find_server

        return find_server(self.state, server=self.server)


def state_option(function: Function) -> Function:
    """Adds `--state`, handed over as `state: Path`."""

    def settle(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path:
        from edgeconv.base.state_folder import default_state_folder

        return (value or default_state_folder()).expanduser().absolute()

    return click.option(
        "--state",
        type=click.Path(file_okay=False, path_type=Path),
        callback=settle,
        metavar="DIR",
        help="State folder of the local server.  [$EDGECONV_STATE or ~/.local/state/edgeconv]",
    )(function)


def server_options(function: Function) -> Function:
    """Adds `--server` and `--state`, handed over as `server: str | None, state: Path`."""

    def check(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
        from edgeconv.client.discovery import SERVER_VARIABLE, check_address

        if value:
            source = context.get_parameter_source(str(parameter.name))
            in_variable = source is click.core.ParameterSource.ENVIRONMENT
            check_address(value, f"${SERVER_VARIABLE}" if in_variable else "--server")
        return value

    return click.option(
        "--server",
        envvar="EDGECONV_SERVER",
        callback=check,
        metavar="ADDRESS",
        help="host:port of a running server.  [$EDGECONV_SERVER; token in $EDGECONV_TOKEN]",
    )(state_option(function))


def connected_endpoint(server: str | None, state: Path) -> Endpoint:
    """The server named, or the one that runs on the state folder.

    Raises:
        EdgeconvError: SERVER_UNREACHABLE when there is neither.
    """
    endpoint = Where(server, state).find()
    if endpoint is None:
        raise EdgeconvError(
            Reason.SERVER_UNREACHABLE,
            f"No server runs on the state folder {str(state)!r}.",
            fix="Start one with `edgeconv up`, or name one with --server.",
            state=state,
        )
    return endpoint


@contextmanager
def connected(server: str | None, state: Path) -> Iterator[Client]:
    """A client of the server named, or of the one that runs on the state folder.

    Raises:
        EdgeconvError: SERVER_UNREACHABLE.
    """
    from edgeconv.cli.attached import attached

    with ExitStack() as stack:
        if not server and state.is_dir():
            stack.enter_context(attached(state))
        yield stack.enter_context(client_of(connected_endpoint(server, state)))


def client_of(endpoint: Endpoint) -> Client:
    """A connection to a server; use it as a context manager.

    A server that is lost later, or has no room, is tried again for a while, which is said.

    Raises:
        EdgeconvError: SERVER_UNREACHABLE.
    """
    from edgeconv.client.patience import Patience
    from edgeconv.client.server_news import ServerNews
    from edgeconv.client.sync import Client

    terminal = terminal_of()

    def tell(error: EdgeconvError | None) -> None:
        if error is None:
            terminal.say(f"The server at {endpoint.address} answers again.", style="green")
        elif error.reason is Reason.DATABASE_UNAVAILABLE:
            terminal.say(f"{error.message} Trying again for a minute …", style="yellow")
        elif error.retry_s:
            full = error.reason is Reason.LIMIT_REACHED
            busy = f"The server at {endpoint.address} is busy: " if full else ""
            terminal.say(f"{busy}{error.message} Trying again …", style="yellow")
        else:
            words = f"Lost the server at {endpoint.address}; trying again for a minute …"
            terminal.say(words, style="yellow")

    patience = Patience(news=ServerNews(tell))
    return Client.connect(endpoint.address, endpoint.token, patience=patience)
