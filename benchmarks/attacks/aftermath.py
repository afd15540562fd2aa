"""What a job's child leaves behind, taken up as a server does: does it lead anywhere?"""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.attacks.attempts import CHECKOUT, LIMIT_S
from benchmarks.attacks.deeds import DEEDS, DID, REFUSED
from benchmarks.attacks.verdicts import Verdict
from benchmarks.attacks.world import World
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.sandbox.limits import Limits
from edgeconv.sandbox.walls import Gap, Room, Walls
from edgeconv.server.blobs.blobs import Blobs
from edgeconv.server.jobs.job_child import Bundle, JobChild, StepOrder
from edgeconv.server.records import FileRecord, Files, files_digest

ENTRY = "benchmarks.attacks.deeds:do_deed"
ENDED = "ended"
SECRET, OTHERS = b"secret", b"another's model"
LIMITS = Limits(disk_bytes=32 << 20, files=2_000)

Snapshot = frozenset[tuple[str, int, int, int, int]]


@dataclass(frozen=True)
class Aftermath:
    """What became of a deed.

    Attributes:
        words: What the child said of it: done, or refused by the kernel; or that it was ended
            for a limit before it could say so.
        faults: What it led the server to; empty is well.
        walls: Those around the child.
    """

    deed: str
    words: str
    faults: frozenset[str]
    walls: Walls


def handled(found: Aftermath) -> Verdict:
    """Of a deed: it must have been done or refused, and must have led nowhere."""
    if found.faults:
        return Verdict.SAID if Gap.FILES in found.walls.gaps else Verdict.ESCAPED
    tried = found.words in (DID, ENDED) or found.words.startswith(REFUSED)
    return Verdict.HELD if tried else Verdict.WORTHLESS


def done_freely(found: Aftermath) -> Verdict:
    """Of a deed without walls: it must be one."""
    return Verdict.WORKED if found.words in (DID, ENDED) else Verdict.WORTHLESS


async def aftermaths(
    world: World, room: Room, folder: Path, deeds: Sequence[str] = tuple(DEEDS)
) -> AsyncIterator[Aftermath]:
    """Has each deed done in a child of its own, and takes up what that leaves.

    Args:
        folder: For blobs and for what the children get; exists.
    """
    for deed in deeds:
        world.restore()
        place = folder / deed
        place.mkdir()
        yield await _aftermath(deed, world, room, place)


async def _aftermath(deed: str, world: World, room: Room, place: Path) -> Aftermath:
    blobs = Blobs.local(place / "blobs")
    given = blobs.put_file(io.BytesIO(b"given"), "given", max_bytes=100)
    others = blobs.put_file(io.BytesIO(OTHERS), "model.bin", max_bytes=100)
    options = {
        "deed": deed, **{key: world.aim[key] for key in ("outside", "secret", "victim")},
        "blob": {"digest": others.digest, "size_bytes": others.size_bytes},
    }  # fmt: skip
    bundle = Bundle((given,), files_digest((given,)), {})
    order = StepOrder("direct", "onnx", options, 0, {"source": bundle})
    before = _snapshot(world.outside)
    words: list[str] = []
    faults: set[str] = set()
    files: Files = ()
    reads = (CHECKOUT, *room.reads)
    walled = Room(reads=reads, landlock=room.landlock, seccomp=room.seccomp)
    child = await JobChild.start(ENTRY, place / "child", blobs, LIMITS, walled)
    try:
        walls = await child.walls()
        async with asyncio.timeout(LIMIT_S):
            files, said = await child.run(order, lambda _, told: words.append(told))
        if Path(said["folder"]).parent != place / "child" / "own":
            faults.add("another folder as the step's")
    except EdgeconvError as error:
        if error.reason is Reason.INTERNAL:
            faults.add("a fault of the server's")
        if error.reason is Reason.LIMIT_EXCEEDED and not words:
            words.append(ENDED)
    except Exception as fault:
        # Whatever it is, it would have ended the job as a fault of the server's.
        faults.add(f"a fault of the server's: {type(fault).__name__}")
    finally:
        await child.end()
    faults |= _faults(files, blobs, place)
    if _snapshot(world.outside) != before:
        faults.add("a change outside")
    return Aftermath(deed, words[0] if words else "", frozenset(faults), walls)


def _faults(files: Files, blobs: Blobs, place: Path) -> set[str]:
    """What is wrong with what the server took, or did not clear away."""
    faults = set()
    if os.path.lexists(place / "child"):
        faults.add("something stays")
    for file in files:
        content = _content(blobs, file)
        if content is None:
            faults.add("files that are not what they are said to be")
        elif content in (SECRET, OTHERS):
            faults.add("another's file taken")
    return faults


def _content(blobs: Blobs, file: FileRecord) -> bytes | None:
    try:
        return blobs.read_whole(file)
    except EdgeconvError:
        return None


def _snapshot(folder: Path) -> Snapshot:
    """All that lies in a folder, and the folder: rights, links, sizes, times."""
    entries = [folder, *sorted(folder.rglob("*"))]
    stats = [(str(each.relative_to(folder)), each.lstat()) for each in entries]
    return frozenset(
        (name, at.st_mode, at.st_nlink, at.st_size, at.st_mtime_ns) for name, at in stats
    )
