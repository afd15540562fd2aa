"""Joining, locking and settling channel ids."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgeconv.conversion.passes.prune.channels import FIXED, Channels
from edgeconv.conversion.passes.prune.twins import (
    axis_twin,
    class_array,
    fixed_twin,
    is_fixed,
    kept_mask,
    settle,
    varying_axes,
)

COUNT = 12
PAIRS = st.lists(st.tuples(st.integers(0, COUNT), st.integers(0, COUNT)), max_size=30)


def naive_classes(pairs: list[tuple[int, int]]) -> list[int]:
    """The smallest member of each id's class, by sweeping until nothing changes."""
    leader = list(range(COUNT + 1))
    for _ in range(COUNT + 1):
        for a, b in pairs:
            low = min(leader[a], leader[b])
            leader = [low if each in (leader[a], leader[b]) else each for each in leader]
    return leader


@settings(deadline=None)
@given(PAIRS)
def test_joined_ids_have_the_smallest_as_their_representative(
    pairs: list[tuple[int, int]],
) -> None:
    channels = Channels()
    channels.fresh(COUNT)
    for a, b in pairs:
        channels.join([a], [b])
    assert channels.roots(np.arange(COUNT + 1)).tolist() == naive_classes(pairs)


@settings(deadline=None)
@given(PAIRS)
def test_join_counts_the_classes_it_locks(pairs: list[tuple[int, int]]) -> None:
    channels = Channels()
    channels.fresh(COUNT)
    for a, b in pairs:
        free = set(channels.roots(np.arange(COUNT + 1)).tolist()) - {FIXED}
        locked = channels.join([a], [b])
        still = set(channels.roots(np.arange(COUNT + 1)).tolist()) - {FIXED}
        touched_fixed = FIXED in channels.roots([a, b])
        assert locked == (len(free) - len(still) if touched_fixed else 0)


def test_fresh_ids_never_repeat_while_the_table_grows() -> None:
    channels = Channels()
    made = np.concatenate([channels.fresh(count) for count in (3, 1, 200, 7)])
    assert FIXED not in made
    assert len(np.unique(made)) == 211
    assert (channels.roots(made) == made).all()


def test_a_lock_keeps_its_first_reason() -> None:
    channels = Channels()
    ids = channels.fresh(4)
    channels.join(ids[:1], ids[1:2])
    channels.lock(ids[:2], "layer", "aten.cumsum", "sums them up")
    channels.lock(ids[:3], "later", "aten.softmax", "mixes them")
    assert [(lock.where, lock.channels) for lock in channels.locks] == [("layer", 1), ("later", 1)]
    assert channels.roots(ids).tolist() == [0, 0, 0, ids[3]]


IDS = hnp.arrays(
    np.int64, hnp.array_shapes(min_dims=1, max_dims=4, max_side=4), elements=st.integers(0, COUNT)
)


@settings(deadline=None)
@given(IDS, st.sets(st.integers(1, COUNT)))
def test_a_settled_tensor_is_cut_as_a_box(ids: np.ndarray, dropped: set[int]) -> None:
    channels = Channels()
    channels.fresh(COUNT)
    tensor = torch.from_numpy(ids)
    axis, _ = settle(tensor, channels)
    assert varying_axes(tensor, channels) == ([] if axis is None else [axis])
    roots = channels.roots(ids)
    gone = np.unique([root for root in roots.ravel().tolist() if root in dropped])
    if axis is None:
        return
    masks = kept_mask(tensor, channels, gone.astype(np.int64))
    box = np.ones(ids.shape, dtype=bool)
    for each, mask in enumerate(masks):
        box &= mask.reshape([-1 if place == each else 1 for place in range(ids.ndim)])
    np.testing.assert_array_equal(box, ~np.isin(roots, gone))


def test_of_heads_and_width_the_wider_axis_stays_free() -> None:
    channels = Channels()
    ids = torch.from_numpy(channels.fresh(24)).view(1, 3, 8)
    axis, locked = settle(ids, channels)
    assert (axis, locked) == (2, 0)
    assert len(np.unique(channels.roots(ids.numpy()))) == 8


def test_settling_over_a_fixed_position_locks_its_slice() -> None:
    channels = Channels()
    ids = torch.from_numpy(np.append(channels.fresh(7), FIXED)).view(2, 4)
    axis, locked = settle(ids, channels)
    assert axis == 1
    assert locked == 1
    assert channels.roots(ids.numpy())[:, 3].tolist() == [FIXED, FIXED]


def test_twins_along_an_axis_take_no_memory_for_the_others() -> None:
    channels = Channels()
    twin = axis_twin(channels.fresh(5), (2, 5, 1000, 1000), 1, zero=True)
    assert twin.shape == (2, 5, 1000, 1000)
    assert class_array(twin.ids, channels).shape == (1, 5, 1, 1)
    assert is_fixed(fixed_twin((3, 4)).ids, channels)
    assert not is_fixed(twin.ids, channels)
