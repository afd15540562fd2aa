"""Conversions: their states, variants, steps and events.

Writes of a running job carry its attempt and are refused once the conversion has ended or
another attempt has begun, and where their executor was declared dead: each then raises
DECLARED_DEAD. A terminal state is written once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.ids import new_id
from edgeconv.server.records import (
    TERMINAL_JOB_STATES,
    BenchmarkRecord,
    BundleInput,
    ConversionRecord,
    EventRecord,
    FileRecord,
    Files,
    StepReportRecord,
    VariantRecord,
)
from edgeconv.server.store.attempts import (
    MAX_LOST_ATTEMPTS,
    brought_on,
    given_up,
    is_live,
    was_lost,
)
from edgeconv.server.store.benchmarks import NewBenchmark, insert_benchmark, read_benchmarks
from edgeconv.server.store.blob_rows import hold
from edgeconv.server.store.collected import use_files
from edgeconv.server.store.conclusion import conclude
from edgeconv.server.store.database import Database, Transaction, transaction
from edgeconv.server.store.events import append_event, read_events
from edgeconv.server.store.living import check_lives
from edgeconv.server.store.quota import Quota
from edgeconv.server.store.requests import Request, earlier_result, remember_result
from edgeconv.server.store.tables import conversion_steps, conversions, variants
from edgeconv.server.store.variants import end_variant, read_variants, variant_changed

_RUNNING = ("queued", "converting")


@dataclass(frozen=True)
class ConversionView:
    """A conversion with all that belongs to it."""

    conversion: ConversionRecord
    variants: list[VariantRecord]
    steps: list[StepReportRecord]
    benchmarks: list[BenchmarkRecord]


@dataclass(frozen=True)
class NewConversion:
    """What a conversion begins with; fields as in `ConversionRecord`."""

    model_version: str
    recipe: str
    plan: dict[str, Any]
    inputs: dict[str, Any]
    device_selector: str
    benchmark: dict[str, Any]
    toolchain: dict[str, str]
    notes: list[dict[str, Any]]
    variants: Sequence[VariantRecord]


@dataclass(frozen=True)
class VerifiedVariant:
    """How a variant came out of its verification; `error` is None when it passed."""

    name: str
    files: Files
    digest: str
    effects: list[dict[str, Any]]
    agreement: dict[str, Any] | None
    error: dict[str, Any] | None


@dataclass(frozen=True)
class Conversions:
    """All conversions."""

    database: Database

    @transaction
    def create(
        self, tx: Transaction, new: NewConversion, request: Request, quota: Quota | None = None
    ) -> tuple[str, bool]:
        """Id of a new conversion, or of the one the same call made; whether it is new.

        Raises:
            EdgeconvError: LIMIT_REACHED when there is no room for a new one; PART_MISSING as
                in `hold`.
        """
        if earlier := earlier_result(tx, request):
            return earlier, False
        if quota is not None:
            quota.check(tx, conversions.c.state, _RUNNING)
        inputs = [BundleInput.model_validate(each) for each in new.inputs.values()]
        hold(tx, [file for each in inputs for file in each.files])
        conversion = new_id()
        tx.execute(
            sa.insert(conversions).values(
                id=conversion, model_version=new.model_version, recipe=new.recipe, plan=new.plan,
                inputs=new.inputs, device_selector=new.device_selector, benchmark=new.benchmark,
                state="queued", attempt=0, notes=new.notes, toolchain=new.toolchain,
                sequence=0, create_ns=tx.now_ns, end_ns=0, executor="", lost_attempts=0,
            )
        )  # fmt: skip
        append_event(tx, conversion, "state_changed", {"state": "queued"})
        for position, variant in enumerate(new.variants):
            tx.execute(
                sa.insert(variants).values(
                    conversion=conversion, position=position, **variant.model_dump(mode="json")
                )
            )
            if variant.state == "refused":
                message = (variant.error or {}).get("message", "")
                variant_changed(tx, conversion, variant.name, "refused", message)
        remember_result(tx, request, conversion)
        return conversion, True

    @transaction
    def get(self, tx: Transaction, conversion: str) -> ConversionRecord | None:
        """One conversion without its variants."""
        return _read(tx, conversion)

    @transaction
    def view(self, tx: Transaction, conversion: str) -> ConversionView | None:
        """One conversion with all that belongs to it, of one moment."""
        record = _read(tx, conversion)
        if record is None:
            return None
        columns = [column for column in conversion_steps.c if column.name not in _PLACE]
        steps = tx.rows(
            sa.select(*columns)
            .where(conversion_steps.c.conversion == conversion)
            .order_by(conversion_steps.c.position)
        )
        return ConversionView(
            record,
            read_variants(tx, conversion),
            [StepReportRecord.model_validate(row) for row in steps],
            read_benchmarks(tx, conversion=conversion),
        )

    @transaction
    def use_files(self, tx: Transaction, conversion: str) -> None:
        """Notes that files of a conversion are about to be read.

        Raises:
            EdgeconvError: COLLECTED when they were removed by retention.
        """
        use_files(tx, conversion)

    @transaction
    def page(
        self, tx: Transaction, *, before_seq: int | None, limit: int
    ) -> list[ConversionRecord]:
        """Conversions, newest first."""
        query = sa.select(conversions)
        if before_seq is not None:
            query = query.where(conversions.c.seq < before_seq)
        rows = tx.rows(query.order_by(conversions.c.seq.desc()).limit(limit))
        return [ConversionRecord.model_validate(row) for row in rows]

    @transaction
    def events_after(
        self, tx: Transaction, conversion: str, sequence: int, limit: int = 500
    ) -> tuple[list[EventRecord], bool]:
        """Events after a sequence, and whether the last one there is is among them and
        the conversion has ended."""
        # Of the conversion no more than that: each watcher looks again and again.
        query = sa.select(conversions.c.state, conversions.c.sequence)
        now = tx.row(query.where(conversions.c.id == conversion))
        if now is not None and now["sequence"] <= sequence:
            return [], now["state"] in TERMINAL_JOB_STATES
        found = read_events(tx, conversion, sequence, limit)
        if now is None:
            return found, True
        last = found[-1].sequence if found else sequence
        return found, now["state"] in TERMINAL_JOB_STATES and last >= now["sequence"]

    @transaction
    def unfinished(self, tx: Transaction) -> list[str]:
        """Ids of the conversions whose steps have not ended, oldest first."""
        query = sa.select(conversions.c.id).where(conversions.c.state.in_(_RUNNING))
        return [row["id"] for row in tx.rows(query.order_by(conversions.c.seq))]

    @transaction
    def ended(self, tx: Transaction, among: Collection[str]) -> list[str]:
        """Ids of those that have ended, in the order they were made."""
        query = sa.select(conversions.c.id).where(
            conversions.c.id.in_(among), conversions.c.state.in_(TERMINAL_JOB_STATES)
        )
        return [row["id"] for row in tx.rows(query.order_by(conversions.c.seq))] if among else []

    @transaction
    def begin(self, tx: Transaction, conversion: str, executor: str) -> int | None:
        """Begins an attempt and gives its number; None when the conversion has ended.

        It ends here when executors died over it again and again: the next one would, too.

        Raises:
            EdgeconvError: DECLARED_DEAD when the executor does not live.
        """
        check_lives(tx, executor)
        before = _read(tx, conversion)
        if before is None or before.state not in _RUNNING:
            return None
        lost = before.lost_attempts + was_lost(tx, before, executor)
        attempt = before.attempt + 1
        tx.execute(
            sa.update(conversions)
            .where(conversions.c.id == conversion)
            .values(attempt=attempt, state="converting", executor=executor, lost_attempts=lost)
        )
        if before.state == "queued":
            append_event(tx, conversion, "state_changed", {"state": "converting"})
        if lost >= MAX_LOST_ATTEMPTS:
            _fail(tx, conversion, given_up(before.name, lost))
            return None
        return attempt

    @transaction
    def note(self, tx: Transaction, conversion: str, attempt: int, note: dict[str, Any]) -> bool:
        """Adds a note that is not there yet; False as in `step_changed`."""
        record = _read(tx, conversion)
        if record is None or not is_live(tx, conversion, attempt):
            return False
        notes = [known.model_dump(mode="json") for known in record.notes]
        if note not in notes:
            tx.execute(
                sa.update(conversions)
                .where(conversions.c.id == conversion)
                .values(notes=[*notes, note])
            )
        return True

    @transaction
    def step_changed(
        self, tx: Transaction, conversion: str, attempt: int, body: dict[str, Any]
    ) -> bool:
        """Tells of a step; False when the attempt is not the live one any more."""
        if not is_live(tx, conversion, attempt):
            return False
        append_event(tx, conversion, "step_changed", body)
        return True

    @transaction
    def step_ended(
        self,
        tx: Transaction,
        conversion: str,
        attempt: int,
        report: StepReportRecord,
        body: dict[str, Any],
    ) -> bool:
        """Keeps what a step took, once, and tells of it; False as in `step_changed`."""
        if not is_live(tx, conversion, attempt):
            return False
        mine = conversion_steps.c.conversion == conversion
        known = sa.select(conversion_steps.c.id).where(mine, conversion_steps.c.id == report.id)
        if tx.row(known) is not None:
            # An attempt under other versions has results of its own, which stay for it.
            tx.execute(
                sa.update(conversion_steps)
                .where(mine, conversion_steps.c.id == report.id)
                .values(key=report.key)
            )
            return True
        position = tx.execute(sa.select(sa.func.count()).where(mine)).scalar_one()
        tx.execute(
            sa.insert(conversion_steps).values(
                conversion=conversion, position=position, **report.model_dump()
            )
        )
        append_event(tx, conversion, "step_changed", body)
        brought_on(tx, conversion)
        return True

    @transaction
    def fail_variants(
        self, tx: Transaction, conversion: str, attempt: int, errors: Mapping[str, dict[str, Any]]
    ) -> bool:
        """Ends pending variants with an error each; False as in `step_changed`."""
        if not is_live(tx, conversion, attempt):
            return False
        for name, error in errors.items():
            end_variant(tx, conversion, name, "failed", error)
        brought_on(tx, conversion)
        return True

    @transaction
    def variant_made(
        self, tx: Transaction, conversion: str, attempt: int, made: VerifiedVariant
    ) -> bool:
        """Ends a pending variant with its files; False as in `step_changed`.

        Raises:
            EdgeconvError: PART_MISSING as in `hold`.
        """
        if not is_live(tx, conversion, attempt):
            return False
        hold(tx, made.files)
        tx.execute(
            sa.update(variants)
            .where(
                variants.c.conversion == conversion,
                variants.c.name == made.name,
                variants.c.state == "pending",
            )
            .values(
                files=[file.model_dump(mode="json") for file in made.files],
                digest=made.digest,
                effects=made.effects,
                agreement=made.agreement,
            )
        )
        end_variant(
            tx, conversion, made.name, "verified" if made.error is None else "failed", made.error
        )
        return True

    @transaction
    def finish_steps(
        self,
        tx: Transaction,
        conversion: str,
        attempt: int,
        *,
        samples: FileRecord | None,
        outputs: FileRecord | None,
    ) -> bool:
        """All steps have ended: queues the benchmarks, or ends the conversion.

        Args:
            samples: What devices compute outputs for.
            outputs: The source's outputs for them.
        """
        record = _read(tx, conversion)
        if record is None or not is_live(tx, conversion, attempt):
            return False
        verified = [v for v in read_variants(tx, conversion) if v.state == "verified"]
        if not verified or record.device_selector in ("", "none"):
            conclude(tx, conversion)
            return True
        tx.execute(
            sa.update(conversions)
            .where(conversions.c.id == conversion)
            .values(state="benchmarking")
        )
        append_event(tx, conversion, "state_changed", {"state": "benchmarking"})
        for variant in verified:
            insert_benchmark(
                tx,
                NewBenchmark(
                    record, variant, record.device_selector, record.benchmark, samples, outputs
                ),
            )
        return True

    @transaction
    def fail(self, tx: Transaction, conversion: str, attempt: int, error: EdgeconvError) -> bool:
        """Ends a conversion that failed as a whole; False as in `step_changed`."""
        if not is_live(tx, conversion, attempt):
            return False
        _fail(tx, conversion, error)
        return True

    @transaction
    def cancel(self, tx: Transaction, conversion: str) -> bool:
        """Ends a conversion and what is open of it; False when it had ended.

        Raises:
            EdgeconvError: NOT_FOUND.
        """
        record = _read(tx, conversion)
        if record is None:
            raise EdgeconvError(
                Reason.NOT_FOUND, f"There is no 'conversions/{conversion}'.", name=conversion
            )
        if record.state in TERMINAL_JOB_STATES:
            return False
        for variant in read_variants(tx, conversion):
            if variant.state == "pending":
                end_variant(tx, conversion, variant.name, "cancelled", None)
        conclude(tx, conversion, cancelled=True)
        return True


_PLACE = ("conversion", "position")


def _fail(tx: Transaction, conversion: str, error: EdgeconvError) -> None:
    for variant in read_variants(tx, conversion):
        if variant.state == "pending":
            end_variant(tx, conversion, variant.name, "failed", error.to_json())
    conclude(tx, conversion, error=error.to_json())


def _read(tx: Transaction, conversion: str) -> ConversionRecord | None:
    row = tx.row(sa.select(conversions).where(conversions.c.id == conversion))
    return None if row is None else ConversionRecord.model_validate(row)
