"""`edgeconv serve`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from edgeconv.cli.connect import state_option
from edgeconv.cli.die_with_parent import die_with_parent_option
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
            "--step-minutes",
            "step_minutes",
            type=click.FloatRange(min=0, min_open=True),
            default=30.0,
            show_default=True,
            help="The longest that a step of a conversion may take.",
        ),
        click.option(
            "--step-memory",
            "step_memory_gib",
            metavar="GIB",
            type=click.FloatRange(min=1),
            default=16.0,
            show_default=True,
            help="The most memory that a step may take, mapped libraries counted.",
        ),
        click.option(
            "--inspection-minutes",
            "inspection_minutes",
            type=click.FloatRange(min=0, min_open=True),
            default=10.0,
            show_default=True,
            help="The longest that the inspection of a model or a dataset may take.",
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
    state: Path,
    *,
    insecure: bool,
    without_walls: bool,
    with_agent: bool,
    limits: Mapping[str, float],
    while_used: bool = False,
) -> None:
    """Serves until a signal, or until no command uses it.

    Args:
        limits: Of steps, by the names of their options.

    Raises:
        EdgeconvError: EXTRA_MISSING, STATE_LOCKED; FIELD_INVALID when it can't listen there.
    """
    import asyncio

    from edgeconv.cli.extras import require_extra

    require_extra("server", "A server")
    from edgeconv.cli.service import LOCAL_DEVICE, run_service
    from edgeconv.sandbox.limits import GIB, Limits
    from edgeconv.server.app import ServerSettings
    from edgeconv.server.jobs.step_time import StepTimes

    settings = ServerSettings(
        state=state,
        listen=listen,
        insecure=insecure,
        without_walls=without_walls,
        jobs_at_once=jobs,
        child_limits=Limits(address_space_bytes=round(limits["step_memory_gib"] * GIB)),
        step_times=StepTimes(limits["step_minutes"] * 60, limits["inspection_minutes"] * 60),
        awaited_device=LOCAL_DEVICE if with_agent else "",
    )
    service = run_service(settings, terminal_of(), with_agent=with_agent, while_used=while_used)
    asyncio.run(service)


@click.command(short_help="Runs a server.")
@service_options
def serve(
    listen: str, insecure: bool, without_walls: bool, jobs: int, state: Path, **limits: float
) -> None:
    """Runs a server until SIGTERM or Ctrl-C.

    Commands on this machine find it by its state folder. One state folder has one server.
    """
    run(
        listen, jobs, state,
        insecure=insecure, without_walls=without_walls, with_agent=False, limits=limits,
    )  # fmt: skip
