"""How shares and passes stand in a recipe, for the parser and for the published schema."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, WithJsonSchema

from edgeconv.recipe.specs import StepKind, specs_of

_PERCENTAGE = r"^(100(\.0*)?|[0-9]{1,2}(\.[0-9]*)?|\.[0-9]+) ?%$"
_LONGEST_SHOWN = 60
_KEYS = {"name", "options"}
_ONE_PASS = "one entry of the list is one pass, such as `prune: {ratio: 0.5}`"


def _share(value: object) -> float:
    if isinstance(value, str) and re.fullmatch(_PERCENTAGE, value):
        return float(value.rstrip(" %")) / 100
    hint = ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if 0 <= value <= 1:
            return float(value)
        if 1 < value <= 100:
            hint = f"; {value:g} percent is written {value:g}%"
    shown = repr(value)
    given = f", not {shown}" if len(shown) <= _LONGEST_SHOWN else ""
    raise ValueError(
        f"it must be a share from 0 to 1, such as 0.02, or a percentage, such as 2%{given}{hint}"
    )


Share = Annotated[
    float,
    Field(ge=0, le=1),
    BeforeValidator(_share),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 1},
                {"type": "string", "pattern": _PERCENTAGE, "examples": ["2%"]},
            ]
        },
        mode="validation",
    ),
]
"""A share as 0.02 or "2%"."""


def unfold_pass(value: Any) -> Any:
    """A pass as it is written, as its name and its options; other values as they are.

    `prune: {ratio: 0.5}` is the form of recipes; `{name: prune, options: {ratio: 0.5}}` is
    what they are printed in. A pass that needs no options may stand as its name.

    Raises:
        ValueError: a mapping of neither form, with the form that is likely meant.
    """
    if isinstance(value, str):
        return {"name": value}
    if not isinstance(value, dict) or ("name" in value and value.keys() <= _KEYS):
        return value
    if len(value) == 1:
        [(name, options)] = value.items()
        return {"name": name, "options": {} if options is None else options}
    raise ValueError(f"{_ONE_PASS}{_likely_form(value)}")


def _likely_form(value: Mapping[Any, Any]) -> str:
    """What to write where the options stand beside the pass and not below it."""
    known = {spec.name for spec in specs_of(StepKind.PASS)}
    names = [key for key in value if key in known and not value[key]]
    if value.get("name") in known:
        name, options = value["name"], {key: value[key] for key in value if key != "name"}
    elif len(names) == 1:
        name, options = names[0], {key: value[key] for key in value if key != names[0]}
    else:
        return f", not {len(value)} keys" if value else ""
    text = yaml.safe_dump(options, default_flow_style=True, sort_keys=False, width=1000).strip()
    return f"; write `{name}: {text}`" if len(text) <= _LONGEST_SHOWN else ""


def pass_forms(handler: GetJsonSchemaHandler) -> dict[str, Any]:
    """The JSON Schema of a pass as `unfold_pass` and the options of each pass take it."""
    forms: list[dict[str, Any]] = []
    for spec in specs_of(StepKind.PASS):
        options = handler(spec.options.__pydantic_core_schema__)
        needed = any(field.is_required() for field in spec.options.model_fields.values())
        short = options if needed else {"anyOf": [options, {"type": "null"}]}
        forms.append(_mapping({spec.name: short}, [spec.name]))
        named = {"name": {"const": spec.name}, "options": options}
        forms.append(_mapping(named, ["name", "options"] if needed else ["name"]))
        if not needed:
            forms.append({"const": spec.name})
    return {"anyOf": forms}


def _mapping(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
