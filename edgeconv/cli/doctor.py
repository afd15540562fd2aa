"""`edgeconv doctor`."""

from __future__ import annotations

from pathlib import Path

import click

from edgeconv.base.exit_codes import ExitCode
from edgeconv.cli.connect import server_options
from edgeconv.cli.terminal import json_option, terminal_of

_MARKS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}


@click.command(short_help="Checks this installation and this machine.")
@server_options
@json_option
@click.pass_context
def doctor(context: click.Context, server: str | None, state: Path) -> None:
    """Checks this installation and this machine; says what to do about each fault.

    Ends with 0 when nothing failed, else with 4. A warning is no failure.
    """
    from rich.text import Text

    from edgeconv.cli.checks import check_all
    from edgeconv.cli.connect import Where
    from edgeconv.cli.documents import DoctorDocument
    from edgeconv.report.printable import printable

    terminal = terminal_of(context)
    checks = tuple(check_all(Where(server, state)))
    healthy = all(check.state != "fail" for check in checks)
    if terminal.json:
        terminal.print_document(DoctorDocument(healthy=healthy, checks=checks))
    else:
        for check in checks:
            mark, style = _MARKS[check.state]
            line = Text.assemble((mark, style), f" {check.name:<15} ", printable(check.message))
            terminal.out.print(line, soft_wrap=True)
            if check.fix:
                terminal.print(f"{'':<18}{check.fix}")
    context.exit(ExitCode.DONE if healthy else ExitCode.PRECONDITION)
