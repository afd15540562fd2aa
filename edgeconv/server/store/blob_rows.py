"""Rows of blobs, inside a transaction: touched by who is about to refer to them, held by who does.

A blob is removed with its row in one transaction, and only while the row is as it was when
nobody referred to it. So whoever touches a blob and finds it stored can rely on it for a
while, and whoever refers to it in a transaction that finds its row can rely on it for good.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import sqlalchemy as sa

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.server.records import FileRecord
from edgeconv.server.store.database import Transaction, insert_new
from edgeconv.server.store.tables import blobs

_AT_ONCE = 500


def touch(tx: Transaction, sizes: Mapping[str, int]) -> None:
    """Keeps blobs from being removed for a while, those that will be stored soon, too.

    Args:
        sizes: Digest → bytes.
    """
    found = {
        row["digest"]
        for some in _chunks(sizes)
        for row in tx.rows(sa.select(blobs.c.digest).where(blobs.c.digest.in_(some)))
    }
    for digest in sorted(set(sizes) - found):
        values = {"digest": digest, "size_bytes": sizes[digest], "touched_ns": tx.now_ns}
        insert_new(tx, blobs, values)
    _mark(tx, found)


def hold(tx: Transaction, files: Iterable[FileRecord]) -> None:
    """For a transaction that writes a reference to files: their blobs stay as long as that.

    Raises:
        EdgeconvError: PART_MISSING when a blob was removed since it was touched.
    """
    digests = {part.digest for file in files for part in file.parts}
    gone = len(digests) - _mark(tx, digests)
    if gone:
        raise EdgeconvError(
            Reason.PART_MISSING,
            f"{gone} of {len(digests)} blobs were removed by retention before they were used.",
            fix="Do the same again: what is missing is sent or made anew.",
        )


def _mark(tx: Transaction, digests: Iterable[str]) -> int:
    """Touches rows that exist, and gives their number."""
    # Each touch gives a time of its own, so that it is seen even when the clock stands still.
    later = sa.case(
        (blobs.c.touched_ns >= tx.now_ns, blobs.c.touched_ns + 1),
        else_=sa.literal(tx.now_ns, sa.BigInteger),
    )
    marked = 0
    for some in _chunks(digests):
        done = tx.execute(sa.update(blobs).where(blobs.c.digest.in_(some)).values(touched_ns=later))
        marked += done.rowcount
    return marked


def _chunks(digests: Iterable[str]) -> Iterator[list[str]]:
    wanted = sorted(digests)
    for start in range(0, len(wanted), _AT_ONCE):
        yield wanted[start : start + _AT_ONCE]
