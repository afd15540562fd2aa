"""Joining sentences: whatever their ends, no mark stands twice and no word is lost."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.sentences import clause, clauses, sentences
from edgeconv.report.cells import error_text
from edgeconv.results.job import Failure, VariantResult

_WORDS = st.lists(st.from_regex(r"[a-zà-ÿ0-9]{1,6}", fullmatch=True), min_size=1, max_size=4)
_PARTS = st.tuples(_WORDS.map(" ".join), st.sampled_from(["", ".", ". ", ";", " .", ".;"])).map(
    "".join
)
_DOUBLED = re.compile(r"[.;,]\s*[.;,]|\s[.;,]")


@given(st.lists(_PARTS, max_size=5))
@example(["It is bad.", "It is worse."])
def test_a_list_has_no_mark_twice_and_every_part(parts: list[str]) -> None:
    joined = clauses(parts)
    assert not _DOUBLED.search(f"{joined}." if joined else "")
    assert joined.split("; ") == [clause(part) for part in parts] or not parts


@given(st.lists(st.one_of(_WORDS.map(" ".join), _WORDS.map(lambda w: " ".join(w) + ".")),
                min_size=2, max_size=5))  # fmt: skip
def test_sentences_are_ended_once_before_the_next(parts: list[str]) -> None:
    joined = sentences(*parts, "")
    assert not _DOUBLED.search(joined)
    assert joined.count(". ") == len(parts) - 1
    assert joined.split() == [
        word
        for part in [*(f"{clause(part)}." for part in parts[:-1]), parts[-1]]
        for word in part.split()
    ]


def test_nothing_is_added_to_one_sentence() -> None:
    assert sentences("done", "") == "done"
    assert sentences("", "") == clauses(["", "."]) == ""
    assert clause("Protobuf parsing failed.") == "Protobuf parsing failed"
    assert clause("axis 'x..' is open") == "axis 'x..' is open"


@given(_WORDS.map(" ".join), st.sampled_from(["", "."]))
def test_what_is_wrong_and_what_to_do_are_two_sentences(message: str, end: str) -> None:
    error = EdgeconvError(Reason.INTERNAL, message + end, fix="Try again.")
    assert str(error) == f"{message}. Try again."
    variant = VariantResult(
        name="v", recipe_variant="v", target="onnx", precision="fp32", state="failed",
        error=Failure(reason="INTERNAL", message=message + end, fix="Try again."),
    )  # fmt: skip
    assert error_text(variant) == f"{message}. Try again."
