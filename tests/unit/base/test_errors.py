"""The error catalogue and its journey as plain data."""

from __future__ import annotations

import pytest

from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason, Status
from edgeconv.base.exit_codes import ExitCode


def test_an_error_survives_the_journey_as_json() -> None:
    error = EdgeconvError(
        Reason.SHAPE_INVALID,
        "The shape does not fit.",
        fix="Give another one.",
        violations=[FieldViolation("shapes.x", "it has 4 axes")],
        input="x",
        axis=3,
    )
    back = EdgeconvError.from_json(error.to_json())
    assert back.to_json() == error.to_json()
    assert back.reason is Reason.SHAPE_INVALID
    assert back.metadata == {"input": "x", "axis": "3"}


def test_a_reason_from_a_newer_version_becomes_internal() -> None:
    error = EdgeconvError.from_json({"reason": "INVENTED_LATER", "message": "what"})
    assert error.reason is Reason.INTERNAL
    assert error.message == "what"


def test_the_text_says_what_happened_and_what_to_do() -> None:
    error = EdgeconvError(Reason.DATA_NEEDED, "int8 needs data.", fix="Give --data.")
    assert str(error) == "int8 needs data. Give --data."


@pytest.mark.parametrize("reason", list(Reason), ids=lambda reason: reason.name)
def test_every_reason_has_a_sentence_and_an_exit_code(reason: Reason) -> None:
    assert reason.meaning.endswith(".")
    assert EdgeconvError(reason, "x").exit_code in set(ExitCode) - {ExitCode.DONE}


def test_reasons_are_distinct_members() -> None:
    # Equal enum values would silently become aliases of one another.
    assert len(Reason.__members__) == len(list(Reason))
    assert len(Status.__members__) == len(list(Status))


def test_status_codes_are_the_canonical_ones() -> None:
    assert Status.INVALID_ARGUMENT.code == 3
    assert Status.FAILED_PRECONDITION.code == 9
    assert Status.UNAUTHENTICATED.code == 16


def test_data_that_can_not_be_used_has_one_exit_code() -> None:
    for reason in (Reason.DATASET_INVALID, Reason.DATASET_MISMATCH):
        assert reason.exit_code is ExitCode.BAD_INPUT
