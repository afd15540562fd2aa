"""Which classes go: budgets, rounding, order of importance."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeconv.conversion.passes.prune.groups import Group, choose

ROUNDINGS = st.sampled_from([1, 2, 4, 8, 16])
RATIOS = st.floats(0.01, 0.99)


def plain_group(width: int, fixed: int = 0) -> Group:
    return Group(
        ("layer",),
        np.arange(1, width + 1),
        np.ones((1, width), dtype=np.int64),
        np.array([width + fixed]),
    )


@st.composite
def tangled_groups(draw: st.DrawFn) -> Group:
    layers, classes = draw(st.integers(1, 4)), draw(st.integers(1, 20))
    rows = st.lists(st.integers(0, 3), min_size=classes, max_size=classes)
    counts = np.array([draw(rows) for _ in range(layers)], dtype=np.int64)
    fixed = np.array([draw(st.integers(0, 9)) for _ in range(layers)])
    return Group(("a", "b"), np.arange(1, classes + 1), counts, counts.sum(1) + fixed)


@settings(deadline=None)
@given(st.integers(1, 200), RATIOS, ROUNDINGS)
def test_a_plain_layer_keeps_its_share_rounded_up(width: int, ratio: float, step: int) -> None:
    group = plain_group(width)
    scores = {int(each): float(each) for each in group.classes}
    gone = choose(group, scores, [], ratio=ratio, round_to=step)
    share = math.ceil(width * (1 - ratio) - 1e-9)
    kept = min(width, -(-share // step) * step)
    assert width - len(gone) == kept
    # The least important ones, which here are the smallest, and no other.
    assert sorted(gone.tolist()) == list(range(1, len(gone) + 1))


@settings(deadline=None)
@given(tangled_groups(), RATIOS, ROUNDINGS)
def test_no_layer_loses_more_than_its_share_nor_keeps_a_ragged_number(
    group: Group, ratio: float, step: int
) -> None:
    scores = {int(each): float(each % 7) for each in group.classes}
    gone = choose(group, scores, [], ratio=ratio, round_to=step)
    lost = group.counts[:, np.isin(group.classes, gone)].sum(axis=1)
    kept = group.sizes - lost
    assert (lost <= group.sizes * ratio + 1e-6).all()
    assert ((kept % step == 0) | (lost == 0)).all()


@settings(deadline=None)
@given(st.integers(2, 40), st.data())
def test_of_every_tensor_one_class_stays(width: int, data: st.DataObject) -> None:
    group = plain_group(width, fixed=200)
    members = st.frozensets(st.integers(1, width), min_size=1)
    sets = data.draw(st.lists(members, max_size=5))
    scores = {int(each): 1.0 for each in group.classes}
    gone = set(choose(group, scores, sets, ratio=0.99, round_to=1).tolist())
    assert all(each - gone for each in sets)


def test_ties_are_broken_the_same_way_each_time() -> None:
    group = plain_group(16)
    scores = dict.fromkeys(range(1, 17), 1.0)
    gone = choose(group, scores, [], ratio=0.5, round_to=8)
    assert gone.tolist() == list(range(1, 9))
