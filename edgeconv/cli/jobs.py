"""`edgeconv jobs`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeconv.cli.connect import connected, server_options
from edgeconv.cli.options import limit_option
from edgeconv.cli.terminal import json_option, terminal_of

if TYPE_CHECKING:
    from edgeconv.results.job import JobResult


@click.group(short_help="Conversions on the server.")
def jobs() -> None:
    """Conversions on the server."""


@jobs.command("list")
@limit_option
@server_options
@json_option
def list_command(limit: int, server: str | None, state: Path) -> None:
    """Lists conversions, newest first."""
    from edgeconv.cli.documents import JobsDocument
    from edgeconv.cli.reading import job_line
    from edgeconv.report.cells import STATE_WORDS, time_text

    terminal = terminal_of()
    with connected(server, state) as client:
        found = tuple(job_line(each) for each in client.list_conversions(limit=limit))
    if terminal.json:
        terminal.print_document(JobsDocument(jobs=found))
        return
    rows = [
        (each.name, each.model_version, STATE_WORDS[each.state], time_text(each.created_ns))
        for each in found
    ]
    terminal.print_rows(("job", "model", "state", "made"), rows)


@jobs.command("get")
@click.argument("name")
@server_options
@json_option
def get_command(name: str, server: str | None, state: Path) -> None:
    """Shows a conversion with its variants."""
    from edgeconv.cli.names import full_name
    from edgeconv.results.wire import job_result

    with connected(server, state) as client:
        result = job_result(client.get_conversion(full_name(name, "conversions")))
    _print(result)


@jobs.command("watch")
@click.argument("name")
@server_options
@json_option
@click.pass_context
def watch_command(context: click.Context, name: str, server: str | None, state: Path) -> None:
    """Shows what happens until the conversion has ended; ends with its exit code."""
    from edgeconv.cli.conversion_run import exit_code_of, follow
    from edgeconv.cli.names import full_name

    with connected(server, state) as client:
        full = full_name(name, "conversions")
        result = follow(client, full, terminal_of(context), cancel_on_interrupt=False)
    _print(result)
    context.exit(exit_code_of(result))


@jobs.command("cancel")
@click.argument("name")
@server_options
@json_option
def cancel_command(name: str, server: str | None, state: Path) -> None:
    """Cancels a conversion; without effect on one that has ended."""
    from edgeconv.cli.names import full_name
    from edgeconv.results.wire import job_result

    with connected(server, state) as client:
        result = job_result(client.cancel_conversion(full_name(name, "conversions")))
    terminal = terminal_of()
    if terminal.json:
        terminal.print_document(result)
    else:
        terminal.print(f"{result.name} {result.state}")


@jobs.command("download")
@click.argument("name")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder.  [./JOB-edgeconv]"
)
@server_options
@json_option
def download_command(name: str, out: Path | None, server: str | None, state: Path) -> None:
    """Writes the files of an ended conversion, result.json and report.html into a folder."""
    from edgeconv.base.errors import EdgeconvError, Reason
    from edgeconv.cli.conversion_run import has_ended
    from edgeconv.cli.names import full_name
    from edgeconv.cli.output_folder import REPORT, write_job
    from edgeconv.results.wire import job_result

    terminal = terminal_of()
    full = full_name(name, "conversions")
    folder = (out or Path(f"{full.rpartition('/')[2]}-edgeconv")).absolute()
    with connected(server, state) as client:
        result = job_result(client.get_conversion(full))
        if not has_ended(result):
            raise EdgeconvError(
                Reason.NOT_READY,
                f"{full} has not ended: it is {result.state}.",
                fix=f"`edgeconv jobs watch {full}` waits for it.",
                name=full,
                state=result.state,
            )
        result = write_job(client, result, folder, terminal)
    if terminal.json:
        terminal.print_document(result)
    else:
        terminal.print(f"Files and report: {folder / REPORT}")


@jobs.command("report")
@click.argument("job")
@click.option(
    "--form",
    type=click.Choice(["html", "markdown", "junit", "text"]),
    default="html",
    show_default=True,
    help="Which form.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where to write it.  [standard output]",
)
@server_options
def report_command(job: str, form: str, out: Path | None, server: str | None, state: Path) -> None:
    """Writes the report of JOB in another form.

    JOB is a conversion's name, or the result.json of one, or the folder that holds it.
    """
    from edgeconv.cli.folder_exchange import check_file_writable, unwritable
    from edgeconv.cli.report_forms import render

    if out is not None:
        check_file_writable(out)
    text = render(_result_of(job, server, state), form)
    if out is None:
        click.echo(text, nl=False)
        return
    try:
        out.write_text(text)
    except OSError as error:
        why = error.strerror or str(error)
        raise unwritable(out, why, "Give another file with --out.") from error


def _result_of(job: str, server: str | None, state: Path) -> JobResult:
    from edgeconv.base.errors import EdgeconvError, Reason
    from edgeconv.cli.names import full_name
    from edgeconv.cli.output_folder import RESULT
    from edgeconv.results.job import JobResult
    from edgeconv.results.wire import job_result

    path = Path(job) / RESULT if Path(job).is_dir() else Path(job)
    if not path.is_file():
        with connected(server, state) as client:
            return job_result(client.get_conversion(full_name(job, "conversions")))
    try:
        return JobResult.model_validate_json(path.read_bytes())
    except ValueError:
        message = f"{str(path)!r} is not the result of a conversion."
        raise EdgeconvError(
            Reason.FIELD_INVALID, message, fix="Name a job or its result.json.", path=path
        ) from None


def _print(result: JobResult) -> None:
    from edgeconv.report.table import print_table

    terminal = terminal_of()
    if terminal.json:
        terminal.print_document(result)
    else:
        print_table(result, terminal.out)
