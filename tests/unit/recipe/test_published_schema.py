"""The published JSON Schema of recipes takes what the parser takes, and nothing else."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgeconv.base.errors import EdgeconvError
from edgeconv.recipe.repeated_keys import find_repeated_key
from edgeconv.recipe.schema import Recipe, parse_recipe

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = Recipe.model_json_schema()
_ANNOTATIONS = {"$defs", "title", "description", "default", "examples"}
_TYPES: dict[str, type] = {
    "object": dict,
    "array": list,
    "string": str,
    "null": type(None),
    "boolean": bool,
}


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """JSON Schema 2020-12, as far as the schema goes; an unknown keyword is a failure."""
    return all(
        _holds(keyword, wanted, value, schema)
        for keyword, wanted in schema.items()
        if keyword not in _ANNOTATIONS
    )


def _holds(keyword: str, wanted: Any, value: Any, schema: dict[str, Any]) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match keyword:
        case "$ref":
            return fits(value, SCHEMA["$defs"][wanted.removeprefix("#/$defs/")])
        case "anyOf":
            return any(fits(value, each) for each in wanted)
        case "const":
            return bool(value == wanted and isinstance(value, bool) == isinstance(wanted, bool))
        case "enum":
            return value in wanted
        case "type":
            if wanted in ("number", "integer"):
                return number and (wanted == "number" or value == int(value))
            return isinstance(value, _TYPES[wanted])
        case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum":
            return not number or _within(keyword, wanted, value)
        case "pattern":
            return not isinstance(value, str) or re.search(wanted, value) is not None
        case _ if isinstance(value, list):
            return _list_holds(keyword, wanted, value)
        case _ if isinstance(value, dict):
            return _mapping_holds(keyword, wanted, value, schema)
    assert keyword in _OF_LISTS | _OF_MAPPINGS, f"{keyword!r} is no JSON Schema keyword"
    return True


_OF_LISTS = {"items", "minItems", "uniqueItems"}
_OF_MAPPINGS = {
    "properties", "patternProperties", "additionalProperties", "required", "minProperties",
    "maxProperties",
}  # fmt: skip


def _within(keyword: str, limit: float, value: float) -> bool:
    low, exclusive = "inimum" in keyword, keyword.startswith("exclusive")
    return (value > limit if low else value < limit) or (not exclusive and value == limit)


def _list_holds(keyword: str, wanted: Any, value: list[Any]) -> bool:
    assert keyword in _OF_LISTS | _OF_MAPPINGS, keyword
    if keyword == "items":
        return all(fits(each, wanted) for each in value)
    if keyword == "minItems":
        return bool(len(value) >= wanted)
    return keyword != "uniqueItems" or not any(each in value[:i] for i, each in enumerate(value))


def _mapping_holds(
    keyword: str, wanted: Any, value: dict[Any, Any], schema: dict[str, Any]
) -> bool:
    assert keyword in _OF_LISTS | _OF_MAPPINGS, keyword
    patterns = schema.get("patternProperties", {})
    if keyword == "properties":
        return all(fits(value[key], each) for key, each in wanted.items() if key in value)
    if keyword == "patternProperties":
        return all(
            fits(each, inner)
            for key, each in value.items()
            for pattern, inner in wanted.items()
            if re.search(pattern, key)
        )
    if keyword == "additionalProperties":
        named = schema.get("properties", {})
        others = [key for key in value if key not in named]
        assert wanted is False, "of this schema"
        return all(any(re.search(pattern, key) for pattern in patterns) for key in others)
    if keyword == "required":
        return all(key in value for key in wanted)
    low = keyword != "minProperties" or len(value) >= wanted
    return low and (keyword != "maxProperties" or len(value) <= wanted)


def accepted(text: str) -> bool:
    try:
        parse_recipe(text)
    except EdgeconvError:
        return False
    return True


def _published() -> Iterator[tuple[str, str]]:
    """Where and what: the recipes of the documents and of the demo."""
    for path in sorted((ROOT / "demo").glob("*.yaml")):
        yield path.name, path.read_text()
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        text = page.read_text()
        blocks = re.findall(r"```yaml\n(.*?)```", text, re.S)
        shown = re.finditer(r"<<\s*'?(EOF|END|YAML)'?\n(.*?)\n\1\n", text, re.S)
        blocks += [found[2] for found in shown]
        for block in blocks:
            if "variants:" in block:
                yield page.name, block


def _in_tests() -> Iterator[str]:
    """The whole texts in the tests that look like a recipe, right ones and wrong ones."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        source = path.read_text()
        if "variants:" not in source:
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.JoinedStr):
                node.values.clear()
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def as_json(text: str) -> Any:
    """The recipe as JSON; None where it is none: no YAML, a repeated key, an infinity."""
    try:
        value = yaml.safe_load(text)
        json.dumps(value, allow_nan=False)
        return None if find_repeated_key(text) else value
    except (yaml.YAMLError, TypeError, ValueError):
        return None


PUBLISHED = list(_published())


def test_the_documents_and_the_demo_show_recipes() -> None:
    assert {"tutorial.md", "digits.yaml"} <= {name for name, _ in PUBLISHED}


@pytest.mark.parametrize(("name", "text"), PUBLISHED)
def test_each_published_recipe_fits(name: str, text: str) -> None:
    assert accepted(text), name
    assert fits(as_json(text), SCHEMA), name


def test_parser_and_schema_agree_on_the_recipes_of_the_tests() -> None:
    taken = {True: 0, False: 0}
    for text in _in_tests():
        value = as_json(text) if "variants:" in text and "&" not in text else None
        if isinstance(value, dict) and "variants" in value:
            verdict = accepted(text)
            assert fits(value, SCHEMA) == verdict, text
            taken[verdict] += 1
    assert taken[True] > 20
    assert taken[False] > 20


@pytest.mark.parametrize(
    "passes",
    [
        [{"prune": {"ratio": 0.5}}],
        [{"prune": {"ratio": 0.5, "recover": "none"}}, {"prune": {"ratio": 0.1}}],
        [{"name": "prune", "options": {"ratio": 0.5}}],
        [],
    ],
)
@pytest.mark.parametrize("drop", ["2%", "0.5%", "100%", ".5 %", "0%", 0, 1, 0.02, None])
def test_right_forms_fit_both(passes: list[Any], drop: Any) -> None:
    value = {"variants": {"a": {"passes": passes, "max_drop": drop}}}
    assert fits(value, SCHEMA)
    assert accepted(yaml.safe_dump(value))


WRONG_PASSES: list[Any] = [
    ["prune"], ["none"], [{"prune": None}], [{"prune": {}}], [{"prune": {"ratio": 1}}],
    [{"prune": {"ratio": 0.5, "of": 1}}], [{"prune": {"ratio": 0.5}, "also": {}}],
    [{"name": "prune"}], [{"name": "prune", "ratio": 0.5}], [{}], [3], [None],
    [{"name": "none", "options": {}}], {"prune": {"ratio": 0.5}},
]  # fmt: skip
WRONG_DROPS: list[Any] = [
    "2", "2 percent", "101%", "-1%", "%", "nan%", "1_0%", 2, -0.1, True, [],
]  # fmt: skip


@pytest.mark.parametrize(
    "spec",
    [*({"passes": each} for each in WRONG_PASSES), *({"max_drop": each} for each in WRONG_DROPS)],
)
def test_wrong_forms_fit_neither(spec: dict[str, Any]) -> None:
    value = {"variants": {"a": spec}}
    assert not fits(value, SCHEMA)
    assert not accepted(yaml.safe_dump(value))


@pytest.mark.parametrize("name", ["A", "../x", "", "a" * 41, "a.b"])
def test_a_name_that_is_none_fits_neither(name: str) -> None:
    assert not fits({"variants": {name: {}}}, SCHEMA)
    assert not accepted(yaml.safe_dump({"variants": {name: {}}}))


def test_what_is_printed_of_a_recipe_fits_again() -> None:
    text = "variants: {a: {passes: [{prune: {ratio: 0.5}}], max_drop: 2%}}"
    printed = parse_recipe(text).model_dump(mode="json")
    assert fits(printed, SCHEMA)
    assert accepted(yaml.safe_dump(printed))
