"""Identifiers, resource names, and how quantities are written."""

from __future__ import annotations

import pytest

from edgeconv.base.errors import EdgeconvError
from edgeconv.base.ids import new_id, parse_name
from edgeconv.base.quantities import format_bytes, format_ns


def test_identifiers_are_fresh_and_fit_resource_names() -> None:
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    for each in ids:
        assert parse_name(f"conversions/{each}", "conversions/*") == (each,)


def test_the_variable_segments_come_back() -> None:
    assert parse_name("models/a.b-c/versions/3", "models/*/versions/*") == ("a.b-c", "3")


@pytest.mark.parametrize(
    "name", ["models/a", "models/A/versions/3", "models//versions/3", "models/a/versions/3/x", ""]
)
def test_a_name_of_another_form_is_refused_with_its_field(name: str) -> None:
    with pytest.raises(EdgeconvError) as refused:
        parse_name(name, "models/*/versions/*", field="model_version")
    assert refused.value.violations[0].field == "model_version"


@pytest.mark.parametrize(
    ("value_ns", "text"),
    [
        (0, "0 ns"),
        (417, "417 ns"),
        (999.9, "1.00 µs"),
        (1_320_000, "1.32 ms"),
        (13_240_000, "13.2 ms"),
        (132_400_000, "132 ms"),
        (999_999_999, "1.00 s"),
        (2_050_000_000, "2.05 s"),
    ],
)
def test_durations_have_three_digits(value_ns: float, text: str) -> None:
    assert format_ns(value_ns) == text


@pytest.mark.parametrize(
    ("value_bytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.50 KiB"), (1_268_000, "1.21 MiB"), (2**30, "1 GiB")],
)
def test_sizes_have_three_digits(value_bytes: float, text: str) -> None:
    assert format_bytes(value_bytes) == text
