"""`edgeconv up`."""

from __future__ import annotations

import click

from edgeconv.cli.serve import run
from edgeconv.cli.service_options import ServiceOptions, service_options


@click.command(short_help="Runs a server and an agent for this machine.")
@service_options
@click.option(
    "--while-used",
    is_flag=True,
    help="End, too, when no command on this machine uses it; commands start their own so.",
)
def up(options: ServiceOptions, while_used: bool) -> None:
    """Runs a server, and an agent that measures on this machine, until SIGTERM or Ctrl-C."""
    run(options, with_agent=True, while_used=while_used)
