"""Every form of the report, with names and figures that somebody meant to do harm with.

Names come from models, devices and users; figures from agents. Each test takes a real result
and puts something hostile into one or more of its places.
"""

from __future__ import annotations

import copy
import json
import math
import unicodedata
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from edgeconv.report.html import render_html
from edgeconv.report.junit import render_junit
from edgeconv.report.markdown import escape, render_markdown
from edgeconv.report.printable import printable, printable_lines
from edgeconv.report.table import render_text
from edgeconv.results.job import JobResult

Path_ = tuple[str | int, ...]
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "job_result.json").read_text())
FORMS = [render_text, render_markdown, render_junit, render_html]
HARM = [
    "\x1b[2J\x1b[31m", "\x9b31m", "\x00", "\r\n\x07", "\u202egnp.exe", "\u2028", "\ufffe",
    "\uffff", "\U000e0041", "</td><script>alert(1)</script>", '"><img src=x onerror=y>',
    "]]><x/>", "&lt;&amp;", "| a | b |\n|---|---|", "[x](javascript:y)", "`rm`", "{{7*7}}",
    "\ue000",
]  # fmt: skip
HOSTILE = st.one_of(
    st.sampled_from(HARM), st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
)
NUMBERS = st.one_of(
    st.sampled_from([0, -1, 1, 2**63 - 1, 10**300, math.inf, -math.inf, math.nan, 1e-300, -0.0]),
    st.integers(-(2**70), 2**70),
    st.floats(),
)
ACTING = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


def leaves(data: Any, kind: type | tuple[type, ...], path: Path_ = ()) -> Iterator[Path_]:
    """Paths of all leaves of a kind."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from leaves(value, kind, (*path, key))
    elif isinstance(data, list):
        for key, value in enumerate(data):
            yield from leaves(value, kind, (*path, key))
    elif isinstance(data, kind) and not isinstance(data, bool):
        yield path


def with_values(values: dict[Path_, Any]) -> JobResult | None:
    """The result with other values in some places; None where its type does not allow them."""
    data = copy.deepcopy(GOLDEN)
    for path, value in values.items():
        holder = data
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = value
    try:
        return JobResult.model_validate(data)
    except ValidationError:
        return None


TEXTS = [path for path in leaves(GOLDEN, str) if with_values({path: "any text at all"}) is not None]
MEASURED = [path for path in leaves(GOLDEN, (int, float)) if "summary" in path]
FREE = ("percent", "device_snr_db", "device_argmax_agreement")


class Page(HTMLParser):
    """Tags and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


PLAIN = Page(render_html(JobResult.model_validate(GOLDEN)))


def lines(text: str) -> list[str]:
    return text.split("\n")


def check_nothing_acts(text: str) -> None:
    acting = {char for char in text if char != "\n" and unicodedata.category(char) in ACTING}
    assert acting == set()


def test_there_are_many_places_to_look_at() -> None:
    assert len(TEXTS) > 300
    assert len(MEASURED) > 300


@pytest.mark.parametrize("render", FORMS)
def test_harm_in_every_place_at_once_stays_text(render: Callable[[JobResult], str]) -> None:
    harm = "".join(HARM)
    # Names that refer to each other stay different, as they are in a result.
    result = with_values({path: f"{harm}{place}" for place, path in enumerate(TEXTS)})
    assert result is not None
    check_harmless(render(result), render)


@settings(max_examples=15)
@given(st.dictionaries(st.sampled_from(TEXTS), HOSTILE, min_size=1, max_size=9))
def test_any_text_in_any_place_stays_text(values: dict[Path_, str]) -> None:
    result = with_values(values)
    assert result is not None
    for render in FORMS:
        check_harmless(render(result), render)


def check_harmless(text: str, render: Callable[[JobResult], str]) -> None:
    check_nothing_acts(text)
    if render is render_html:
        page = Page(text)
        assert page.tags <= PLAIN.tags
        assert page.attributes <= PLAIN.attributes
    elif render is render_junit:
        suites = ElementTree.fromstring(text)
        assert {each.tag for each in suites.iter()} <= {
            "testsuites", "testsuite", "testcase", "failure", "error", "skipped", "system-out",
        }  # fmt: skip
    elif render is render_markdown:
        table = [line for line in lines(text) if line.startswith("|")]
        cells = {len(line.replace("\\|", "").split("|")) for line in table}
        assert len(cells) == 1
        assert "<" not in text.replace("\\<", "")


@settings(max_examples=10)
@given(st.dictionaries(st.sampled_from(MEASURED), NUMBERS, min_size=1, max_size=9))
def test_whatever_an_agent_measured_is_written(values: dict[Path_, float]) -> None:
    result = with_values(values)
    if result is not None:
        for render in FORMS:
            assert render(result)


@pytest.mark.parametrize("number", [0, 2**63 - 1])
def test_one_figure_in_every_place_is_written(number: int) -> None:
    small = ("processes", "delegate_parts")
    places = [path for path in MEASURED if number < 2**31 or path[-1] not in small]
    result = with_values(dict.fromkeys(places, number))
    assert result is not None
    for render in FORMS:
        assert render(result)


@pytest.mark.parametrize("number", [-1, 2**63, 10**300, math.inf, math.nan, "1e400"])
def test_a_figure_that_no_message_could_hold_is_no_result(number: float) -> None:
    counts = {path[-1]: path for path in MEASURED if path[-1] not in FREE}
    assert len(counts) > 10
    for path in counts.values():
        assert with_values({path: number}) is None, path


@given(st.text(st.characters()))
@example("\ud800")
@example("\udcff\x1b")
def test_text_that_is_no_unicode_can_be_printed_too(text: str) -> None:
    for shown in (printable(text), printable_lines(text), escape(text)):
        check_nothing_acts(shown)
        shown.encode()
