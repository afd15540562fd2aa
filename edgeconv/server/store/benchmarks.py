"""Benchmarks: rows that wait for a device, are leased to one, and end.

A lease has a token that grows with each claim; whatever comes under a lower one is refused.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from edgeconv.base.ids import new_id
from edgeconv.server.changes import QUEUE
from edgeconv.server.records import (
    TERMINAL_JOB_STATES,
    BenchmarkRecord,
    ConversionRecord,
    FileRecord,
    VariantRecord,
)
from edgeconv.server.store.blob_rows import hold
from edgeconv.server.store.database import Transaction
from edgeconv.server.store.events import append_event
from edgeconv.server.store.tables import benchmarks, conversions

OPEN = ("queued", "leased")


@dataclass(frozen=True)
class NewBenchmark:
    """What a benchmark begins with."""

    conversion: ConversionRecord
    variant: VariantRecord
    device_selector: str
    request: dict[str, Any]
    samples: FileRecord | None
    outputs: FileRecord | None


def insert_benchmark(tx: Transaction, new: NewBenchmark) -> str:
    """Queues a benchmark and gives its id.

    Raises:
        EdgeconvError: PART_MISSING as in `hold`.
    """
    hold(tx, [*new.variant.files, *filter(None, (new.samples, new.outputs))])
    benchmark = new_id()
    tx.execute(
        sa.insert(benchmarks).values(
            id=benchmark, conversion=new.conversion.id, variant=new.variant.name,
            title=f"{new.variant.name} of {new.conversion.model_version}",
            format=new.variant.target,
            files=[file.model_dump(mode="json") for file in new.variant.files],
            samples=new.samples and new.samples.model_dump(mode="json"),
            outputs=new.outputs and new.outputs.model_dump(mode="json"),
            device_selector=new.device_selector, request=new.request,
            priority=new.request.get("priority", 0), state="queued", device="", agent="", token=0,
            expires_ns=0, attempts=0, failed_on=[], failure_owner="", record_digest="",
            outputs_digest="", waiting_reason="", create_ns=tx.now_ns, end_ns=0,
        )
    )  # fmt: skip
    record = read_benchmark(tx, benchmark)
    assert record is not None
    tell(tx, record)
    tx.changed.add(QUEUE)
    return benchmark


def read_benchmark(tx: Transaction, benchmark: str) -> BenchmarkRecord | None:
    """One benchmark."""
    row = tx.row(sa.select(benchmarks).where(benchmarks.c.id == benchmark))
    return None if row is None else BenchmarkRecord.model_validate(row)


def read_benchmarks(
    tx: Transaction, *, conversion: str = "", only_open: bool = False
) -> list[BenchmarkRecord]:
    """Benchmarks in the order they were made; of one conversion, or of all."""
    query = sa.select(benchmarks)
    if conversion:
        query = query.where(benchmarks.c.conversion == conversion)
    if only_open:
        query = query.where(benchmarks.c.state.in_(OPEN))
    rows = tx.rows(query.order_by(benchmarks.c.seq))
    return [BenchmarkRecord.model_validate(row) for row in rows]


def read_queue(tx: Transaction) -> list[BenchmarkRecord]:
    """Benchmarks that wait, the one to be served first in front."""
    rows = tx.rows(
        sa.select(benchmarks)
        .where(benchmarks.c.state == "queued")
        .order_by(benchmarks.c.priority.desc(), benchmarks.c.seq)
    )
    return [BenchmarkRecord.model_validate(row) for row in rows]


def lease_benchmark(
    tx: Transaction, benchmark: str, *, device: str, agent: str, expires_ns: int
) -> BenchmarkRecord | None:
    """Gives a queued benchmark to a device under a new token; None when it is not queued."""
    taken = tx.execute(
        sa.update(benchmarks)
        .where(benchmarks.c.id == benchmark, benchmarks.c.state == "queued")
        .values(
            state="leased", device=device, agent=agent, token=benchmarks.c.token + 1,
            expires_ns=expires_ns, attempts=benchmarks.c.attempts + 1, waiting_reason="",
        )
    )  # fmt: skip
    record = read_benchmark(tx, benchmark)
    if not taken.rowcount or record is None:
        return None
    tell(tx, record, f"on {device}")
    return record


def requeue_benchmark(
    tx: Transaction, record: BenchmarkRecord, why: str, *, failed_on: Collection[str] = ()
) -> None:
    """Takes a leased benchmark back into the queue; its lease is dead from here on."""
    done = tx.execute(
        sa.update(benchmarks)
        .where(_holds(record))
        .values(
            state="queued", device="", agent="", expires_ns=0, token=benchmarks.c.token + 1,
            failed_on=sorted({*record.failed_on, *failed_on}), waiting_reason=why,
        )
    )  # fmt: skip
    if done.rowcount:
        tell(tx, record.model_copy(update={"state": "queued"}), why)
        tx.changed.add(QUEUE)


def end_benchmark(
    tx: Transaction,
    record: BenchmarkRecord,
    state: str,
    *,
    error: dict[str, Any] | None = None,
    owner: str = "",
    **result: Any,
) -> bool:
    """Writes a terminal state once, under the token that `record` has."""
    done = tx.execute(
        sa.update(benchmarks)
        .where(_holds(record))
        .values(
            state=state, error=error, failure_owner=owner, end_ns=tx.now_ns, waiting_reason="",
            expires_ns=0, **result,
        )
    )  # fmt: skip
    if not done.rowcount:
        return False
    message = (error or {}).get("message", "")
    tell(tx, record.model_copy(update={"state": state}), message)
    tx.changed.add(QUEUE)
    return True


def set_waiting_reason(tx: Transaction, record: BenchmarkRecord, reason: str) -> None:
    """Says why a queued benchmark waits."""
    if record.waiting_reason == reason:
        return
    tx.execute(
        sa.update(benchmarks)
        .where(benchmarks.c.id == record.id, benchmarks.c.state == "queued")
        .values(waiting_reason=reason)
    )
    tell(tx, record, reason)


def tell(tx: Transaction, record: BenchmarkRecord, message: str = "") -> None:
    """Tells of a benchmark's state, unless its conversion's events have ended."""
    tx.changed.add(record.name)
    row = tx.row(sa.select(conversions.c.state).where(conversions.c.id == record.conversion))
    if row is None or row["state"] in TERMINAL_JOB_STATES:
        return
    body = {
        "benchmark": record.name,
        "variant": record.variant,
        "state": record.state,
        "message": message,
    }
    append_event(tx, record.conversion, "benchmark_changed", body)


def _holds(record: BenchmarkRecord) -> sa.ColumnElement[bool]:
    return sa.and_(
        benchmarks.c.id == record.id,
        benchmarks.c.token == record.token,
        benchmarks.c.state.in_(OPEN),
    )
