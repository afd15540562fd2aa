"""What `test_small_disk` runs where the state folder lies on a disk of a few MiB.

    python small_disk_scenarios.py SCENARIO FOLDER

FOLDER/disk is that disk. A scenario that ends without an error passes.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.results.status import from_status
from edgeconv.testing.running_server import QuickService, quick_service
from edgeconv.v1 import conversions_pb2 as pb

ONE = "version: 1\ntargets: [onnx]\nvariants: {fp32: {}}"
MIB = 1024 * 1024
Work = Callable[[QuickService, Path], Coroutine[Any, Any, None]]


def fill(disk: Path, *, leave: int) -> Path:
    """Takes the free space of the disk but for some bytes."""
    ballast = disk / "ballast"
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    with ballast.open("ab") as stream:
        stream.write(bytes(max(0, free - leave)))
    return ballast


def stored(disk: Path) -> set[str]:
    return {path.name for path in (disk / "state/blobs").rglob("*") if path.is_file()}


async def refused(call: Any, reason: Reason) -> EdgeconvError:
    try:
        await call
    except EdgeconvError as error:
        if error.reason is reason:
            return error
        raise
    raise AssertionError(f"it was not refused with {reason.name}")


async def whole(service: QuickService, disk: Path) -> None:
    """The store is whole: its database, its blobs, and nothing half-written."""
    assert not (await service.client.check_blobs()).damaged
    assert not list((disk / "state/blobs").rglob("*#*"))
    with sqlite3.connect(disk / "state/edgeconv.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def upload(service: QuickService, disk: Path) -> None:
    """What can't fit is refused before it is sent."""
    path = service.folder.parent / "model.onnx"
    path.write_bytes(os.urandom(9 * MIB))
    ballast = fill(disk, leave=4 * MIB)
    before = stored(disk)
    error = await refused(service.client.upload([path]), Reason.DISK_FULL)
    assert "9 MiB were needed" in error.message, error
    assert "are free" in error.message, error
    assert int(error.metadata["needed_bytes"]) == 9 * MIB
    assert "edgeconv gc" in error.fix
    assert stored(disk) == before
    await whole(service, disk)
    ballast.unlink()
    await service.client.upload([path])
    assert len(stored(disk)) == len(before) + 1


async def blob(service: QuickService, disk: Path) -> None:
    """A step's result does not fit among the blobs; the job ends, and can be done again."""
    gate = service.folder / "gate"
    model = await service.model(gates={"direct": str(gate)})
    job = asyncio.create_task(service.convert(model, ONE))
    async with asyncio.timeout(30):
        while "direct" not in service.journal:
            await asyncio.sleep(0.01)
    ballast = fill(disk, leave=MIB // 2)
    gate.touch()
    made, events = await job
    assert made.state == pb.CONVERSION_STATE_FAILED, made
    error = from_status(made.variants[0].error)
    assert error.reason is Reason.DISK_FULL, error
    assert str(disk) in error.message, error
    assert "were needed" in error.message, error
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    await whole(service, disk)
    ballast.unlink()
    again, _ = await service.convert(model, ONE)
    assert again.state == pb.CONVERSION_STATE_SUCCEEDED, again
    assert service.journal.count("reference") == 1, "what was done before counts"
    await whole(service, disk)


async def child(service: QuickService, disk: Path) -> None:
    """A step fills the disk from its own folder; even then its end is written down."""
    model = await service.model(steps={"direct": "fill"})
    made, _ = await service.convert(model, ONE)
    assert made.state == pb.CONVERSION_STATE_FAILED, made
    error = from_status(made.variants[0].error)
    assert error.reason is Reason.DISK_FULL, error
    assert "direct" in error.message, error
    await whole(service, disk)
    # Its claims are given back: who comes next does not wait for them.
    async with asyncio.timeout(60):
        again, _ = await service.convert(model, ONE)
    assert from_status(again.variants[0].error).reason is Reason.DISK_FULL, again
    # What it wrote is gone with it.
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    assert free > 8 * MIB, free
    good, _ = await service.convert(await service.model(), ONE)
    assert good.state == pb.CONVERSION_STATE_SUCCEEDED, good


async def database(service: QuickService, disk: Path) -> None:
    """Not a row can be written: calls are refused, jobs wait, and nothing is lost."""
    model = await service.model()
    done, _ = await service.convert(model, ONE)
    ballast = fill(disk, leave=0)
    error: EdgeconvError | None = None
    names = []
    async with asyncio.timeout(60):
        # The log of the database has some pages left.
        while error is None:
            try:
                name = await service.client.create_conversion(model, recipe=ONE)
                names.append(name.name)
            except EdgeconvError as fault:
                error = fault
            fill(disk, leave=0)
    assert error.reason is Reason.DISK_FULL, error
    assert "writing the database" in error.message.lower(), error
    # What was there can still be read.
    assert (await service.client.get_conversion(done.name)).state == done.state
    ballast.unlink()
    async with asyncio.timeout(60):
        for name in names:
            events = [event async for event in service.client.watch_conversion(name)]
            assert events
            ended = await service.client.get_conversion(name)
            assert ended.state == pb.CONVERSION_STATE_SUCCEEDED, ended
    await whole(service, disk)


async def read_only(service: QuickService, disk: Path) -> None:
    """The folder of blobs becomes read-only under the server."""
    model = await service.model()
    done, _ = await service.convert(model, ONE)
    path = service.folder.parent / "other.json"
    path.write_bytes(b"{}")
    blobs = disk / "state/blobs"
    _mount_read_only(blobs)
    error = await refused(service.client.upload([path]), Reason.DISK_FAILED)
    assert "read-only" in error.message, error
    assert str(blobs) in error.message, error
    tflite = ONE.replace("onnx", "tflite")
    failed, _ = await service.convert(model, tflite)
    assert failed.state == pb.CONVERSION_STATE_FAILED, failed
    assert from_status(failed.variants[0].error).reason is Reason.DISK_FAILED
    # What is there can still be read.
    variant = done.variants[0]
    resource = f"{done.name}/variants/{variant.name}"
    await service.client.download(resource, variant.files[0], path.with_name("got"))
    subprocess.run(["umount", blobs], check=True)
    await service.client.upload([path])
    again, _ = await service.convert(model, tflite)
    assert again.state == pb.CONVERSION_STATE_SUCCEEDED, again
    await whole(service, disk)


async def read_only_from_the_start(service: QuickService, disk: Path) -> None:
    """A server does not begin on a state folder that it can't write, and says why."""
    other = service.folder.parent / "other"
    (other / "state").mkdir(parents=True)
    _mount_read_only(other)

    async def begin() -> None:
        async with quick_service(other):
            pass

    error = await refused(begin(), Reason.STATE_UNWRITABLE)
    assert str(other) in error.message, error


async def full_from_the_start(service: QuickService, disk: Path) -> None:
    """A server does not begin on a full disk, says why, and begins when there is room."""
    assert "address" in _served(disk / "known")
    ballast = fill(disk, leave=0)
    for name in ("known", "new"):
        told = _served(disk / name)["error"]
        assert (told["reason"], str(disk / name) in told["message"]) == ("DISK_FULL", True), told
    ballast.unlink()
    assert "address" in _served(disk / "new")


async def blobs_full_from_the_start(service: QuickService, disk: Path) -> None:
    """A server does not begin with a folder of blobs that it can't mark, and leaves nothing."""
    ballast = fill(disk, leave=0)
    other, blobs = service.folder.parent / "other", disk / "blobs"
    words = ("--blobs", str(blobs))
    told = _served(other, *words)["error"]
    assert (told["reason"], str(blobs) in told["message"]) == ("DISK_FULL", True), told
    ballast.unlink()
    assert "address" in _served(other, *words)
    assert [path.name for path in blobs.iterdir()] == ["identity"]


def _served(state: Path, *words: str) -> dict[str, Any]:
    """What a server of its own says first; it is ended then."""
    command = [sys.executable, "-m", "edgeconv", "serve", "--state", str(state), "--json", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            with suppress(ValueError):
                found: dict[str, Any] = json.loads(said)
                process.terminate()
                return found
    raise AssertionError(f"the server said {said!r}")


def _mount_read_only(folder: Path) -> None:
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)


async def collecting(service: QuickService, disk: Path) -> None:
    """A full disk does not keep retention from making room."""
    model = await service.model()
    await service.convert(model, ONE)
    await service.client.delete_model_version(model)
    fill(disk, leave=64 * 1024)
    collected = await service.client.collect_garbage(older_than_s=0, dry_run=True)
    assert collected.kept_bytes
    collected = await service.client.collect_garbage(older_than_s=0)
    assert collected.free_bytes >= 0
    await whole(service, disk)


SCENARIOS: dict[str, Work] = {
    work.__name__: work
    for work in (
        upload,
        blob,
        child,
        database,
        read_only,
        read_only_from_the_start,
        full_from_the_start,
        blobs_full_from_the_start,
        collecting,
    )
}


async def play(work: Work, folder: Path) -> None:
    disk = folder / "disk"
    # The journal and the gates of the quick steps lie on that disk, too.
    async with quick_service(disk, reserve_bytes=MIB, sweep_s=0.2) as service:
        await work(service, disk)


if __name__ == "__main__":
    asyncio.run(play(SCENARIOS[sys.argv[1]], Path(sys.argv[2])))
