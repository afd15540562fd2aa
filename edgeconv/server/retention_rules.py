"""What retention removes and what it keeps. Pure: rows, blobs and ages in, a decision out.

A holder is a row that refers to blobs. Holders go by age, or least recently used first where
a cap asks for it; what somebody still needs never goes. A blob goes when no holder that stays
refers to it and nobody touched it for a while: who is about to refer to it has touched it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from edgeconv.base.quantities import NS_PER_S

HOUR_NS = 3600 * NS_PER_S
GRACE_NS = HOUR_NS
"""How long a blob stays that nobody refers to, and what was used just now, while jobs run."""
UPLOAD_NS = 24 * HOUR_NS
"""How long a part waits that was sent and not used: an upload of days may go on where it was."""

REQUEST_NS = 24 * HOUR_NS
"""How long a call that comes again is answered as before."""

STEP_NS = 24 * HOUR_NS
"""How long it is known how often servers died over a step that has no result."""


class Kind(Enum):
    """What can hold blobs; a blob of no holder is an upload or a leftover."""

    MODEL = "model version"
    DATASET = "dataset"
    CONVERSION = "conversion"
    STEP = "step result"
    RECORD = "benchmark record"
    UPLOAD = "upload"
    LEFTOVER = "leftover"


class Why(Enum):
    """Why something goes."""

    AGE = "not used for longer than asked"
    CAP = "over the cap, least recently used"
    DELETED = "deleted by its owner"
    UNUSED = "sent and never used"
    NOBODY = "nobody refers to it"


class HolderId(NamedTuple):
    """Names a holder; the second part is unique among its kind."""

    kind: Kind
    name: str


@dataclass(frozen=True)
class Holder:
    """A row that refers to blobs.

    Attributes:
        used_ns: When it was used last, in nanoseconds since the Unix epoch.
        needed: Why it stays at any age; empty when it may go.
        deleted: Its owner has deleted it, so it goes at any age.
    """

    id: HolderId
    digests: frozenset[str]
    used_ns: int
    needed: str = ""
    deleted: bool = False


@dataclass(frozen=True)
class StoredBlob:
    """A blob that is there; `sent` when somebody uploaded it."""

    digest: str
    size_bytes: int
    touched_ns: int
    sent: bool = False


@dataclass(frozen=True)
class Policy:
    """What is asked for. Durations in nanoseconds.

    Attributes:
        older_than_ns: Holders go that were not used for so long; None is at no age.
        cap_bytes: Holders go until the others hold no more; None is without a cap. What
            waits comes on top: an upload does not drive out results.
        grace_ns: What was used or touched more recently stays; 0 only while nothing runs.
        upload_ns: How long parts wait that were sent and not used.
    """

    now_ns: int
    older_than_ns: int | None = None
    cap_bytes: int | None = None
    grace_ns: int = GRACE_NS
    upload_ns: int = UPLOAD_NS


@dataclass(frozen=True)
class Decision:
    """What goes.

    Attributes:
        holders: Those that go, each with the reason.
        blobs: Those that go; by digest, as the kind and reason they are accounted under.
        kept_bytes: What the blobs take afterwards.
        waiting_bytes: Of those, what nobody refers to and was touched too recently.
        held_bytes: Kind → bytes that stay for its sake; a blob of several counts for the first.
    """

    holders: Mapping[HolderId, Why]
    blobs: Mapping[str, tuple[Kind, Why]]
    kept_bytes: int
    waiting_bytes: int
    held_bytes: Mapping[Kind, int] = field(default_factory=dict)


def decide(holders: Sequence[Holder], blobs: Iterable[StoredBlob], policy: Policy) -> Decision:
    """What goes of `holders` and `blobs`."""
    stored = {blob.digest: blob for blob in blobs}
    going = {holder.id: why for holder in holders if (why := _goes_by_itself(holder, policy))}
    if policy.cap_bytes is not None:
        staying = [holder for holder in holders if holder.id not in going]
        going |= _over_cap(staying, stored, policy, policy.cap_bytes)
    return _with_blobs(holders, stored, going, policy)


def _goes_by_itself(holder: Holder, policy: Policy) -> Why | None:
    if holder.deleted:
        return Why.DELETED
    if policy.older_than_ns is None or not _may_go(holder, policy):
        return None
    return Why.AGE if policy.now_ns - holder.used_ns >= policy.older_than_ns else None


def _may_go(holder: Holder, policy: Policy) -> bool:
    return not holder.needed and policy.now_ns - holder.used_ns >= policy.grace_ns


def _over_cap(
    staying: Sequence[Holder], stored: Mapping[str, StoredBlob], policy: Policy, cap_bytes: int
) -> dict[HolderId, Why]:
    """Least recently used ones, until what the others hold is within the cap."""
    users = Counter(digest for holder in staying for digest in holder.digests if digest in stored)
    taken = sum(stored[digest].size_bytes for digest in users)
    going: dict[HolderId, Why] = {}
    for holder in sorted(staying, key=lambda each: (each.used_ns, each.id.kind.value, each.id)):
        if taken <= cap_bytes:
            break
        held = [digest for digest in holder.digests if digest in stored]
        if not held or not _may_go(holder, policy):
            continue
        going[holder.id] = Why.CAP
        for digest in held:
            users[digest] -= 1
            if not users[digest]:
                taken -= stored[digest].size_bytes
    return going


def _with_blobs(
    holders: Sequence[Holder],
    stored: Mapping[str, StoredBlob],
    going: Mapping[HolderId, Why],
    policy: Policy,
) -> Decision:
    kept_for: dict[str, Kind] = {}
    left_by: dict[str, tuple[Kind, Why]] = {}
    for holder in holders:
        why = going.get(holder.id)
        for digest in holder.digests:
            if why is None:
                kept_for.setdefault(digest, holder.id.kind)
            else:
                left_by.setdefault(digest, (holder.id.kind, why))
    blobs: dict[str, tuple[Kind, Why]] = {}
    held: Counter[Kind] = Counter()
    waiting = 0
    for blob in stored.values():
        if blob.digest in kept_for:
            held[kept_for[blob.digest]] += blob.size_bytes
        elif account := _blob_goes(blob, left_by.get(blob.digest), policy):
            blobs[blob.digest] = account
        else:
            waiting += blob.size_bytes
    return Decision(going, blobs, held.total() + waiting, waiting, dict(held))


def _blob_goes(
    blob: StoredBlob, left_by: tuple[Kind, Why] | None, policy: Policy
) -> tuple[Kind, Why] | None:
    """How a blob that no staying holder refers to is accounted for; None when it waits."""
    idle_ns = policy.now_ns - blob.touched_ns
    if left_by is not None:
        return left_by if idle_ns >= policy.grace_ns else None
    if blob.sent:
        return (Kind.UPLOAD, Why.UNUSED) if idle_ns >= policy.upload_ns else None
    return (Kind.LEFTOVER, Why.NOBODY) if idle_ns >= policy.grace_ns else None
