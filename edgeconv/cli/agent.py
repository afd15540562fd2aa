"""`edgeconv agent`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from edgeconv.cli.connect import connected_endpoint, server_options
from edgeconv.cli.die_with_parent import die_with_parent_option
from edgeconv.cli.documents import ReadyDocument
from edgeconv.cli.terminal import json_option, terminal_of


@click.command(short_help="Runs an agent that measures on this machine.")
@click.option("--name", default="", help="Name of this machine as a device.  [the host's name]")
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where the server's token stands.  [$EDGECONV_TOKEN, or the state folder's]",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="KEY=VALUE",
    help="A label for selectors; may be repeated.",
)
@click.option(
    "--agent-state",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of the agent's own: id, cache, work.  [agent below --state]",
)
@server_options
@die_with_parent_option
@json_option
def agent(
    name: str,
    token_file: Path | None,
    labels: tuple[str, ...],
    agent_state: Path | None,
    server: str | None,
    state: Path,
) -> None:
    """Runs an agent until SIGTERM or Ctrl-C.

    It calls the server, never the other way round, and measures on this machine what the
    server gives it. A server that is away is called again until it answers.
    """
    import asyncio

    from edgeconv.agent.run import run_until_signalled
    from edgeconv.agent.settings import AgentSettings
    from edgeconv.base.state_folder import StateFolder

    terminal = terminal_of()
    endpoint = connected_endpoint(server, state)
    settings = AgentSettings(
        server=endpoint.address,
        state=agent_state or StateFolder(state).agent,
        token="" if token_file else endpoint.token,
        token_file=token_file,
        device=name,
        labels=_labels(labels),
    )
    if terminal.json:
        document = ReadyDocument(
            address=settings.server,
            state=str(settings.state),
            pid=os.getpid(),
            device=settings.device_name(),
        )
        click.echo(document.model_dump_json())
    else:
        terminal.print(f"{settings.device_name()} calls {settings.server}. Ctrl-C ends it.")
    sys.stdout.flush()
    asyncio.run(run_until_signalled(settings, terminal.say))


def _labels(values: tuple[str, ...]) -> dict[str, str]:
    labels = {}
    for value in values:
        key, equals, word = value.partition("=")
        if not key or not equals:
            raise click.UsageError(f"--label {value!r} does not have the form KEY=VALUE.")
        labels[key] = word
    return labels
