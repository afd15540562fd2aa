"""Does what retention decides, in small steps: broken off at any point, the store is whole."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgeconv.base.quantities import NS_PER_S
from edgeconv.base.removal import remove_folder
from edgeconv.server.blobs.blobs import Blobs, changed_before
from edgeconv.server.crash_points import CrashPoint, reached
from edgeconv.server.retention_rules import (
    GRACE_NS,
    REQUEST_NS,
    STEP_NS,
    Decision,
    Holder,
    Kind,
    Policy,
    StoredBlob,
    Why,
    decide,
)
from edgeconv.server.store.store import Store

_LOG = logging.getLogger(__name__)

_ADOPT_AT_ONCE = 1000

Tell = Callable[[int, int], None]
"""Told (removals done, removals to do)."""


@dataclass(frozen=True)
class Removed:
    """One line of what went: a kind, why, how many holders or blobs, and the bytes freed."""

    kind: Kind
    why: Why
    count: int
    size_bytes: int


@dataclass(frozen=True)
class Outcome:
    """What a collection did, or would do.

    Attributes:
        removed: By kind and reason.
        kept_bytes: What all blobs take afterwards.
        waiting_bytes: Of those, what nobody refers to and is too young to go.
        held_bytes: Kind → bytes that stay for its sake.
        over_cap_bytes: How far the cap is missed, since the rest is needed.
        leftovers: Files and folders of broken-off work that were removed.
    """

    removed: tuple[Removed, ...]
    kept_bytes: int
    waiting_bytes: int
    held_bytes: Mapping[Kind, int] = field(default_factory=dict)
    over_cap_bytes: int = 0
    leftovers: int = 0

    @property
    def freed_bytes(self) -> int:
        """What was freed."""
        return sum(each.size_bytes for each in self.removed)


@dataclass(frozen=True)
class Collector:
    """Removes what nobody needs.

    Attributes:
        scratch: Where job children work.
        in_use: Names of the folders in there that live children have.
        grace_ns: What was used or touched more recently stays; 0 where nothing else uses the
            store, so that nothing is about to be referred to.
    """

    store: Store
    blobs: Blobs
    scratch: Path
    in_use: Callable[[], Collection[str]] = tuple
    grace_ns: int = GRACE_NS

    async def collect(
        self,
        *,
        older_than_ns: int | None = None,
        cap_bytes: int | None = None,
        dry_run: bool = False,
        tell: Tell = lambda done, total: None,
    ) -> Outcome:
        """Removes what goes by age, by a cap, or because nobody refers to it.

        Args:
            older_than_ns: Results of steps and files of ended conversions go that were not
                used for so long; None is at no age.
            cap_bytes: More of them go, least recently used first, until blobs take no more.
            dry_run: Only tells what would go.
        """
        # In this order: a reference that comes after it touches its blob, which shows.
        now_ns = await self.store.retention.now_ns()
        sizes = await asyncio.to_thread(self.blobs.sizes)
        await self._adopt(sizes)
        rows = await self.store.retention.blobs()
        holders = [holder async for page in self.store.retention.holders() for holder in page]
        stored = [rows[digest] for digest in sizes if digest in rows]
        policy = Policy(now_ns, older_than_ns, cap_bytes, grace_ns=self.grace_ns)
        decision = decide(holders, stored, policy)
        lost = [row for digest, row in rows.items() if digest not in sizes]
        leftovers = await asyncio.to_thread(self._leftovers, set(self.in_use()))
        if dry_run:
            return _outcome(decision, stored, decision.holders, decision.blobs, policy, leftovers)
        retired, gone = await self._carry_out(decision, holders, stored, lost, tell)
        await self.store.retention.forget_requests(REQUEST_NS)
        await self.store.retention.forget_steps(STEP_NS)
        await asyncio.to_thread(_remove_leftovers, leftovers)
        reached(CrashPoint.STORE_COLLECTED)
        return _outcome(decision, stored, retired, gone, policy, leftovers)

    async def _adopt(self, sizes: Mapping[str, int]) -> None:
        """Blobs without a row: of a write that was broken off, or put there by hand."""
        known = await self.store.retention.blobs()
        unknown = sorted(sizes.keys() - known.keys())
        for start in range(0, len(unknown), _ADOPT_AT_ONCE):
            some = unknown[start : start + _ADOPT_AT_ONCE]
            await self.store.retention.adopt({digest: sizes[digest] for digest in some})

    async def _carry_out(
        self,
        decision: Decision,
        holders: Iterable[Holder],
        stored: Iterable[StoredBlob],
        lost: Iterable[StoredBlob],
        tell: Tell,
    ) -> tuple[set[object], set[str]]:
        """The holders and blobs that really went: what was used meanwhile stays."""
        going = [holder for holder in holders if holder.id in decision.holders]
        total, done = len(going) + len(decision.blobs), 0
        retired: set[object] = set()
        staying: set[str] = set()
        for holder in going:
            if await self._retire(holder):
                retired.add(holder.id)
            else:
                staying |= holder.digests
            done += 1
            tell(done, total)
        gone: set[str] = set()
        for blob in stored:
            if blob.digest not in decision.blobs or blob.digest in staying:
                continue
            if await self.store.retention.remove(blob, self._delete):
                reached(CrashPoint.BLOB_REMOVED)
                gone.add(blob.digest)
            done += 1
            tell(done, total)
        await self._forget_rows(lost, holders)
        return retired, gone

    async def _retire(self, holder: Holder) -> bool:
        if holder.id.kind is Kind.STEP:
            retired = await self.store.retention.retire_step(holder)
            reached(CrashPoint.STEP_RETIRED)
            return retired
        if holder.id.kind is Kind.CONVERSION:
            retired = await self.store.retention.retire_conversion(holder)
            reached(CrashPoint.CONVERSION_COLLECTED)
            return retired
        # A deleted model's row is as it is to be.
        return True

    def _delete(self, digest: str) -> None:
        self.blobs.remove(digest)
        reached(CrashPoint.BYTES_REMOVED)

    async def _forget_rows(self, lost: Iterable[StoredBlob], holders: Iterable[Holder]) -> None:
        """Rows of blobs that are not stored, and that nobody refers to."""
        held = frozenset().union(*(h.digests for h in holders if not h.deleted))
        oldest_ns = await self.store.retention.now_ns() - self.grace_ns
        rows = [row for row in lost if row.digest not in held and row.touched_ns <= oldest_ns]
        for row in rows:
            await self.store.retention.remove(row, self._delete)

    def _leftovers(self, used: Collection[str]) -> list[Path]:
        """Folders of children that are gone, and files of writes that were broken off."""
        before = time.time() - self.grace_ns / NS_PER_S
        folders = [
            path for path in _entries(self.scratch)
            if path.name not in used and changed_before(path, before)
        ]  # fmt: skip
        return [*folders, *self.blobs.unfinished(before=before)]


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _remove_leftovers(paths: Iterable[Path]) -> None:
    for path in paths:
        remove_folder(path)


def _outcome(
    decision: Decision,
    stored: Iterable[StoredBlob],
    retired: Collection[object],
    gone: Collection[str],
    policy: Policy,
    leftovers: Collection[Path],
) -> Outcome:
    counts: Counter[tuple[Kind, Why]] = Counter()
    freed: Counter[tuple[Kind, Why]] = Counter()
    for holder, why in decision.holders.items():
        if holder in retired and why is not Why.DELETED:
            counts[holder.kind, why] += 1
    kept = 0
    for blob in stored:
        if blob.digest not in gone:
            kept += blob.size_bytes
            continue
        account = decision.blobs[blob.digest]
        freed[account] += blob.size_bytes
        if account[0] in (Kind.UPLOAD, Kind.LEFTOVER) or account[1] is Why.DELETED:
            counts[account] += 1
    lines = sorted({*counts, *freed}, key=lambda each: (each[0].value, each[1].value))
    cap = policy.cap_bytes
    return Outcome(
        removed=tuple(Removed(*line, counts[line], freed[line]) for line in lines),
        kept_bytes=kept,
        waiting_bytes=decision.waiting_bytes,
        held_bytes=decision.held_bytes,
        over_cap_bytes=max(0, kept - cap) if cap is not None else 0,
        leftovers=len(leftovers),
    )
