"""Which tensors only a Softmax reads, and where their ranges end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeconv.conversion.finishes.ranges import Range, observe
from edgeconv.conversion.finishes.scores import VANISHED, Node, Scores, find_scores
from edgeconv.recipe.specs import Int8StaticOptions

MASKED = [
    Node("matmul", ("q", "k"), ("products",)),
    Node("add", ("products", "mask"), ("sum",)),
    Node("move", ("sum",), ("scores",)),
    Node("softmax", ("scores",), ("weights",)),
]


def test_scores_are_found_with_what_they_are_the_sum_of() -> None:
    assert find_scores(MASKED, ["weights"]) == [
        Scores("scores", -1, ("scores", "sum"), ("products", "mask"))
    ]


def test_scores_that_are_seen_elsewhere_keep_their_range() -> None:
    assert find_scores(MASKED, ["weights", "scores"]) == []
    assert find_scores([*MASKED, Node("relu", ("scores",), ("r",))], ["weights", "r"]) == []


def test_values_on_the_way_that_are_seen_elsewhere_keep_theirs() -> None:
    found = find_scores([*MASKED, Node("relu", ("sum",), ("r",))], ["weights", "r"])
    assert found == [Scores("scores", -1, ("scores",))]


def test_a_mask_may_serve_several_sums_of_scores_and_nothing_else() -> None:
    second = [
        Node("add", ("other", "mask"), ("more",)),
        Node("softmax", ("more",), ("w",)),
    ]
    assert all(each.addends for each in find_scores([*MASKED, *second], ["weights", "w"]))
    found = find_scores([*MASKED, *second, Node("relu", ("mask",), ("r",))], ["weights"])
    assert not any(each.addends for each in found)


def ranges_of(values: Mapping[str, Any], scores: Scores, **options: Any) -> dict[str, Range]:
    def run() -> Iterator[Mapping[str, NDArray[Any]]]:
        yield {name: np.asarray(each, np.float32) for name, each in values.items()}

    return observe(run, Int8StaticOptions(**options), [scores])


@pytest.mark.parametrize("hidden", [-1e4, -1e9, -3.4e38, -np.inf])
@pytest.mark.parametrize("method", ["minmax", "percentile"])
def test_ranges_end_where_weights_vanish(hidden: float, method: str) -> None:
    products = np.array([[3.0, -4.0, 1.0], [8.0, 2.0, 0.0]])
    mask = np.array([[0.0, 0.0, hidden], [0.0, 0.0, hidden]])
    values = {"products": products, "mask": mask, "sum": products + mask}
    scores = Scores("sum", -1, ("sum",), ("products", "mask"))
    found = ranges_of(values, scores, method=method)
    assert found["sum"].low == 3 - VANISHED
    assert found["mask"].low == 3 - VANISHED - 8
    assert found["products"].low == pytest.approx(-4, abs=0.01)
    assert found["sum"].high == pytest.approx(8, abs=0.01)


def test_rows_that_are_hidden_as_a_whole_do_not_count() -> None:
    found = ranges_of({"s": [[-1e4, -1e4], [2.0, -1e4]]}, Scores("s", -1, ("s",)))
    assert found["s"] == Range(2 - VANISHED, 2)


def test_the_rows_lie_along_the_axis_of_the_softmax() -> None:
    values = {"s": [[5.0, -1e4], [-1e4, 1.0]], "other": [[-90.0, 0.0], [0.0, 0.0]]}
    assert ranges_of(values, Scores("s", 0, ("s",)))["s"].low == 1 - VANISHED
    assert ranges_of({"s": [[5.0, 4.0], [-40.0, -30.0]]}, Scores("s", 0, ("s",)))["s"].low < -15


FLOATS = st.floats(-500, 500, width=32)


@given(
    st.lists(st.tuples(FLOATS, st.sampled_from([0.0, -1e4, -1e9]) | FLOATS), min_size=2, max_size=8)
)
def test_what_is_cut_off_has_no_weight(pairs: list[tuple[float, float]]) -> None:
    products, mask = (np.array([each], np.float64) for each in zip(*pairs, strict=True))
    if (products + mask).max() <= -1000:
        return
    values = {"a": products, "b": mask, "s": products + mask}
    found = ranges_of(values, Scores("s", -1, ("s",), ("a", "b")))
    cut = np.maximum(products, found["a"].low) + np.maximum(mask, found["b"].low)
    cut = np.maximum(cut, found["s"].low)
    before, after = (np.exp(s - s.max()) / np.exp(s - s.max()).sum() for s in (values["s"], cut))
    assert np.abs(before - after).max() < 1e-4
