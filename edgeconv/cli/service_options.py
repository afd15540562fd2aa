"""The options that `serve` and `up` share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeconv.cli.connect import state_option
from edgeconv.cli.die_with_parent import die_with_parent_option
from edgeconv.cli.options import DURATION, SIZE, blobs_option
from edgeconv.cli.terminal import json_option

if TYPE_CHECKING:
    from edgeconv.server.app import ServerSettings


@dataclass(frozen=True)
class ServiceOptions:
    """How a server is to run; durations in seconds, sizes in bytes."""

    listen: str
    insecure: bool
    without_walls: bool
    database: str
    blobs: Path | None
    disk_cap: float | None
    keep_for: float | None
    inspection_time: float
    step_disk: float
    step_memory: float
    step_time: float
    queue: int
    jobs: int
    state: Path

    def settings(self, *, awaited_device: str) -> ServerSettings:
        """The same for the server, which has to be installed."""
        from edgeconv.sandbox.limits import Limits
        from edgeconv.server.app import ServerSettings
        from edgeconv.server.jobs.step_time import StepTimes
        from edgeconv.server.retention.sweep import RetentionSettings
        from edgeconv.server.rpc.call_limits import CallLimits

        return ServerSettings(
            state=self.state,
            listen=self.listen,
            insecure=self.insecure,
            without_walls=self.without_walls,
            jobs_at_once=self.jobs,
            child_limits=Limits(
                address_space_bytes=round(self.step_memory), disk_bytes=round(self.step_disk)
            ),
            step_times=StepTimes(self.step_time, self.inspection_time),
            retention=RetentionSettings(
                keep_for_s=self.keep_for,
                cap_bytes=None if self.disk_cap is None else round(self.disk_cap),
            ),
            limits=CallLimits(conversions=self.queue),
            database=self.database,
            blobs=self.blobs,
            awaited_device=awaited_device,
        )


def service_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options, handed over as one `ServiceOptions`."""

    @functools.wraps(command)
    def gathered(**given: Any) -> None:
        own = {each.name: given.pop(each.name) for each in fields(ServiceOptions)}
        command(ServiceOptions(**own), **given)

    function: Callable[..., None] = gathered
    for option in (json_option, die_with_parent_option, state_option, *_OWN):
        function = option(function)
    return function


_OWN = (
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
        "--step-time",
        type=DURATION,
        metavar="30min",
        default="30min",
        show_default=True,
        help="The longest that a step of a conversion may take.",
    ),
    click.option(
        "--step-memory",
        type=SIZE,
        metavar="16GiB",
        default="16GiB",
        show_default=True,
        help="The most memory that a step may take, mapped libraries counted.",
    ),
    click.option(
        "--step-disk",
        type=SIZE,
        metavar="32GiB",
        default="32GiB",
        show_default=True,
        help="The most disk that a step may take for what it makes, and for its scratch files.",
    ),
    click.option(
        "--inspection-time",
        type=DURATION,
        metavar="10min",
        default="10min",
        show_default=True,
        help="The longest that the inspection of a model or a dataset may take.",
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
        "--database",
        metavar="URL",
        envvar="EDGECONV_DATABASE",
        show_envvar=True,
        default="",
        help="PostgreSQL that several servers share, as postgresql://USER@HOST/NAME; files in"
        " the state folder without one. Give a URL with a password by the variable: others on"
        " this machine see command lines.",
    ),
    blobs_option,
    click.option(
        "--listen",
        metavar="HOST:PORT",
        default="127.0.0.1:0",
        show_default=True,
        help="Where to listen; port 0 takes a free one.",
    ),
    click.option(
        "--without-walls",
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
)
