"""`edgeconv benchmarks`."""

from __future__ import annotations

from pathlib import Path

import click

from edgeconv.cli.connect import connected, server_options
from edgeconv.cli.options import limit_option
from edgeconv.cli.terminal import json_option, terminal_of


@click.group(short_help="Benchmarks on the server.")
def benchmarks() -> None:
    """Benchmarks on the server."""


@benchmarks.command("list")
@click.argument("job", required=False)
@limit_option
@server_options
@json_option
def list_command(job: str | None, limit: int, server: str | None, state: Path) -> None:
    """Lists benchmarks, newest first; those of JOB alone where one is named."""
    from edgeconv.cli.documents import BenchmarksDocument
    from edgeconv.cli.names import full_name
    from edgeconv.cli.reading import benchmark_document
    from edgeconv.report.cells import time_text

    terminal = terminal_of()
    name = full_name(job, "conversions") if job else ""
    with connected(server, state) as client:
        listed = client.list_benchmarks(name, limit=limit)
    found = tuple(benchmark_document(each) for each in listed)
    if terminal.json:
        terminal.print_document(BenchmarksDocument(benchmarks=found))
        return
    rows = [
        (
            each.name,
            each.variant.rpartition("/")[2],
            each.state,
            each.device or each.device_selector,
            each.waiting_reason,
            time_text(each.created_ns),
        )
        for each in found
    ]
    terminal.print_rows(("benchmark", "variant", "state", "device", "waits", "made"), rows)


@benchmarks.command("get")
@click.argument("name")
@server_options
@json_option
def get_command(name: str, server: str | None, state: Path) -> None:
    """Shows a benchmark: percentiles, phases, memory, verdict."""
    from edgeconv.cli.describe import describe_benchmark
    from edgeconv.cli.names import full_name
    from edgeconv.cli.reading import benchmark_document

    with connected(server, state) as client:
        benchmark = client.get_benchmark(full_name(name, "benchmarks"))
    describe_benchmark(benchmark_document(benchmark), terminal_of())


@benchmarks.command("record")
@click.argument("name")
@server_options
def record_command(name: str, server: str | None, state: Path) -> None:
    """Prints the raw samples of a benchmark: JSON; its field "schema" is the version."""
    from edgeconv.cli.names import full_name

    with connected(server, state) as client:
        record = client.get_benchmark_record(full_name(name, "benchmarks"))
    click.echo(record)


@benchmarks.command("cancel")
@click.argument("name")
@server_options
@json_option
def cancel_command(name: str, server: str | None, state: Path) -> None:
    """Cancels a benchmark; without effect on one that has ended."""
    from edgeconv.cli.describe import describe_benchmark
    from edgeconv.cli.names import full_name
    from edgeconv.cli.reading import benchmark_document

    with connected(server, state) as client:
        benchmark = client.cancel_benchmark(full_name(name, "benchmarks"))
    describe_benchmark(benchmark_document(benchmark), terminal_of())
