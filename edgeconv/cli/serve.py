"""`edgeconv serve`."""

from __future__ import annotations

import resource

import click

from edgeconv.cli.service_options import ServiceOptions, service_options
from edgeconv.cli.terminal import terminal_of

_DESCRIPTORS = 16_384


def run(options: ServiceOptions, *, with_agent: bool, while_used: bool = False) -> None:
    """Serves until a signal, or until no command uses it.

    Raises:
        EdgeconvError: EXTRA_MISSING, and what `edgeconv.server.app.serve` raises.
    """
    import asyncio

    from edgeconv.cli.extras import require_extra

    require_extra("server", "A server")
    from edgeconv.cli.service import LOCAL_DEVICE, run_service

    settings = options.settings(awaited_device=LOCAL_DEVICE if with_agent else "")
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
def serve(options: ServiceOptions) -> None:
    """Runs a server until SIGTERM or Ctrl-C.

    Commands on this machine find it by its state folder. One state folder has one server.
    """
    run(options, with_agent=False)
