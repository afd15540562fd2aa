"""What refers to blobs, read in pages, and its removal in transactions that look once more.

Between the reading and the removal anything may happen. So each removal is tied to what was
read: a row that was used since, or a blob that was touched since, stays.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from edgeconv.server.records import TERMINAL_JOB_STATES, PartRecord
from edgeconv.server.retention_rules import Holder, HolderId, Kind, StoredBlob
from edgeconv.server.store.benchmarks import OPEN
from edgeconv.server.store.blob_rows import touch
from edgeconv.server.store.database import Database, Transaction, insert_new, transaction
from edgeconv.server.store.tables import (
    benchmark_files,
    benchmarks,
    blob_senders,
    blobs,
    conversion_steps,
    conversions,
    datasets,
    events,
    model_versions,
    requests,
    steps,
    variants,
)

_PAGE = 200
_BLOB_PAGE = 2000

_OPEN_BENCHMARKS = sa.select(benchmarks.c.conversion).where(benchmarks.c.state.in_(OPEN))
_LIVE = sa.or_(
    conversions.c.state.not_in(TERMINAL_JOB_STATES), conversions.c.id.in_(_OPEN_BENCHMARKS)
)
_LIVE_KEYS = (
    sa.select(conversion_steps.c.key)
    .join(conversions, conversions.c.id == conversion_steps.c.conversion)
    .where(_LIVE)
)


@dataclass(frozen=True)
class Retention:
    """Blobs and their holders."""

    database: Database

    @transaction
    def touch(self, tx: Transaction, sizes: Mapping[str, int]) -> None:
        """Keeps blobs, digest → bytes, from being removed for a while."""
        touch(tx, sizes)

    @transaction
    def now_ns(self, tx: Transaction) -> int:
        """The time that all servers of the database agree on."""
        return tx.now_ns

    def toucher(self) -> Callable[[PartRecord], None]:
        """`touch` for threads that may block, beside the event loop that runs now."""
        loop = asyncio.get_running_loop()

        def touch_part(part: PartRecord) -> None:
            touching = self.touch({part.digest: part.size_bytes})
            asyncio.run_coroutine_threadsafe(touching, loop).result()

        return touch_part

    @transaction
    def adopt(self, tx: Transaction, sizes: Mapping[str, int]) -> None:
        """Gives stored blobs a row that have none: they count from now on."""
        for digest, size in sizes.items():
            values = {"digest": digest, "size_bytes": size, "touched_ns": tx.now_ns}
            insert_new(tx, blobs, values)

    async def blobs(self) -> dict[str, StoredBlob]:
        """All rows of blobs, by digest; whether each is stored is not looked at."""
        found: dict[str, StoredBlob] = {}
        last = ""
        while page := await self._blob_page(last):
            found |= {blob.digest: blob for blob in page}
            last = page[-1].digest
        return found

    async def holders(self) -> AsyncIterator[list[Holder]]:
        """Everything that refers to blobs, in pages; each page is of one moment."""
        yield await self._models()
        yield await self._datasets()
        key = ""
        while rows := await self._step_page(key):
            key = rows[-1].id.name
            yield rows
        seq = 0
        while True:
            seq, page = await self._conversion_page(seq)
            if not seq:
                break
            yield page
        yield await self._records()

    @transaction
    def retire_step(self, tx: Transaction, holder: Holder) -> bool:
        """Forgets a step's result, unless it was used since it was read."""
        done = tx.execute(
            sa.delete(steps).where(
                steps.c.key == holder.id.name,
                steps.c.state == "done",
                steps.c.used_ns <= holder.used_ns,
                steps.c.key.not_in(_LIVE_KEYS),
            )
        )
        return done.rowcount == 1

    @transaction
    def retire_conversion(self, tx: Transaction, holder: Holder) -> bool:
        """Gives up the files of a conversion, unless it was used since it was read.

        Of its events the one that tells its end stays, by which a watcher knows.
        """
        done = tx.execute(
            sa.update(conversions)
            .where(
                conversions.c.id == holder.id.name,
                conversions.c.collected_ns == 0,
                conversions.c.used_ns <= holder.used_ns,
                sa.not_(_LIVE),
            )
            .values(collected_ns=tx.now_ns)
        )
        if done.rowcount:
            tx.execute(_told_long_ago(holder.id.name))
            tx.changed.add(f"conversions/{holder.id.name}")
        return done.rowcount == 1

    @transaction
    def forget_requests(self, tx: Transaction, older_than_ns: int) -> None:
        """Forgets which calls were made so long ago: one that comes again is a new one then."""
        tx.execute(sa.delete(requests).where(requests.c.create_ns < tx.now_ns - older_than_ns))

    @transaction
    def forget_steps(self, tx: Transaction, older_than_ns: int) -> None:
        """Forgets steps that gave no result and that nobody has claimed for so long."""
        tx.execute(
            sa.delete(steps).where(
                steps.c.state == "new",
                steps.c.changed_ns < tx.now_ns - older_than_ns,
                steps.c.key.not_in(_LIVE_KEYS),
            )
        )

    @transaction
    def remove(self, tx: Transaction, blob: StoredBlob, delete: Callable[[str], None]) -> bool:
        """Removes a blob with its row; False when it was touched since it was read.

        Args:
            delete: Removes the bytes. It runs inside the transaction: whoever touches the
                blob does so before, and keeps it, or after, and finds it gone.
        """
        as_read = sa.and_(blobs.c.digest == blob.digest, blobs.c.touched_ns == blob.touched_ns)
        if not tx.execute(sa.delete(blobs).where(as_read)).rowcount:
            return False
        # Its answer shows that the row is still held: a slow disk may outlast a transaction. So
        # there must be no second blob in it.
        tx.execute(sa.delete(blob_senders).where(blob_senders.c.digest == blob.digest))
        delete(blob.digest)
        return True

    @transaction
    def _blob_page(self, tx: Transaction, after: str) -> list[StoredBlob]:
        rows = tx.rows(
            sa.select(blobs).where(blobs.c.digest > after).order_by(blobs.c.digest)
            .limit(_BLOB_PAGE)
        )  # fmt: skip
        if not rows:
            return []
        within = blob_senders.c.digest.between(rows[0]["digest"], rows[-1]["digest"])
        sent = {row["digest"] for row in tx.rows(sa.select(blob_senders.c.digest).where(within))}
        return [StoredBlob(**row, sent=row["digest"] in sent) for row in rows]

    @transaction
    def _models(self, tx: Transaction) -> list[Holder]:
        table = model_versions
        rows = tx.rows(
            sa.select(table.c.model, table.c.version, table.c.files, table.c.deleted)
        )  # fmt: skip
        return [
            Holder(
                HolderId(Kind.MODEL, f"models/{row['model']}/versions/{row['version']}"),
                _digests(row["files"]), 0,
                needed="" if row["deleted"] else "it is not deleted", deleted=row["deleted"],
            )
            for row in rows
        ]  # fmt: skip

    @transaction
    def _datasets(self, tx: Transaction) -> list[Holder]:
        return [
            Holder(
                HolderId(Kind.DATASET, f"datasets/{row['dataset']}"), _digests(row["files"]), 0,
                needed="it is not deleted",
            )
            for row in tx.rows(sa.select(datasets.c.dataset, datasets.c.files))
        ]  # fmt: skip

    @transaction
    def _step_page(self, tx: Transaction, after: str) -> list[Holder]:
        live = steps.c.key.in_(_LIVE_KEYS).label("live")
        rows = tx.rows(
            # Facts may be many times as large as the names of files.
            sa.select(steps.c.key, steps.c.output["files"].label("files"), steps.c.used_ns, live)
            .where(steps.c.state == "done", steps.c.key > after)
            .order_by(steps.c.key)
            .limit(_PAGE)
        )
        return [
            Holder(
                HolderId(Kind.STEP, row["key"]), _digests(row["files"]),
                row["used_ns"], needed="a job works with it" if row["live"] else "",
            )
            for row in rows
        ]  # fmt: skip

    @transaction
    def _conversion_page(self, tx: Transaction, after: int) -> tuple[int, list[Holder]]:
        """A page and where it ends; 0 when there is none."""
        rows = tx.rows(
            sa.select(
                conversions.c.seq, conversions.c.id, conversions.c.end_ns, conversions.c.used_ns,
                conversions.c.collected_ns, _LIVE.label("live"),
                sa.case((_LIVE, conversions.c.inputs)).label("inputs"),
            )
            .where(conversions.c.seq > after)
            .order_by(conversions.c.seq)
            .limit(_PAGE)
        )  # fmt: skip
        if not rows:
            return 0, []
        kept = [row for row in rows if not row["collected_ns"]]
        files = _files_of(tx, [row["id"] for row in kept])
        return rows[-1]["seq"], [
            Holder(
                HolderId(Kind.CONVERSION, row["id"]),
                files[row["id"]] | (_inputs(row["inputs"]) if row["live"] else frozenset()),
                max(row["end_ns"], row["used_ns"]),
                needed="it has not ended" if row["live"] else "",
            )
            for row in kept
        ]  # fmt: skip

    @transaction
    def _records(self, tx: Transaction) -> list[Holder]:
        query = sa.select(benchmark_files.c.benchmark, benchmark_files.c.file).join(
            benchmarks,
            sa.and_(
                benchmarks.c.id == benchmark_files.c.benchmark,
                benchmarks.c.record_digest == benchmark_files.c.digest,
            ),
        )
        return [
            Holder(
                HolderId(Kind.RECORD, f"benchmarks/{row['benchmark']}"), _digests([row["file"]]), 0,
                needed="raw samples are kept",
            )
            for row in tx.rows(query)
        ]  # fmt: skip


def _files_of(tx: Transaction, ids: Collection[str]) -> dict[str, frozenset[str]]:
    """What the variants and benchmarks of conversions refer to."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for row in tx.rows(
        sa.select(variants.c.conversion, variants.c.files).where(variants.c.conversion.in_(ids))
    ):
        found[row["conversion"]] |= _digests(row["files"])
    table = benchmarks
    own: dict[str, dict[str, Any]] = {}
    for row in tx.rows(
        sa.select(
            table.c.id, table.c.conversion, table.c.files, table.c.samples, table.c.outputs,
            table.c.outputs_digest, table.c.state,
        ).where(table.c.conversion.in_(ids))
    ):  # fmt: skip
        own[row["id"]] = row
        some = [row["samples"], row["outputs"]]
        found[row["conversion"]] |= _digests([*row["files"], *filter(None, some)])
    sent = sa.select(benchmark_files).where(benchmark_files.c.benchmark.in_(list(own)))
    for row in tx.rows(sent):
        benchmark = own[row["benchmark"]]
        # What came under a lease that was lost is nobody's once the benchmark has ended.
        if benchmark["state"] in OPEN or row["digest"] == benchmark["outputs_digest"]:
            found[benchmark["conversion"]] |= _digests([row["file"]])
    return defaultdict(frozenset, {key: frozenset(each) for key, each in found.items()})


def _told_long_ago(conversion: str) -> sa.Delete:
    """What an ended conversion has told, but for its end: its state changes no more after it."""
    told = events.alias()
    end = sa.select(sa.func.max(told.c.sequence)).where(
        told.c.conversion == conversion, told.c.kind == "state_changed"
    )
    return sa.delete(events).where(
        events.c.conversion == conversion, events.c.sequence != end.scalar_subquery()
    )


def _inputs(inputs: Mapping[str, Any]) -> frozenset[str]:
    return frozenset().union(*(_digests(each["files"]) for each in inputs.values()))


def _digests(files: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    return frozenset(part["digest"] for file in files for part in file["parts"])
