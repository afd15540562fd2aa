"""`edgeconv serve`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from edgeconv.cli.connect import state_option
from edgeconv.cli.die_with_parent import die_with_parent_option
from edgeconv.cli.options import DURATION, SIZE
from edgeconv.cli.terminal import json_option, terminal_of

Function = TypeVar("Function", bound=Callable[..., Any])


def service_options(function: Function) -> Function:
    """The options that `serve` and `up` share."""
    for option in (
        json_option,
        die_with_parent_option,
        state_option,
        click.option(
            "--jobs",
            type=click.IntRange(1, 64),
            default=1,
            show_default=True,
            help="Conversions that run side by side.",
        ),
        click.option(
            "--listen",
            metavar="HOST:PORT",
            default="127.0.0.1:0",
            show_default=True,
            help="Where to listen; port 0 takes a free one.",
        ),
        click.option(
            "--keep-for",
            type=DURATION,
            metavar="30d",
            help="Remove results of steps and files of ended conversions that were not used for"
            " so long.  [kept]",
        ),
        click.option(
            "--disk-cap",
            type=SIZE,
            metavar="20GiB",
            help="Remove the least recently used of them when more than this is stored.  [no cap]",
        ),
        click.option(
            "--without-walls",
            "without_walls",
            is_flag=True,
            help="Allow that also where this kernel can't keep in what a model's file does;"
            " `edgeconv doctor` tells.",
        ),
        click.option(
            "--insecure-listen",
            "insecure",
            is_flag=True,
            help="Allow --listen where other machines can connect. NOTHING IS ENCRYPTED:"
            " whoever listens in reads the token, models and data.",
        ),
    ):
        function = option(function)
    return function


def run(
    listen: str,
    jobs: int,
    state: Path,
    *,
    insecure: bool,
    without_walls: bool,
    with_agent: bool,
    keep_for: float | None = None,
    disk_cap: float | None = None,
    while_used: bool = False,
) -> None:
    """Serves until a signal, or until no command uses it.

    Raises:
        EdgeconvError: EXTRA_MISSING, STATE_LOCKED; FIELD_INVALID when it can't listen there.
    """
    import asyncio

    from edgeconv.cli.extras import require_extra

    require_extra("server", "A server")
    from edgeconv.cli.service import LOCAL_DEVICE, run_service
    from edgeconv.server.app import ServerSettings
    from edgeconv.server.retention.sweep import RetentionSettings

    settings = ServerSettings(
        state=state,
        listen=listen,
        insecure=insecure,
        without_walls=without_walls,
        jobs_at_once=jobs,
        retention=RetentionSettings(
            keep_for_s=keep_for, cap_bytes=None if disk_cap is None else round(disk_cap)
        ),
        awaited_device=LOCAL_DEVICE if with_agent else "",
    )
    service = run_service(settings, terminal_of(), with_agent=with_agent, while_used=while_used)
    asyncio.run(service)


@click.command(short_help="Runs a server.")
@service_options
def serve(
    listen: str,
    insecure: bool,
    without_walls: bool,
    keep_for: float | None,
    disk_cap: float | None,
    jobs: int,
    state: Path,
) -> None:
    """Runs a server until SIGTERM or Ctrl-C.

    Commands on this machine find it by its state folder. One state folder has one server.
    """
    run(
        listen, jobs, state,
        insecure=insecure, without_walls=without_walls, with_agent=False, keep_for=keep_for,
        disk_cap=disk_cap,
    )  # fmt: skip
