"""Durations and sizes as they are written on the command line."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.base.quantities import parse_bytes, parse_seconds
from edgeconv.cli.main import main


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30d", 2_592_000), ("12 h", 43_200), ("90min", 5400), ("0s", 0), ("1.5w", 907_200)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("20GiB", 20 * 2**30), ("500 MB", 500_000_000), ("1024", 1024), ("1.5kib", 1536), ("0", 0)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@given(st.text())
def test_what_is_none_is_a_value_error(text: str) -> None:
    for parse in (parse_bytes, parse_seconds):
        try:
            assert parse(text) >= 0
        except ValueError as error:
            assert repr(text) in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--older-than", "soon"), "such as 30d"),
        (("--older-than", "30"), "such as 30d"),
        (("--cap", "20 apples"), "such as 20GiB"),
        (("--cap", "-1"), "such as 20GiB"),
        (("--check", "--dry-run"), "no other option"),
    ],
)
def test_gc_refuses_what_it_does_not_understand(words: tuple[str, ...], told: str) -> None:
    done = CliRunner().invoke(main, ["gc", *words])
    assert done.exit_code == 2
    assert told in done.output
