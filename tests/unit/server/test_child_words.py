"""What a child says is read with care: it may say anything that is JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason
from edgeconv.server.jobs.child_words import LONGEST_WORDS, done_of, error_of, progress_of
from edgeconv.server.records import StepOutput
from edgeconv.testing.quick_steps import QUICK_INSPECTION

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
ERROR = EdgeconvError(
    Reason.MODEL_UNSAFE, "It is.", fix="Don't.", violations=[FieldViolation("a", "b")], member="m"
)


def test_an_honest_error_and_honest_progress_come_through() -> None:
    assert error_of(ERROR.to_json()).to_json() == ERROR.to_json()
    assert progress_of({"progress": 1, "message": "words"}) == (1.0, "words")


def test_a_nul_is_seen_wherever_it_is_said() -> None:
    facts = {"inspection": {"inputs": [{"name": "a\0b"}], "oper\0ators": {"G\0": 1}}}
    assert done_of("direct", {"facts": facts, "wall_ns": 5}) == {
        "facts": {"inspection": {"inputs": [{"name": "a\\x00b"}], "oper\\x00ators": {"G\\x00": 1}}},
        "wall_ns": 5,
    }
    assert progress_of({"progress": 1, "message": "a\0b"}) == (1.0, "a\\x00b")
    error = EdgeconvError(
        Reason.INTERNAL, "a\0", fix="b\0", violations=[FieldViolation("c\0", "d\0")]
    )
    error.metadata = {"e\0": "f\0"}
    said = error_of(error.to_json())
    assert "\\u0000" not in json.dumps(said.to_json())
    assert (said.message, said.metadata) == ("a\\x00", {"e\\x00": "f\\x00"})


def test_no_words_are_longer_than_anybody_would_read() -> None:
    long = "n" * 10_000_000
    error = EdgeconvError(Reason.INTERNAL, long, fix=long, violations=[FieldViolation(long, long)])
    error.metadata = {f"{place}{long}": long for place in range(100)}
    assert len(json.dumps(error_of(error.to_json()).to_json())) < 200_000
    assert len(progress_of({"progress": 0.5, "message": long})[1]) < LONGEST_WORDS + 10


@pytest.mark.parametrize(
    "said", [None, [], "", 5, {"violations": 5}, {"violations": [[1, 2]]}, {"metadata": []}]
)
def test_what_is_no_error_is_told(said: Any) -> None:
    with pytest.raises(ValueError, match="no error"):
        error_of(said)


@pytest.mark.parametrize("said", [{}, {"message": "x"}, {"progress": "1", "message": "x"}])
def test_what_is_no_progress_is_told(said: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="progress"):
        progress_of({"progress": None, **said})


@given(anything)
def test_anything_is_an_error_or_none(said: Any) -> None:
    try:
        error = error_of(said)
    except ValueError:
        return
    json.dumps(error.to_json())


@given(anything, anything)
def test_anything_is_progress_or_none(fraction: Any, words: Any) -> None:
    try:
        said = progress_of({"progress": fraction, "message": words})
    except ValueError:
        return
    assert isinstance(said[0], float)


def test_an_end_says_what_was_made_of_the_step_and_not_which_files() -> None:
    said = {"facts": {"a": 1}, "wall_ns": 3, "files": [{"digest": "another's"}], "folder": "/"}
    assert done_of("direct", said) == {"facts": {"a": 1}, "wall_ns": 3}


@pytest.mark.parametrize("said", [None, [], "done", 1])
def test_an_end_that_is_no_object_is_nonsense(said: Any) -> None:
    with pytest.raises(ValueError, match="no JSON object"):
        done_of("direct", said)


def test_an_end_of_many_values_is_none_and_an_honest_one_is_not_that_large() -> None:
    tensor = {"name": "x", "dtype": "float32", "shape": ["batch", 3, 224, 224]}
    many = {**QUICK_INSPECTION, "inputs": [tensor] * 2000, "outputs": [tensor] * 2000}
    assert done_of("inspect", {"facts": {"inspection": many}})
    with pytest.raises(ValueError, match="more than 100,000 values"):
        done_of("inspect", {"facts": {"inspection": {**many, "inputs": [{}] * 100_000}}})


def nested(levels: int) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for _ in range(levels):
        facts = {"a": [facts]}
    return facts


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"facts": []}, "facts"),
        ({"facts": None}, "facts"),
        ({"facts": nested(16)}, "too deep"),
        ({"wall_ns": "3"}, "wall_ns is no count"),
        ({"wall_ns": 1.0}, "wall_ns is no count"),
        ({"wall_ns": -1}, "wall_ns is no count"),
        ({"wall_ns": True}, "wall_ns is no count"),
        ({"peak_memory_bytes": None}, "peak_memory_bytes is no count"),
        ({"effect": {"step": "a", "summary": "b", "changed": 0}}, "effect.changed"),
        ({"effect": []}, "effect"),
        ({"agreement": {"outputs": 5}}, "agreement.outputs"),
    ],
)
def test_an_end_that_could_not_be_kept_says_where(said: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        done_of("direct", said)


def test_facts_may_be_nested_as_deep_as_honest_ones_are() -> None:
    said = {"facts": nested(14), "effect": None, "agreement": None}
    assert done_of("direct", said) == said


@pytest.mark.parametrize("kind", ["inspect", "inspect-dataset"])
@pytest.mark.parametrize("facts", [{}, {"inspection": 5}, {"inspection": {"format": "onnx"}}])
def test_what_an_inspection_tells_is_looked_at_before_it_is_kept(
    kind: str, facts: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="an end that is none at"):
        done_of(kind, {"facts": facts})


def test_honest_inspections_come_through() -> None:
    said = {"facts": {"inspection": QUICK_INSPECTION}}
    assert done_of("inspect", said) == said


@given(st.sampled_from(["inspect", "direct"]), anything)
def test_anything_is_an_end_or_none(kind: str, told: Any) -> None:
    for each in (told, {"facts": told}, {"facts": {}, "wall_ns": told, "effect": told}):
        try:
            said = done_of(kind, each)
        except ValueError:
            continue
        assert StepOutput.model_validate(said).wall_ns >= 0


@pytest.mark.parametrize(
    "reason", [Reason.DECLARED_DEAD, Reason.BLOB_DAMAGED, Reason.PART_MISSING, Reason.CANCELLED]
)
def test_a_child_can_not_say_what_only_the_server_knows(reason: Reason) -> None:
    with pytest.raises(ValueError, match="not its to say"):
        error_of(EdgeconvError(reason, "so").to_json())
