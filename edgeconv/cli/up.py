"""`edgeconv up`."""

from __future__ import annotations

from pathlib import Path

import click

from edgeconv.cli.serve import run, service_options


@click.command(short_help="Runs a server and an agent for this machine.")
@service_options
@click.option(
    "--while-used",
    is_flag=True,
    help="End, too, when no command on this machine uses it; commands start their own so.",
)
def up(
    listen: str,
    insecure: bool,
    without_walls: bool,
    jobs: int,
    queue: int,
    state: Path,
    while_used: bool,
) -> None:
    """Runs a server, and an agent that measures on this machine, until SIGTERM or Ctrl-C."""
    run(
        listen, jobs, queue, state, insecure=insecure, without_walls=without_walls,
        with_agent=True, while_used=while_used,
    )  # fmt: skip
