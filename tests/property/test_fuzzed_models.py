"""Hostile model files in real job children: each is taken or refused by type, and none harms."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from edgeconv.sandbox.limits import GIB, Limits
from fuzzing.__main__ import case_numbers
from fuzzing.cases import KINDS, Case, honest, make_case
from fuzzing.children import Children
from fuzzing.outcomes import ACCEPTED, Outcome, Tally
from fuzzing.program_seeds import MODEL, members, packed

LIMITS = Limits(address_space_bytes=6 * GIB)


@cache
def changed() -> tuple[Case, ...]:
    """Four cases of each kind."""
    return tuple(make_case(kind, number) for kind, number in case_numbers(KINDS, 28))


@cache
def unchanged() -> tuple[Case, ...]:
    """What is taken as it is; of the programs one, for each is exported first."""
    return tuple(case for case in honest(programs=("in_place",)) if case.done != "looping")


def _with_words(place: int, words: str) -> Case:
    """A program whose outputs are of a type of that name."""
    content = members("in_place")
    model = json.loads(content[MODEL])
    tree = json.dumps([1, {"type": words, "context": None, "children_spec": []}])
    model["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = tree
    content[MODEL] = json.dumps(model).encode()
    return Case("json", 1000 + place, {"model.pt2": packed(content)}, words[:9])


@cache
def named() -> tuple[Case, ...]:
    """Half characters would end the child, null characters the database's row."""
    words = ("\ud800", "a\0b", "n" * 300_000)
    return tuple(_with_words(place, each) for place, each in enumerate(words))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Outcome]:
    """What became of all cases, in one child as long as it lives."""

    async def run(folder: Path) -> dict[str, Outcome]:
        children = Children(folder, LIMITS, 20.0)
        try:
            cases = (*unchanged(), *changed(), *named())
            return {case.name: await children.run(case) for case in cases}
        finally:
            await children.close()

    return asyncio.run(run(tmp_path_factory.mktemp("children")))


@pytest.mark.parametrize("kind", KINDS)
def test_a_case_is_the_same_files_each_time(kind: str) -> None:
    numbers = range(20, 32)
    first = [make_case(kind, number) for number in numbers]
    assert first == [make_case(kind, number) for number in numbers]
    assert len({tuple(each.files.items()) for each in first}) > 9
    assert first != [make_case(kind, number, seed=1) for number in numbers]


def test_what_the_cases_begin_with_is_taken(outcomes: Mapping[str, Outcome]) -> None:
    """Changes to a model that is refused as it is would find nothing."""
    ends = {case.done: outcomes[case.name] for case in unchanged()}
    assert {name: each for name, each in ends.items() if each.what != ACCEPTED} == {}


def test_few_cases_of_each_kind_end_as_they_should(outcomes: Mapping[str, Outcome]) -> None:
    tally = Tally()
    for case in changed():
        tally.add(case, outcomes[case.name])
    assert tally.cases == 28
    assert tally.findings == []
    assert not tally.failed


def test_words_of_a_file_come_back_whole_and_short(outcomes: Mapping[str, Outcome]) -> None:
    for case in named():
        outcome = outcomes[case.name]
        assert outcome.what == "refused OPERATOR_UNSUPPORTED"
        assert "model takes or returns" in outcome.words
        assert len(outcome.words) < 300
        assert "\0" not in outcome.words
        outcome.words.encode()
