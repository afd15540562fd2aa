"""Whatever is written on the command line is read, or is a fault of usage: never a trace."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.ids import parse_name
from edgeconv.cli.convert_request import ConvertFlags, parse_shapes, request_of
from edgeconv.cli.names import full_name, slug, version_name
from edgeconv.recipe.schema import parse_recipe

SIZES = st.lists(st.integers(1, 10**9), min_size=1, max_size=6)
INPUTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
WORDS = st.lists(st.sampled_from(["onnx", "tflite", " onnx", "", "coreml", "ONNX", "\x00"]))


@given(st.dictionaries(INPUTS, SIZES, max_size=4))
def test_shapes_come_back_as_they_were_written(shapes: dict[str, list[int]]) -> None:
    written = [f"{name}={','.join(map(str, sizes))}" for name, sizes in shapes.items()]
    assert parse_shapes(written) == {
        name: ",".join(map(str, sizes)) for name, sizes in shapes.items()
    }


@given(st.lists(st.text(), max_size=3))
@example(["x=" + "9" * 5000])
@example(["x=٣,²"])
@example(["x=１,２"])
def test_any_text_is_a_shape_or_a_fault_of_usage(values: list[str]) -> None:
    try:
        shapes = parse_shapes(values)
    except click.UsageError:
        return
    assert len(shapes) == len(values)
    for sizes in shapes.values():
        assert re.fullmatch(r"[0-9]+(,[0-9]+)*", sizes)


@pytest.mark.parametrize(
    ("read", "pattern"),
    [
        (lambda text: full_name(text, "models"), "models/*"),
        (lambda text: full_name(text, "devices"), "devices/*"),
        (version_name, "models/*/versions/*"),
    ],
)
@given(text=st.one_of(st.text(), st.from_regex(r"[a-z0-9./-]{0,20}", fullmatch=True)))
def test_any_text_names_a_resource_or_is_refused(
    text: str, read: Callable[[str], str], pattern: str
) -> None:
    try:
        name = read(text)
    except EdgeconvError as error:
        refused: EdgeconvError | None = error
    else:
        refused = None
    if refused is not None:
        assert refused.reason is Reason.FIELD_INVALID
        return
    assert parse_name(name, pattern)
    assert read(name) == name


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1))
def test_a_slug_is_its_own_slug(stem: str) -> None:
    once = slug(Path(f"{stem}.onnx"))
    assert slug(Path(f"{once}.onnx")) == once


@given(st.one_of(st.none(), WORDS.map(",".join)), st.one_of(st.none(), st.floats()))
@example("onnx", 1e-9)
@example("onnx", 0.1234567890123)
def test_any_words_make_a_recipe_that_can_be_read_or_a_fault_of_usage(
    targets: str | None, ratio: float | None
) -> None:
    try:
        request = request_of(ConvertFlags(targets=targets, prune=ratio))
    except click.UsageError:
        return
    recipe = parse_recipe(request.recipe)
    given_targets = [word.strip() for word in (targets or "onnx,tflite").split(",")]
    assert recipe.targets == tuple(dict.fromkeys(word for word in given_targets if word))
    pruned = [spec for spec in recipe.variants.values() if spec.passes]
    assert bool(pruned) == (ratio is not None)
    for spec in pruned:
        assert spec.passes[0].options["ratio"] == ratio
