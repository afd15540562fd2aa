"""The recipe: what variants to make, as a user writes it in YAML."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, NoReturn

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema

from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason
from edgeconv.recipe.problem_words import problem_words
from edgeconv.recipe.repeated_keys import find_repeated_key
from edgeconv.recipe.specs import Options, StepKind, specs_of
from edgeconv.recipe.written_forms import Share, pass_forms, unfold_pass

Target = Literal["onnx", "tflite"]
Precision = Literal["fp32", "fp16", "int8", "int8-dynamic", "int8-weights"]

MAX_RECIPE_BYTES = 64 * 1024
_MAX_DEPTH = 32
_OPENING = (
    yaml.FlowSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.BlockMappingStartToken,
)
_CLOSING = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)
_NO_KEYS = ("__root__", "[key]")
"""What stands in the places that pydantic tells and in no recipe."""
_NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,39}$"


class CalibrationOptions(Options):
    """How ranges are taken from calibration data."""

    method: Literal["minmax", "percentile"] = "minmax"
    percentile: float = Field(default=99.99, gt=50, le=100)


class DataSpec(Options):
    """Names of datasets, or files beside the recipe."""

    calibration: str | None = None
    evaluation: str | None = None


class PassUse(Options):
    """A pass with its options, written as `prune: {ratio: 0.5}`."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _unfold(cls, value: Any) -> Any:
        return unfold_pass(value)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        printed = handler(core_schema)
        if handler.mode == "serialization":
            return printed
        described = handler.resolve_ref_schema(printed)["description"]
        return {"description": described, **pass_forms(handler)}

    @model_validator(mode="after")
    def _check(self) -> PassUse:
        self.parsed()
        return self

    def parsed(self) -> Options:
        """The options, checked, with defaults filled in."""
        specs = {spec.name: spec for spec in specs_of(StepKind.PASS)}
        if self.name not in specs:
            raise ValueError(f"there is no pass {self.name!r}{_suggest(self.name, specs)}")
        return specs[self.name].options.model_validate(self.options)


def _each_once(targets: tuple[Target, ...]) -> tuple[Target, ...]:
    if len(set(targets)) < len(targets):
        raise ValueError("a target is named twice")
    return targets


Targets = Annotated[
    tuple[Target, ...],
    Field(min_length=1, json_schema_extra={"uniqueItems": True}),
    AfterValidator(_each_once),
]


class VariantSpec(Options):
    """One variant; made for every target of the recipe unless it names its own."""

    passes: tuple[PassUse, ...] = ()
    precision: Precision = "fp32"
    calibration: CalibrationOptions = CalibrationOptions()
    targets: Targets | None = None
    min_snr_db: float | None = Field(
        default=None,
        description="Least signal-to-noise ratio against the source, in dB. Without it, and"
        " without `max_drop`, a lossy output is flagged when it is low, and fails below 0 dB"
        " unless it decides as the source does.",
    )
    max_drop: Share | None = Field(
        default=None,
        description="Largest loss of the task metric, as a share (0.02) or a percentage (2%);"
        " needs labels to tell it by.",
    )


class Recipe(BaseModel):
    """What to make of a model."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    version: Literal[1] = 1
    targets: Targets = ("onnx", "tflite")
    data: DataSpec = DataSpec()
    seed: int = Field(default=0, ge=0, lt=2**32)
    variants: dict[Annotated[str, Field(pattern=_NAME_PATTERN)], VariantSpec] = Field(
        min_length=1, max_length=64, json_schema_extra={"additionalProperties": False}
    )


def with_pass_defaults(recipe: Recipe) -> Recipe:
    """The same recipe with the defaults of each pass's own options filled in."""
    variants = {}
    for name, spec in recipe.variants.items():
        passes = tuple(
            use.model_copy(update={"options": use.parsed().model_dump(mode="json")})
            for use in spec.passes
        )
        variants[name] = spec.model_copy(update={"passes": passes})
    return recipe.model_copy(update={"variants": variants})


def parse_recipe(text: str) -> Recipe:
    """The recipe of a YAML text.

    Raises:
        EdgeconvError: RECIPE_INVALID with a violation per field; an unknown key comes
            with the nearest known one.
    """
    data = _read_yaml(text)
    if not isinstance(data, dict):
        _refuse("recipe", "a recipe is a mapping with `variants`")
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        violations = list(_violations(error, data))
    listed = "; ".join(f"{each.field}: {each.message}" for each in violations)
    raise EdgeconvError(
        Reason.RECIPE_INVALID,
        f"The recipe is not valid: {listed if listed.endswith('?') else f'{listed}.'}",
        fix="`edgeconv recipes schema` prints what is allowed.",
        violations=violations,
    )


def _read_yaml(text: str) -> Any:
    if len(text.encode(errors="replace")) > MAX_RECIPE_BYTES:
        _refuse("recipe", f"the recipe is larger than {MAX_RECIPE_BYTES} bytes")
    try:
        _check_tokens(text)
        if repeated := find_repeated_key(text):
            _refuse(
                repeated.path,
                f"the key {repeated.path!r} stands in line {repeated.first} and again in line"
                f" {repeated.again}",
            )
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        _refuse("recipe", f"not valid YAML: {' '.join(str(error).split())}")
    except (ValueError, LookupError, AttributeError, TypeError):
        # What PyYAML lets through of a scalar that is no value of its type: a 13th month,
        # an empty `!!int`, an integer of thousands of digits.
        _refuse("recipe", "not valid YAML: a number, a date or a tagged value can't be read")


def _check_tokens(text: str) -> None:
    """Refuses aliases, and a depth at which PyYAML takes minutes: its time grows by the square."""
    depth = 0
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        if isinstance(token, yaml.AliasToken):
            _refuse("recipe", "aliases (*name) are not allowed")
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        if depth > _MAX_DEPTH:
            _refuse("recipe", f"it is nested more than {_MAX_DEPTH} deep")


def _refuse(field: str, message: str) -> NoReturn:
    raise EdgeconvError(
        Reason.RECIPE_INVALID,
        f"The recipe is not valid: {message}.",
        violations=[FieldViolation(field, message)],
    )


def _violations(error: ValidationError, data: object) -> Iterator[FieldViolation]:
    for problem in error.errors(include_url=False):
        path = [str(part) for part in problem["loc"] if part not in _NO_KEYS]
        field = ".".join(path) or "recipe"
        if problem["type"] == "extra_forbidden":
            known = _known_keys(path[:-1])
            yield FieldViolation(field, f"unknown key {path[-1]!r}{_suggest(path[-1], known)}")
        else:
            yield FieldViolation(field, problem_words(problem))


def _known_keys(path: list[str]) -> list[str]:
    if not path:
        return list(Recipe.model_fields)
    if path[0] == "data":
        return list(DataSpec.model_fields)
    if len(path) > 2 and path[2] == "passes":
        specs = specs_of(StepKind.PASS)
        return [field for spec in specs for field in spec.options.model_fields]
    if path[0] == "variants" and path[-1] == "calibration":
        return list(CalibrationOptions.model_fields)
    if path[0] == "variants":
        return list(VariantSpec.model_fields)
    return []


def _suggest(word: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known are {', '.join(known)}" if known else ""
