"""Which channels of a program go, and why the others can't."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeconv.conversion.passes.prune.activity import Activity
from edgeconv.conversion.passes.prune.channels import Ids, Lock
from edgeconv.conversion.passes.prune.groups import Group, choose, find_groups, tensor_sets
from edgeconv.conversion.passes.prune.importance import rank
from edgeconv.conversion.passes.prune.tags import walk
from edgeconv.conversion.passes.prune.walk import Walk
from edgeconv.conversion.program import Program
from edgeconv.recipe.specs import PruneOptions
from edgeconv.results.effect import Note

_NAMED = 3
_NEAR = 0.75
"""Below this share of the ratio, what went is told as less than asked."""


@dataclass(frozen=True)
class PrunePlan:
    """What pruning will do.

    Attributes:
        walk: The walked graph.
        groups: Everything that could be pruned.
        dropped: Per group, the classes that go.
    """

    walk: Walk
    groups: tuple[Group, ...]
    dropped: tuple[Ids, ...]

    @property
    def all_dropped(self) -> Ids:
        """The classes that go, of all groups."""
        return np.concatenate([np.zeros(0, dtype=np.int64), *self.dropped])

    @property
    def channels_before(self) -> int:
        """Rows of every layer that makes prunable channels."""
        return int(sum(int(group.sizes.sum()) for group in self.groups))

    @property
    def channels_removed(self) -> int:
        """Rows that go."""
        pairs = zip(self.groups, self.dropped, strict=True)
        return int(sum(int(g.counts[:, np.isin(g.classes, d)].sum()) for g, d in pairs))

    @property
    def groups_pruned(self) -> int:
        """Groups that lose something."""
        return sum(len(each) > 0 for each in self.dropped)


def make_plan(
    program: Program, options: PruneOptions, activity: Activity | None = None
) -> PrunePlan:
    """Walks the program and chooses what goes; `activity` as in `rank`."""
    state = walk(program.exported, program.origins)
    groups = find_groups(state)
    importance = rank(state, options.importance, activity)
    sets = tensor_sets(state)
    dropped = [
        choose(group, importance, sets, ratio=options.ratio, round_to=options.round_to)
        for group in groups
    ]
    return PrunePlan(state, tuple(groups), tuple(dropped))


def notes_of(plan: PrunePlan, round_to: int) -> tuple[Note, ...]:
    """What locked, and which groups were left whole."""
    return (*_lock_notes(plan.walk.channels.locks), *_whole_notes(plan, round_to))


def shortfall_notes(plan: PrunePlan, options: PruneOptions) -> list[Note]:
    """What is to be said where clearly fewer channels go than the ratio asks for."""
    removed = plan.channels_removed / max(plan.channels_before, 1)
    if removed >= _NEAR * options.ratio:
        return []
    why = "layers keep whole channels"
    if options.round_to > 1:
        why = f"kept channels are rounded up to a multiple of {options.round_to}"
    whole = len(plan.groups) - plan.groups_pruned
    if whole:
        stay = "stays" if whole == 1 else "stay"
        why += f", and {whole} of {len(plan.groups)} groups {stay} whole"
    nearer = "; `round_to: 1` in a recipe comes nearer" if options.round_to > 1 else ""
    asked, went = 100 * options.ratio, 100 * removed
    message = f"Asked to remove {asked:.0f} %, removed {went:.0f} %: {why}{nearer}."
    return [Note(kind="fallback", subject="ratio", message=message)]


def named(names: Sequence[str]) -> str:
    """A few names and how many more."""
    unique = list(dict.fromkeys(names))
    more = len(unique) - _NAMED
    return ", ".join(unique[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _lock_notes(locks: Sequence[Lock]) -> list[Note]:
    by_reason: dict[tuple[str, str], list[Lock]] = defaultdict(list)
    for lock in locks:
        by_reason[lock.operator, lock.because].append(lock)
    return [
        Note(
            kind="locked",
            subject=named([lock.where for lock in found]),
            message=f"{_stay(sum(lock.channels for lock in found))}: {operator} {because}.",
        )
        for (operator, because), found in by_reason.items()
    ]


def _stay(count: int) -> str:
    return "1 channel stays" if count == 1 else f"{count} channels stay"


def _whole_notes(plan: PrunePlan, round_to: int) -> list[Note]:
    whole = [
        group for group, dropped in zip(plan.groups, plan.dropped, strict=True) if not len(dropped)
    ]
    if not whole:
        return []
    layers = [name for group in whole for name in group.layers]
    groups = "1 group stays" if len(whole) == 1 else f"{len(whole)} groups stay"
    message = (
        f"{groups} whole: nothing can go at this ratio with kept channels rounded up to a"
        f" multiple of {round_to}."
    )
    return [Note(kind="info", subject=named(layers), message=message)]
