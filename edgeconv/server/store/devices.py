"""Devices, inside a transaction of the fleet's."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from edgeconv.server import scheduler
from edgeconv.server.changes import QUEUE
from edgeconv.server.records import BenchmarkRecord, DeviceRecord, DeviceState
from edgeconv.server.store.database import Transaction
from edgeconv.server.store.tables import devices


def read_devices(tx: Transaction, *, agent: str = "") -> list[DeviceRecord]:
    """Devices by name: those of an agent, or all."""
    query = sa.select(devices)
    if agent:
        query = query.where(devices.c.agent == agent)
    rows = tx.rows(query.order_by(devices.c.device))
    return [DeviceRecord.model_validate(row) for row in rows]


def read_device(tx: Transaction, device: str) -> DeviceRecord | None:
    """One device."""
    row = tx.row(sa.select(devices).where(devices.c.device == device))
    return None if row is None else DeviceRecord.model_validate(row)


def set_device(
    tx: Transaction, device: DeviceRecord, state: DeviceState, reason: str, *, benchmark: str = ""
) -> None:
    """Writes where a device stands, if that changed."""
    same = (device.state, device.reason, device.benchmark) == (state, reason, benchmark)
    if same:
        return
    since_ns = device.since_ns if device.state == state else tx.now_ns
    tx.execute(
        sa.update(devices)
        .where(devices.c.device == device.device)
        .values(state=state, reason=reason, since_ns=since_ns, benchmark=benchmark)
    )
    tx.changed |= {device.name, QUEUE} if state == "idle" else {device.name}


def set_offline(tx: Transaction, device: DeviceRecord, reason: str) -> None:
    """Marks a device whose agent is gone; what it holds is not given up by that."""
    set_device(tx, device, "offline", reason, benchmark=device.benchmark)


def count_failures(tx: Transaction, record: BenchmarkRecord, failures_in_row: int) -> None:
    """Sets how often in a row the device of a benchmark has failed."""
    tx.execute(
        sa.update(devices)
        .where(devices.c.device == record.device.removeprefix("devices/"))
        .values(failures_in_row=failures_in_row)
    )


def hold_device(
    tx: Transaction, device: DeviceRecord, held: str, reason: str
) -> DeviceRecord | None:
    """Keeps a device from new work, or lets it go for an empty `held`."""
    values: dict[str, Any] = {"held": held, "held_reason": reason}
    if not held:
        values["failures_in_row"] = 0
    tx.execute(sa.update(devices).where(devices.c.device == device.device).values(**values))
    after = read_device(tx, device.device)
    if after is not None and after.state != "offline" and not after.benchmark:
        state, why = scheduler.device_state(after, reported=None, message="")
        set_device(tx, after, state, why)
    tx.changed |= {device.name, QUEUE}
    return read_device(tx, device.device)
