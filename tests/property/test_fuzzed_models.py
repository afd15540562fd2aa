"""Hostile model files in real job children: each is taken or refused by type, and none harms."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from edgeconv.sandbox.limits import GIB, Limits
from fuzzing import __main__ as fuzzing
from fuzzing.cases import KINDS, Case, make_case
from fuzzing.children import Children
from fuzzing.outcomes import CRASH, LONGEST_MESSAGE, MEMORY, TIME_OUT, Outcome, Tally
from fuzzing.program_seeds import MODEL, members, packed

LIMITS = Limits(address_space_bytes=6 * GIB)


def outcomes(folder: Path, *cases: Case) -> list[Outcome]:
    """What became of the cases, in one child as long as it lives."""

    async def run() -> list[Outcome]:
        children = Children(folder, LIMITS, 20.0)
        try:
            return [await children.run(case) for case in cases]
        finally:
            await children.close()

    return asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_a_case_is_the_same_files_each_time(kind: str) -> None:
    numbers = range(20, 32)
    first = [make_case(kind, number) for number in numbers]
    assert first == [make_case(kind, number) for number in numbers]
    assert len({tuple(each.files.items()) for each in first}) > 9
    assert first != [make_case(kind, number, seed=1) for number in numbers]


def test_few_cases_of_each_kind_end_as_they_should() -> None:
    tally = Tally()
    numbers = fuzzing.case_numbers(KINDS, 24)
    cases = (make_case(kind, number) for kind, number in numbers)
    asyncio.run(
        fuzzing.in_children(
            cases, tally, lambda case, found: None, limits=LIMITS, time_limit_s=20.0
        )
    )
    assert tally.cases == 24
    assert tally.findings == []


def test_words_of_a_file_come_back_whole_and_short(tmp_path: Path) -> None:
    """Half characters would end the child, null characters the database's row."""
    cases = []
    for place, words in enumerate(("\ud800", "a\0b", "n" * 300_000)):
        content = members("in_place")
        model = json.loads(content[MODEL])
        tree = json.dumps([1, {"type": words, "context": None, "children_spec": []}])
        model["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = tree
        content[MODEL] = json.dumps(model).encode()
        cases.append(Case("json", place, {"model.pt2": packed(content)}, words[:9]))
    for outcome in outcomes(tmp_path, *cases):
        assert outcome.what == "refused OPERATOR_UNSUPPORTED"
        assert len(outcome.words) < LONGEST_MESSAGE
        assert "\0" not in outcome.words
        outcome.words.encode()


def test_what_takes_long_or_kills_its_child_is_told_apart() -> None:
    """The tally fails for a fault at once, and for a limit above 1 %."""
    tally = Tally()
    for number in range(200):
        tally.add(f"onnx:{number}", "onnx", "", Outcome("accepted", "intake"))
    for what in (TIME_OUT, MEMORY, CRASH):
        found = tally.add("onnx:7", "onnx", "", Outcome(what, "inspect"))
        assert found is not None
        assert found.case == "onnx:7"
    assert not tally.failed
    tally.add("onnx:8", "onnx", "", Outcome(CRASH, "inspect"))
    tally.add("onnx:9", "onnx", "", Outcome(CRASH, "inspect"))
    assert tally.failed
