"""Groups of channels that are ranked against each other, and which of them go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeconv.conversion.passes.prune.channels import FIXED, Channels, Ids
from edgeconv.conversion.passes.prune.twins import Twin, class_array
from edgeconv.conversion.passes.prune.walk import Walk


@dataclass(frozen=True)
class Group:
    """Channel classes that are made by the same layers, directly or through each other.

    Attributes:
        layers: The user's names of the layers that make them.
        classes: Representatives of the free classes, ascending.
        counts: [layers, classes] how many rows of each layer a class stands for.
        sizes: [layers] rows of each layer, those that must stay included.
    """

    layers: tuple[str, ...]
    classes: Ids
    counts: Ids
    sizes: Ids


def find_groups(state: Walk) -> list[Group]:
    """The groups in the order of the graph."""
    names = {node.name: state.name(node) for node in state.exported.graph.nodes}
    makers = [cut for cut in state.cuts if cut.role == "makes"]
    rows = [state.channels.roots(cut.ids) for cut in makers]
    linked = Channels()
    linked.fresh(max((int(each.max()) for each in rows if each.size), default=0))
    for each in rows:
        free = np.unique(each[each != FIXED])
        if len(free):
            linked.join(np.full(len(free), free[0]), free)
    members: dict[int, list[int]] = defaultdict(list)
    for place, each in enumerate(rows):
        free = each[each != FIXED]
        if len(free):
            members[int(linked.roots(free[:1])[0])].append(place)
    return [
        _group([names[makers[p].node] for p in places], [rows[p] for p in places])
        for places in members.values()
    ]


def _group(layers: Sequence[str], rows: Sequence[Ids]) -> Group:
    classes = np.unique(np.concatenate(rows))
    classes = classes[classes != FIXED]
    counts = np.stack([np.bincount(np.searchsorted(classes, each[each != FIXED]),
                                   minlength=len(classes)) for each in rows])  # fmt: skip
    sizes = np.array([len(each) for each in rows], dtype=np.int64)
    return Group(tuple(dict.fromkeys(layers)), classes, counts, sizes)


def tensor_sets(state: Walk) -> list[frozenset[int]]:
    """For every tensor without fixed channels, its classes: one of each must stay."""
    found = set()
    for twins in state.twins.values():
        for twin in twins if isinstance(twins, tuple) else (twins,):
            if isinstance(twin, Twin) and not twin.free:
                classes = frozenset(np.unique(class_array(twin.ids, state.channels)).tolist())
                if FIXED not in classes:
                    found.add(classes)
    return sorted(found, key=lambda each: (len(each), sorted(each)))


def choose(
    group: Group,
    importance: Mapping[int, float],
    sets: Sequence[frozenset[int]],
    *,
    ratio: float,
    round_to: int,
) -> Ids:
    """The classes of a group that go, least important first.

    Every layer loses at most `ratio` of its rows, and keeps a multiple of `round_to` or
    all of them. Of every tensor at least one class stays.
    """
    keep = np.ceil(group.sizes * (1 - ratio) - 1e-9).astype(np.int64)
    keep = -(-keep // round_to) * round_to
    budget = np.maximum(group.sizes - keep, 0)
    scores = np.array([importance[int(each)] for each in group.classes])
    order = np.lexsort((group.classes, scores))
    left = _remaining(group, sets)
    gone = np.zeros(len(group.classes), dtype=np.bool_)
    spent = np.zeros(len(group.sizes), dtype=np.int64)
    for place in order:
        one = int(group.classes[place])
        cost = group.counts[:, place]
        if (spent + cost > budget).any() or any(left[each] <= 1 for each in _in(sets, left, one)):
            continue
        gone[place] = True
        spent += cost
        for each in _in(sets, left, one):
            left[each] -= 1
    _give_back(group, gone, order, round_to)
    return group.classes[gone]


def _remaining(group: Group, sets: Sequence[frozenset[int]]) -> dict[int, int]:
    mine = set(group.classes.tolist())
    return {place: len(each) for place, each in enumerate(sets) if each & mine}


def _in(sets: Sequence[frozenset[int]], left: Mapping[int, int], one: int) -> list[int]:
    return [place for place in left if one in sets[place]]


def _give_back(
    group: Group, gone: NDArray[np.bool_], order: NDArray[np.intp], round_to: int
) -> None:
    """Keeps more, most important first, until every layer has a round number of rows."""
    while True:
        kept = group.sizes - (group.counts * gone).sum(axis=1)
        ragged = (kept % round_to != 0) & (kept != group.sizes)
        if not ragged.any():
            return
        helps = gone & group.counts[ragged].any(axis=0)
        gone[order[np.flatnonzero(helps[order])[-1]]] = False
