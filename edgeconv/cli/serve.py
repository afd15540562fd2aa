"""`edgeconv serve`."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from edgeconv.cli.connect import state_option
from edgeconv.cli.die_with_parent import die_with_parent_option
from edgeconv.cli.terminal import json_option, terminal_of

Function = TypeVar("Function", bound=Callable[..., Any])

_DESCRIPTORS = 16_384


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
            "--queue",
            type=click.IntRange(1, 100_000),
            default=1000,
            show_default=True,
            help="Conversions that may be queued or run; more are refused until some have ended.",
        ),
        click.option(
            "--listen",
            metavar="HOST:PORT",
            default="127.0.0.1:0",
            show_default=True,
            help="Where to listen; port 0 takes a free one.",
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
    queue: int,
    state: Path,
    *,
    insecure: bool,
    without_walls: bool,
    with_agent: bool,
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
    from edgeconv.server.rpc.call_limits import CallLimits

    settings = ServerSettings(
        state=state,
        listen=listen,
        insecure=insecure,
        without_walls=without_walls,
        jobs_at_once=jobs,
        limits=CallLimits(conversions=queue),
        awaited_device=LOCAL_DEVICE if with_agent else "",
    )
    service = run_service(settings, terminal_of(), with_agent=with_agent, while_used=while_used)
    allow_many_descriptors()
    asyncio.run(service)


def allow_many_descriptors() -> None:
    """Lets this process open as many as it may: the usual 1,024 are soon taken by callers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if resource.RLIM_INFINITY != soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@click.command(short_help="Runs a server.")
@service_options
def serve(
    listen: str, insecure: bool, without_walls: bool, jobs: int, queue: int, state: Path
) -> None:
    """Runs a server until SIGTERM or Ctrl-C.

    Commands on this machine find it by its state folder. One state folder has one server.
    """
    run(
        listen, jobs, queue, state,
        insecure=insecure, without_walls=without_walls, with_agent=False,
    )  # fmt: skip
