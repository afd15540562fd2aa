"""Pages of lists: whole, in order, and never too large for one answer."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from edgeconv.server.rpc.fields import fill_page
from edgeconv.v1 import conversions_pb2

MIB = 1024 * 1024


@dataclass(frozen=True)
class Record:
    seq: int
    size: int


def show(record: Record) -> conversions_pb2.Conversion:
    return conversions_pb2.Conversion(name=str(record.seq), recipe="x" * record.size)


@given(
    sizes=st.lists(st.sampled_from([0, 10, 900_000, 3 * MIB]), max_size=12),
    limit=st.integers(1, 5),
)
def test_pages_joined_are_the_list_and_each_is_small(sizes: list[int], limit: int) -> None:
    records = [Record(100 - place, size) for place, size in enumerate(sizes)]
    shown: list[conversions_pb2.Conversion] = []
    before = 101
    while True:
        found = [record for record in records if record.seq < before][: limit + 1]
        items, token = fill_page(found, limit, show)
        assert len(items) <= limit
        assert len(items) <= 1 or sum(item.ByteSize() for item in items) <= 2 * MIB
        shown += items
        if not token:
            break
        assert items
        before = int(token)
    assert [item.name for item in shown] == [str(record.seq) for record in records]
