"""How a conversion ends, in the transaction of what ended it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from edgeconv.server.judgement import final_state, judge, judge_late
from edgeconv.server.records import TERMINAL_JOB_STATES, VariantRecord
from edgeconv.server.store.benchmarks import end_benchmark, read_benchmark, read_benchmarks
from edgeconv.server.store.database import Transaction
from edgeconv.server.store.events import append_event
from edgeconv.server.store.tables import conversions, variants
from edgeconv.server.store.variants import read_variants


def conclude(
    tx: Transaction,
    conversion: str,
    *,
    error: dict[str, Any] | None = None,
    cancelled: bool = False,
) -> None:
    """Writes the terminal state with notes and the Pareto front; open benchmarks end."""
    for benchmark in read_benchmarks(tx, conversion=conversion, only_open=True):
        end_benchmark(tx, benchmark, "cancelled")
    made = read_variants(tx, conversion)
    benchmarks = read_benchmarks(tx, conversion=conversion)
    for variant in judge(made, benchmarks):
        _write(tx, conversion, variant)
    state, reason = final_state(made, benchmarks, cancelled=cancelled)
    tx.execute(
        sa.update(conversions)
        .where(conversions.c.id == conversion)
        .values(state=state, end_ns=tx.now_ns, error=error or (reason and reason.to_json()))
    )
    append_event(tx, conversion, "state_changed", {"state": state})


def take_measured(tx: Transaction, benchmark: str) -> None:
    """Takes a benchmark that has ended with a result: into the end of its conversion, or,
    where that has come already, into the judgement of its variant alone."""
    record = read_benchmark(tx, benchmark)
    assert record is not None
    row = tx.row(sa.select(conversions.c.state).where(conversions.c.id == record.conversion))
    if row is None or row["state"] not in TERMINAL_JOB_STATES:
        conclude_if_measured(tx, record.conversion)
        return
    for variant in read_variants(tx, record.conversion):
        if variant.name == record.variant:
            _write(tx, record.conversion, judge_late(variant, record))


def conclude_if_measured(tx: Transaction, conversion: str) -> None:
    """Ends a conversion whose last open benchmark has ended."""
    row = tx.row(sa.select(conversions.c.state).where(conversions.c.id == conversion))
    if row is None or row["state"] != "benchmarking":
        return
    if not read_benchmarks(tx, conversion=conversion, only_open=True):
        conclude(tx, conversion)


def _write(tx: Transaction, conversion: str, judged: VariantRecord) -> None:
    tx.execute(
        sa.update(variants)
        .where(variants.c.conversion == conversion, variants.c.name == judged.name)
        .values(
            notes=[note.model_dump(mode="json") for note in judged.notes],
            on_pareto_front=judged.on_pareto_front,
        )
    )
