"""Agents, their devices, and the leases they hold."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.results.benchmark import BenchmarkSummary
from edgeconv.server import scheduler
from edgeconv.server.changes import QUEUE
from edgeconv.server.records import (
    BenchmarkRecord,
    DeviceRecord,
    FailureOwner,
    FileRecord,
)
from edgeconv.server.store.agents import AgentDevice, Word, admit_agent
from edgeconv.server.store.benchmarks import (
    OPEN,
    NewBenchmark,
    end_benchmark,
    insert_benchmark,
    lease_benchmark,
    read_benchmark,
    read_benchmarks,
    read_queue,
    requeue_benchmark,
    set_waiting_reason,
)
from edgeconv.server.store.blob_rows import hold
from edgeconv.server.store.collected import use_files
from edgeconv.server.store.conclusion import conclude_if_measured, take_measured
from edgeconv.server.store.database import Database, Transaction, insert_new, transaction
from edgeconv.server.store.devices import (
    count_failures,
    hold_device,
    read_device,
    read_devices,
    set_device,
    set_offline,
)
from edgeconv.server.store.quota import Quota
from edgeconv.server.store.requests import Request, earlier_result, remember_result
from edgeconv.server.store.tables import benchmark_files, benchmarks, devices


@dataclass(frozen=True)
class Answer:
    """What it is told.

    Attributes:
        assigned: Leases of this agent that it does not hold yet: new ones, and those of
            an answer that was lost.
        revoked: (benchmark, token) of what it holds without a live lease.
    """

    assigned: list[BenchmarkRecord]
    revoked: list[tuple[str, int]]
    draining: list[str]


@dataclass(frozen=True)
class Fleet:
    """All agents, devices and leases.

    Attributes:
        lease_ns: How long a lease lives without a heartbeat.
        silence_ns: An agent not heard for so long is lost, and its devices are offline.
    """

    database: Database
    lease_ns: int
    silence_ns: int

    @transaction
    def hear(self, tx: Transaction, word: Word) -> dict[str, EdgeconvError]:
        """Takes an agent's word: who it is, its devices and its heartbeats.

        Returns:
            "devices/{device}" of each device that is not taken, because another live agent
            has it, and ALREADY_EXISTS for it.

        Raises:
            EdgeconvError: ALREADY_EXISTS for an agent that is up in another place.
        """
        restarted = admit_agent(tx, word, self.silence_ns)
        held = {(lease.benchmark, lease.token): lease for lease in word.leases}
        for record in _leases_of(tx, word.agent):
            if (record.id, record.token) in held:
                tx.execute(
                    sa.update(benchmarks)
                    .where(benchmarks.c.id == record.id, benchmarks.c.token == record.token)
                    .values(expires_ns=tx.now_ns + self.lease_ns)
                )
            elif restarted or word.leaving:
                self._lose(
                    tx, record, "its agent was started anew" if restarted else "its agent left"
                )
        live = {record.id for record in _leases_of(tx, word.agent)}
        refused: dict[str, EdgeconvError] = {}
        for device in word.devices:
            known = read_device(tx, device.device)
            if known is not None and known.agent != word.agent and known.state != "offline":
                refused[known.name] = _taken(known)
            else:
                self._register(tx, word, device, known, live)
        gone = sa.and_(
            devices.c.agent == word.agent,
            devices.c.device.not_in([device.device for device in word.devices]),
        )
        for row in tx.rows(sa.select(devices).where(gone)):
            set_offline(tx, DeviceRecord.model_validate(row), "its agent has it no more")
        return refused

    @transaction
    def answer(self, tx: Transaction, word: Word) -> Answer:
        """Matches free devices of an agent with the queue, and says what it should know."""
        own = read_devices(tx, agent=word.agent)
        if not word.leaving:
            self._assign(tx, own)
        mine = _leases_of(tx, word.agent)
        live = {(record.id, record.token) for record in mine}
        held = {(lease.benchmark, lease.token) for lease in word.leases}
        return Answer(
            assigned=[record for record in mine if (record.id, record.token) not in held],
            revoked=sorted(held - live),
            draining=[device.name for device in own if device.held == "draining"],
        )

    @transaction
    def check_lease(self, tx: Transaction, benchmark: str, token: int) -> BenchmarkRecord:
        """The benchmark of a live lease.

        Raises:
            EdgeconvError: LEASE_LOST.
        """
        record = read_benchmark(tx, benchmark)
        if record is None or record.state != "leased" or record.token != token:
            raise EdgeconvError(
                Reason.LEASE_LOST,
                f"Lease {token} of 'benchmarks/{benchmark}' is not live.",
                fix="Drop the work and synchronize.",
                benchmark=benchmark,
                token=token,
            )
        return record

    @transaction
    def add_file(self, tx: Transaction, benchmark: str, token: int, file: FileRecord) -> None:
        """Notes a file that came under a lease.

        Raises:
            EdgeconvError: PART_MISSING as in `hold`.
        """
        hold(tx, [file])
        insert_new(
            tx, benchmark_files,
            {
                "benchmark": benchmark, "digest": file.digest, "token": token,
                "file": file.model_dump(mode="json"),
            },
        )  # fmt: skip

    @transaction
    def file(self, tx: Transaction, benchmark: str, digest: str) -> FileRecord | None:
        """A file that came for a benchmark under a lease."""
        row = tx.row(
            sa.select(benchmark_files.c.file).where(
                benchmark_files.c.benchmark == benchmark, benchmark_files.c.digest == digest
            )
        )
        return None if row is None else FileRecord.model_validate(row["file"])

    @transaction
    def succeed(
        self,
        tx: Transaction,
        benchmark: str,
        token: int,
        summary: BenchmarkSummary,
        *,
        record_digest: str,
        outputs_digest: str,
    ) -> bool:
        """Ends a benchmark with its result; False when the lease was lost."""
        record = read_benchmark(tx, benchmark)
        if record is None or record.token != token or record.state != "leased":
            return False
        end_benchmark(
            tx, record, "succeeded", summary=summary.model_dump(mode="json"),
            record_digest=record_digest, outputs_digest=outputs_digest,
        )  # fmt: skip
        count_failures(tx, record, 0)
        take_measured(tx, benchmark)
        return True

    @transaction
    def fail(
        self, tx: Transaction, benchmark: str, token: int, owner: FailureOwner, error: EdgeconvError
    ) -> bool:
        """Takes a failure: tried again or ended, as its owner says; False as in `succeed`."""
        record = read_benchmark(tx, benchmark)
        if record is None or record.token != token or record.state != "leased":
            return False
        self._fail(tx, record, owner, error)
        return True

    @transaction
    def create(
        self, tx: Transaction, new: NewBenchmark, request: Request, quota: Quota | None = None
    ) -> str:
        """Queues a benchmark that a caller asked for, and gives its id.

        Raises:
            EdgeconvError: LIMIT_REACHED when there is no room for one more; COLLECTED when the
                variant's files were removed by retention.
        """
        if earlier := earlier_result(tx, request):
            return earlier
        if quota is not None:
            quota.check(tx, benchmarks.c.state, OPEN)
        use_files(tx, new.conversion.id)
        made = insert_benchmark(tx, new)
        remember_result(tx, request, made)
        return made

    @transaction
    def cancel(self, tx: Transaction, benchmark: str) -> bool:
        """Ends an open benchmark; False when there is none of that id."""
        record = read_benchmark(tx, benchmark)
        if record is None:
            return False
        if end_benchmark(tx, record, "cancelled"):
            conclude_if_measured(tx, record.conversion)
        return True

    @transaction
    def benchmark(self, tx: Transaction, benchmark: str) -> BenchmarkRecord | None:
        """One benchmark."""
        return read_benchmark(tx, benchmark)

    @transaction
    def benchmark_page(
        self, tx: Transaction, conversion: str, *, before_seq: int | None, limit: int
    ) -> list[BenchmarkRecord]:
        """Benchmarks, newest first; an empty `conversion` is all."""
        query = sa.select(benchmarks)
        if conversion:
            query = query.where(benchmarks.c.conversion == conversion)
        if before_seq is not None:
            query = query.where(benchmarks.c.seq < before_seq)
        rows = tx.rows(query.order_by(benchmarks.c.seq.desc()).limit(limit))
        return [BenchmarkRecord.model_validate(row) for row in rows]

    @transaction
    def sweep(self, tx: Transaction, *, no_device_ns: int) -> None:
        """Takes back what lost agents hold, and says why the rest waits.

        Args:
            no_device_ns: A benchmark that no registered device could run fails after this.
        """
        for record in read_benchmarks(tx, only_open=True):
            if record.state == "leased" and record.expires_ns < tx.now_ns:
                self._lose(tx, record, f"{record.device} was not heard in time")
        for device in read_devices(tx):
            if device.state != "offline" and device.last_seen_ns < tx.now_ns - self.silence_ns:
                set_offline(tx, device, "no word from its agent")
        fleet = read_devices(tx)
        for record in read_queue(tx):
            reason = scheduler.waiting_reason(record, fleet)
            waited_ns = tx.now_ns - record.create_ns
            if waited_ns > no_device_ns and not scheduler.has_hope(record, fleet):
                error = EdgeconvError(
                    Reason.NO_DEVICE,
                    f"{record.title} was not measured: {reason}.",
                    fix="`edgeconv devices list` shows what is registered.",
                    selector=record.device_selector,
                )
                end_benchmark(tx, record, "failed", error=error.to_json(), owner="infrastructure")
                conclude_if_measured(tx, record.conversion)
            else:
                set_waiting_reason(tx, record, reason)

    @transaction
    def is_measuring(self, tx: Transaction) -> bool:
        """Whether a device holds a benchmark."""
        leased = sa.select(benchmarks.c.id).where(benchmarks.c.state == "leased").limit(1)
        return tx.row(leased) is not None

    @transaction
    def device(self, tx: Transaction, device: str) -> DeviceRecord | None:
        """One device."""
        return read_device(tx, device)

    @transaction
    def device_page(self, tx: Transaction, *, after: str, limit: int) -> list[DeviceRecord]:
        """Devices by name, after one."""
        query = sa.select(devices).where(devices.c.device > after)
        rows = tx.rows(query.order_by(devices.c.device).limit(limit))
        return [DeviceRecord.model_validate(row) for row in rows]

    @transaction
    def drain(self, tx: Transaction, device: str, reason: str) -> DeviceRecord | None:
        """Gives a device nothing more."""
        found = read_device(tx, device)
        if found is None:
            return None
        return hold_device(tx, found, "draining", reason or "drained by an operator")

    @transaction
    def resume(self, tx: Transaction, device: str) -> DeviceRecord | None:
        """Lets a drained or quarantined device take work again."""
        found = read_device(tx, device)
        return None if found is None else hold_device(tx, found, "", "")

    @transaction
    def forget(self, tx: Transaction, device: str) -> bool:
        """Forgets a device.

        Raises:
            EdgeconvError: NOT_READY while it holds a benchmark.
        """
        found = read_device(tx, device)
        if found is not None and found.benchmark:
            raise EdgeconvError(
                Reason.NOT_READY,
                f"{found.name!r} holds 'benchmarks/{found.benchmark}'.",
                fix="Drain it first, or cancel the benchmark.",
                device=found.name,
            )
        return tx.execute(sa.delete(devices).where(devices.c.device == device)).rowcount == 1

    def _assign(self, tx: Transaction, own: Sequence[DeviceRecord]) -> None:
        """Gives work to an agent's devices. All idle agents look at once: they read little."""
        free = [device for device in own if scheduler.may_take_work(device)]
        queue = read_queue(tx) if free else []
        if not queue:
            return
        # Other devices matter only to what has failed on one.
        fleet = read_devices(tx) if any(record.failed_on for record in queue) else free
        for device in free:
            chosen = scheduler.choose(device, queue, fleet)
            if chosen is None:
                continue
            queue.remove(chosen)
            leased = lease_benchmark(
                tx, chosen.id, device=device.name, agent=device.agent,
                expires_ns=tx.now_ns + self.lease_ns,
            )  # fmt: skip
            if leased is not None:
                set_device(tx, device, "preparing", leased.title, benchmark=leased.id)

    def _register(
        self,
        tx: Transaction,
        word: Word,
        given: AgentDevice,
        known: DeviceRecord | None,
        live: Collection[str],
    ) -> None:
        values: dict[str, Any] = {
            "agent": word.agent,
            "capabilities": given.capabilities,
            "labels": given.labels,
            "last_seen_ns": tx.now_ns,
        }
        if known is None:
            insert_new(
                tx, devices,
                {
                    "device": given.device, "state": "idle", "reason": "ready for work",
                    "since_ns": tx.now_ns, "benchmark": "", "failures_in_row": 0, "held": "",
                    "held_reason": "", **values,
                },
            )  # fmt: skip
            tx.changed.add(QUEUE)
            return
        tx.execute(sa.update(devices).where(devices.c.device == given.device).values(**values))
        lease = next((each for each in word.leases if each.benchmark == known.benchmark), None)
        if lease is None and known.benchmark in live:
            # Assigned in an answer that is on its way, or was lost.
            return
        state, reason = scheduler.device_state(
            known,
            reported=lease.device_state if lease else None,
            message=lease.message if lease else "",
        )
        set_device(tx, known, state, reason, benchmark=known.benchmark if lease else "")

    def _lose(self, tx: Transaction, record: BenchmarkRecord, why: str) -> None:
        error = EdgeconvError(
            Reason.LEASE_LOST, f"The measurement on {record.device} broke off: {why}."
        )
        self._fail(tx, record, "infrastructure", error)

    def _fail(
        self, tx: Transaction, record: BenchmarkRecord, owner: FailureOwner, error: EdgeconvError
    ) -> None:
        device = read_device(tx, record.device.removeprefix("devices/"))
        if device is not None and owner == "device":
            failures = device.failures_in_row + 1
            count_failures(tx, record, failures)
            if failures >= scheduler.QUARANTINE_AFTER:
                last = f"{failures} failures in a row, the last one: {error.message}"
                hold_device(tx, device, "quarantined", last)
        if scheduler.verdict_on_failure(record.attempts, owner) == "retry":
            failed_on = [device.device] if device is not None and owner == "device" else []
            requeue_benchmark(tx, record, f"tried again: {error.message}", failed_on=failed_on)
            return
        end_benchmark(tx, record, "failed", error=error.to_json(), owner=owner)
        conclude_if_measured(tx, record.conversion)


def _taken(device: DeviceRecord) -> EdgeconvError:
    return EdgeconvError(
        Reason.ALREADY_EXISTS,
        f"{device.name!r} belongs to agent {device.agent!r}, which is up.",
        fix="Give the device another name.",
        device=device.name,
    )


def _leases_of(tx: Transaction, agent: str) -> list[BenchmarkRecord]:
    rows = tx.rows(
        sa.select(benchmarks)
        .where(benchmarks.c.state == "leased", benchmarks.c.agent == agent)
        .order_by(benchmarks.c.seq)
    )
    return [BenchmarkRecord.model_validate(row) for row in rows]
