"""Reads every blob and tells which can't be used, and what refers to those."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from edgeconv.server.blobs.blobs import Blobs
from edgeconv.server.records import PartRecord
from edgeconv.server.retention_rules import HolderId, Kind
from edgeconv.server.store.store import Store

Tell = Callable[[int, int], None]
"""Told (bytes read, bytes in all)."""


@dataclass(frozen=True)
class Damaged:
    """A blob that can't be used, why, and what refers to it."""

    digest: str
    problem: str
    holders: tuple[str, ...]


@dataclass(frozen=True)
class Checked:
    """What a check found."""

    blobs: int
    size_bytes: int
    damaged: tuple[Damaged, ...]


async def check_blobs(store: Store, blobs: Blobs, tell: Tell = lambda done, total: None) -> Checked:
    """Reads every blob, and removes those whose bytes don't have their digest."""
    holders: defaultdict[str, list[str]] = defaultdict(list)
    async for page in store.retention.holders():
        for holder in page:
            if not holder.deleted:
                for digest in holder.digests:
                    holders[digest].append(holder_words(holder.id))
    # After the holders: what was stored for them is stored now.
    sizes = await asyncio.to_thread(blobs.sizes)
    known = await store.retention.blobs()
    total, done = sum(sizes.values()), 0
    problems = dict.fromkeys(holders.keys() - sizes.keys(), "it is missing")
    for digest, size in sizes.items():
        wanted = known[digest].size_bytes if digest in known else size
        part = PartRecord(digest=digest, size_bytes=wanted)
        if problem := await asyncio.to_thread(blobs.problem, part):
            problems[digest] = problem
        done += size
        tell(done, total)
    # Some went by retention while the others were read; they are not damaged.
    rows = await store.retention.blobs()
    return Checked(
        len(sizes),
        total,
        tuple(
            Damaged(digest, problem, tuple(sorted(holders[digest])))
            for digest, problem in sorted(problems.items())
            if digest in rows
        ),
    )


def holder_words(holder: HolderId) -> str:
    """What a holder is called by a person."""
    if holder.kind is Kind.CONVERSION:
        return f"conversions/{holder.name}"
    if holder.kind is Kind.STEP:
        return f"step result {holder.name}"
    return holder.name
