"""What retention decides: nothing that is needed goes, and what goes is as asked for."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from edgeconv.server.retention_rules import (
    Decision,
    Holder,
    HolderId,
    Kind,
    Policy,
    StoredBlob,
    Why,
    decide,
)

NOW = 1000
DIGESTS = [f"b{n}" for n in range(8)]

_holders = st.lists(
    st.builds(
        lambda kind, digests, used, needed: (kind, digests, used, needed),
        st.sampled_from([Kind.STEP, Kind.CONVERSION, Kind.MODEL]),
        st.frozensets(st.sampled_from(DIGESTS), max_size=4),
        st.integers(0, NOW),
        st.sampled_from(["", "", "needed", "deleted"]),
    ),
    max_size=8,
).map(
    lambda all_: [
        Holder(
            HolderId(kind, str(n)), digests, used,
            needed="a job works with it" if needed == "needed" else "",
            deleted=needed == "deleted",
        )
        for n, (kind, digests, used, needed) in enumerate(all_)
    ]
)  # fmt: skip
_blobs = st.lists(
    st.builds(
        StoredBlob, st.sampled_from(DIGESTS), st.integers(1, 100), st.integers(0, NOW),
        st.booleans(),
    ),
    unique_by=lambda blob: blob.digest,
)  # fmt: skip
_policies = st.builds(
    Policy, st.just(NOW), st.none() | st.integers(0, NOW), st.none() | st.integers(0, 600),
    st.sampled_from([0, 1, 100]), st.sampled_from([100, 300]),
)  # fmt: skip


def _after(
    holders: list[Holder], blobs: list[StoredBlob], decision: Decision
) -> tuple[list[Holder], list[StoredBlob]]:
    return (
        [holder for holder in holders if holder.id not in decision.holders],
        [blob for blob in blobs if blob.digest not in decision.blobs],
    )


@given(_holders, _blobs, _policies)
def test_nothing_that_is_needed_or_in_use_goes(
    holders: list[Holder], blobs: list[StoredBlob], policy: Policy
) -> None:
    decision = decide(holders, blobs, policy)
    for holder in holders:
        if holder.id in decision.holders:
            assert not holder.needed
            assert holder.deleted or NOW - holder.used_ns >= policy.grace_ns
        else:
            assert not holder.digests & decision.blobs.keys()
    for blob in blobs:
        if blob.digest in decision.blobs:
            assert NOW - blob.touched_ns >= min(policy.grace_ns, policy.upload_ns)


@given(_holders, _blobs, _policies)
def test_every_reason_is_true(
    holders: list[Holder], blobs: list[StoredBlob], policy: Policy
) -> None:
    decision = decide(holders, blobs, policy)
    for holder in holders:
        match decision.holders.get(holder.id):
            case Why.AGE:
                assert policy.older_than_ns is not None
                assert NOW - holder.used_ns >= policy.older_than_ns
            case Why.CAP:
                assert policy.cap_bytes is not None
                assert holder.digests & {blob.digest for blob in blobs}
            case Why.DELETED:
                assert holder.deleted
            case other:
                assert other is None
    for blob in blobs:
        kind, why = decision.blobs.get(blob.digest, (None, None))
        assert (why is Why.UNUSED) == (kind is Kind.UPLOAD)
        assert (why is Why.NOBODY) == (kind is Kind.LEFTOVER)
        if why in (Why.UNUSED, Why.NOBODY):
            assert not any(blob.digest in holder.digests for holder in holders)
            assert blob.sent == (why is Why.UNUSED)


@given(_holders, _blobs, _policies)
def test_bytes_add_up(holders: list[Holder], blobs: list[StoredBlob], policy: Policy) -> None:
    decision = decide(holders, blobs, policy)
    _, left = _after(holders, blobs, decision)
    assert decision.kept_bytes == sum(blob.size_bytes for blob in left)
    assert decision.kept_bytes == decision.waiting_bytes + sum(decision.held_bytes.values())


@given(_holders, _blobs, _policies)
@example(
    [
        Holder(HolderId(Kind.STEP, "old"), frozenset({"b0"}), 0),
        Holder(HolderId(Kind.STEP, "new"), frozenset({"b1"}), 1),
    ],
    [StoredBlob("b0", 60, 0), StoredBlob("b1", 60, 0)],
    Policy(NOW, None, 60, 0, 0),
)
def test_a_cap_takes_the_least_recently_used_and_no_more_than_it_needs(
    holders: list[Holder], blobs: list[StoredBlob], policy: Policy
) -> None:
    decision = decide(holders, blobs, policy)
    by_cap = [holder for holder in holders if decision.holders.get(holder.id) is Why.CAP]
    if not by_cap:
        return
    assert policy.cap_bytes is not None
    newest = max(by_cap, key=lambda holder: holder.used_ns)
    stored = {blob.digest for blob in blobs}
    for holder in holders:
        stays = holder.id not in decision.holders and not holder.needed
        if stays and holder.digests & stored and NOW - holder.used_ns >= policy.grace_ns:
            assert holder.used_ns >= newest.used_ns
    # With the newest of them left, the cap would not have been kept.
    held = {
        digest for holder in holders
        if holder.id not in decision.holders or holder == newest for digest in holder.digests
    }  # fmt: skip
    ties = [holder for holder in by_cap if holder.used_ns == newest.used_ns]
    if len(ties) == 1:
        size = sum(blob.size_bytes for blob in blobs if blob.digest in held)
        assert size > policy.cap_bytes


@given(_holders, _blobs, _policies)
def test_a_cap_is_kept_unless_the_rest_is_needed_or_waits(
    holders: list[Holder], blobs: list[StoredBlob], policy: Policy
) -> None:
    decision = decide(holders, blobs, policy)
    cap = policy.cap_bytes
    if cap is None or decision.kept_bytes - decision.waiting_bytes <= cap:
        return
    stored = {blob.digest for blob in blobs}
    for holder in holders:
        if holder.id not in decision.holders and holder.digests & stored:
            assert holder.needed or NOW - holder.used_ns < policy.grace_ns


@given(_holders, _blobs, _policies)
def test_deciding_once_more_changes_nothing(
    holders: list[Holder], blobs: list[StoredBlob], policy: Policy
) -> None:
    decision = decide(holders, blobs, policy)
    again = decide(*_after(holders, blobs, decision), policy)
    assert not again.holders
    assert not again.blobs
