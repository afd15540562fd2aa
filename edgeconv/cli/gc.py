"""`edgeconv gc`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeconv.base.exit_codes import ExitCode
from edgeconv.cli.connect import Where, client_of, server_options
from edgeconv.cli.options import DURATION, SIZE, blobs_option
from edgeconv.cli.terminal import json_option, terminal_of

if TYPE_CHECKING:
    from edgeconv.cli.documents import BlobCheckDocument, GcDocument
    from edgeconv.cli.terminal import Terminal
    from edgeconv.client.sync import Client
    from edgeconv.v1 import storage_pb2

Tell = Callable[[int, int], None]


@click.command(short_help="Removes from the disk what nobody needs.")
@click.option(
    "--older-than",
    type=DURATION,
    metavar="30d",
    help="Also results of steps, and files of ended conversions, that were not used for so long.",
)
@click.option(
    "--cap",
    "--keep-bytes",
    type=SIZE,
    metavar="20GiB",
    help="Also the least recently used of them, until the rest takes no more than this.",
)
@click.option("--dry-run", is_flag=True, help="Only tell what would go.")
@click.option(
    "--check",
    is_flag=True,
    help="Read every blob instead, and tell which are damaged; those are removed, to be made or"
    " sent again.",
)
@blobs_option
@server_options
@json_option
@click.pass_context
def gc(
    context: click.Context,
    older_than: float | None,
    cap: float | None,
    dry_run: bool,
    check: bool,
    blobs: Path | None,
    server: str | None,
    state: Path,
) -> None:
    """Removes from the disk what nobody needs: parts that were sent and never used, what a step
    left that was broken off, files of deleted models.

    Models and datasets stay, what a job works with or waits for, and raw samples of
    benchmarks. A running server does it, else this command. With --check it ends with 4
    when a blob is damaged.
    """
    if check and (older_than is not None or cap is not None or dry_run):
        raise click.UsageError("--check goes with no other option.")
    terminal = terminal_of(context)
    storage = _Storage(Where(server, state), blobs)
    if check:
        with _told(terminal, "Reading blobs", in_bytes=True) as tell:
            report = _check_document(storage.check(tell))
        _print_check(report, terminal)
        context.exit(ExitCode.PRECONDITION if report.damaged else ExitCode.DONE)
    with _told(terminal, "Removing", in_bytes=False) as tell:
        collected = storage.collect(older_than, cap, dry_run, tell)
    _print_collected(_document(collected, dry_run), terminal)


class _Storage:
    """That of a running server, or of a state folder that none uses."""

    def __init__(self, where: Where, blobs: Path | None) -> None:
        self._where = where
        self._blobs = blobs

    def collect(
        self, older_than_s: float | None, cap: float | None, dry_run: bool, tell: Tell
    ) -> storage_pb2.Collected:
        cap_bytes = None if cap is None else round(cap)
        with self._server() as client:
            if client is not None:
                return client.collect_garbage(
                    older_than_s=older_than_s, cap_bytes=cap_bytes, dry_run=dry_run, progress=tell
                )
        from edgeconv.base.quantities import NS_PER_S
        from edgeconv.server.retention.alone import collect_alone

        older_than_ns = None if older_than_s is None else round(older_than_s * NS_PER_S)
        return asyncio.run(
            collect_alone(
                self._where.state, self._blobs, older_than_ns=older_than_ns, cap_bytes=cap_bytes,
                dry_run=dry_run, tell=tell,
            )
        )  # fmt: skip

    def check(self, tell: Tell) -> storage_pb2.CheckedBlobs:
        with self._server() as client:
            if client is not None:
                return client.check_blobs(progress=tell)
        from edgeconv.server.retention.alone import check_alone

        return asyncio.run(check_alone(self._where.state, self._blobs, tell=tell))

    @contextmanager
    def _server(self) -> Iterator[Client | None]:
        """A client; None, with what it needs at hand, when this process is to do it."""
        from edgeconv.cli.attached import attached
        from edgeconv.cli.extras import require_extra

        with ExitStack() as stack:
            if not self._where.server and self._where.state.is_dir():
                stack.enter_context(attached(self._where.state))
            endpoint = self._where.find()
            if endpoint is None:
                require_extra("server", "Without a server this")
                yield None
            else:
                yield stack.enter_context(client_of(endpoint))


@contextmanager
def _told(terminal: Terminal, words: str, *, in_bytes: bool) -> Iterator[Tell]:
    """Says how far it is once it takes more than two seconds."""
    from edgeconv.cli.slow_progress import slow_progress

    with slow_progress(terminal, words, in_bytes=in_bytes) as tell:
        yield tell


def _document(collected: storage_pb2.Collected, dry_run: bool) -> GcDocument:
    from edgeconv.cli.documents import GcDocument, RemovedLine

    removed = tuple(
        RemovedLine(
            kind=each.kind, reason=each.reason, count=each.count, size_bytes=each.size_bytes
        )
        for each in collected.removed
    )
    return GcDocument(
        dry_run=dry_run,
        removed=removed,
        freed_bytes=sum(each.size_bytes for each in removed),
        kept_bytes=collected.kept_bytes,
        waiting_bytes=collected.waiting_bytes,
        held_bytes=dict(collected.held_bytes),
        over_cap_bytes=collected.over_cap_bytes,
        leftovers=collected.leftovers,
        free_bytes=collected.free_bytes,
    )


def _check_document(checked: storage_pb2.CheckedBlobs) -> BlobCheckDocument:
    from edgeconv.cli.documents import BlobCheckDocument, DamagedBlobLine

    return BlobCheckDocument(
        blobs=checked.blobs,
        size_bytes=checked.size_bytes,
        damaged=tuple(
            DamagedBlobLine(
                digest=each.digest, problem=each.problem, holders=tuple(each.holders)
            )
            for each in checked.damaged
        ),
    )  # fmt: skip


def _print_collected(document: GcDocument, terminal: Terminal) -> None:
    from edgeconv.base.quantities import format_bytes

    if terminal.json:
        terminal.print_document(document)
        return
    if document.removed:
        rows = [
            (each.kind, each.reason, str(each.count), format_bytes(each.size_bytes))
            for each in document.removed
        ]
        terminal.print_rows(("what", "why", "count", "freed"), rows)
    did = "would free" if document.dry_run else "freed"
    leftovers = f", and {document.leftovers} leftovers of broken-off work go"
    terminal.print(
        f"{format_bytes(document.freed_bytes)} {did}{leftovers if document.leftovers else ''}."
    )
    held = sorted(document.held_bytes.items(), key=lambda item: -item[1])
    parts = [f"{format_bytes(size)} for {kind}s" for kind, size in held]
    if document.waiting_bytes:
        parts.append(f"{format_bytes(document.waiting_bytes)} too new to go")
    listed = f": {', '.join(parts)}" if parts else ""
    terminal.print(f"{format_bytes(document.kept_bytes)} stay{listed}.")
    if document.free_bytes:
        terminal.print(f"{format_bytes(document.free_bytes)} of the disk are free.")
    if document.over_cap_bytes:
        terminal.say(
            f"The cap is missed by {format_bytes(document.over_cap_bytes)}: the rest is needed or"
            " too new. `edgeconv models delete` and `edgeconv datasets delete` make room.",
            style="yellow",
        )


def _print_check(document: BlobCheckDocument, terminal: Terminal) -> None:
    from edgeconv.base.quantities import format_bytes

    if terminal.json:
        terminal.print_document(document)
        return
    for each in document.damaged:
        terminal.print(f"{each.digest}: {each.problem}", style="red")
        for holder in each.holders:
            terminal.print(f"  {holder}")
    read = f"{document.blobs} blobs, {format_bytes(document.size_bytes)}"
    if not document.damaged:
        terminal.print(f"{read}: all are whole.")
        return
    terminal.print(f"{read}: {len(document.damaged)} can't be used.")
    terminal.say(
        "What steps made is made again by the next conversion; upload models and datasets again.",
        style="yellow",
    )
