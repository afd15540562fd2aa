"""Drawings: escaping, axes and ticks."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.report.svg import Axis, axis_over, drawing, element, round_step, text, title

_VALUES = st.floats(min_value=1e-6, max_value=1e12, allow_nan=False)


def test_words_of_a_model_stay_words() -> None:
    drawn = drawing(
        10, 10, '"><script>', [text("<b>&\x1b", x=1.25, y=2.0, class_='"x"'), title("</svg>")]
    )
    root = ElementTree.fromstring(str(drawn))
    namespace = "{http://www.w3.org/2000/svg}"
    assert [child.tag for child in root] == [f"{namespace}text", f"{namespace}title"]
    assert root[0].text == r"<b>&\x1b"
    assert root[0].attrib == {"x": "1.2", "y": "2", "class": '"x"'}
    assert root.get("aria-label") == '"><script>'


def test_attribute_names_take_dashes() -> None:
    assert str(element("g", stroke_width=2.0, class_="a")) == '<g stroke-width="2" class="a"></g>'


@given(st.lists(_VALUES, min_size=1, max_size=9), st.booleans())
def test_all_values_lie_on_the_axis(values: list[float], from_zero: bool) -> None:
    axis = axis_over(values, 100.0, 500.0, from_zero=from_zero)
    assert all(99.999 <= axis(value) <= 500.001 for value in values)


@given(_VALUES, _VALUES)
def test_ticks_are_round_inside_and_few(first: float, second: float) -> None:
    axis = axis_over([first, second], 0.0, 400.0)
    ticks = axis.ticks()
    assert 1 <= len(ticks) <= 7
    slack = (axis.high - axis.low) * 1e-6
    assert all(axis.low - slack <= tick <= axis.high + slack for tick in ticks)


@pytest.mark.parametrize(
    ("step", "rounded"), [(0.7, 1.0), (1.2, 2.0), (2.0, 2.0), (2.2, 2.5), (26, 50), (0.00011, 2e-4)]
)
def test_steps_are_round(step: float, rounded: float) -> None:
    assert math.isclose(round_step(step), rounded)


def test_a_ceiling_cuts_the_margin() -> None:
    assert axis_over([0.9, 1.0], 0, 1, ceiling=1.002).high == 1.002
    assert Axis(0, 10, 400, 0)(2.5) == 300
