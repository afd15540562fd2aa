"""What the flags of `convert` ask for: a recipe, the files of its data, shapes. No server."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import click

from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason
from edgeconv.base.ids import parse_name
from edgeconv.recipe.named import recipe_from_flags
from edgeconv.recipe.schema import Precision, Recipe, Target, parse_recipe

DATA_ROLES = ("calibration", "evaluation")
_SIZE = re.compile(r"[1-9][0-9]{0,17}")


@dataclass(frozen=True)
class ConvertFlags:
    """The flags as they were given; None where one was not.

    Attributes:
        data: An npz file for calibration and evaluation.
        prune: Share of channels to remove, 0 to 1.
    """

    recipe: Path | None = None
    targets: str | None = None
    precisions: str | None = None
    prune: float | None = None
    data: Path | None = None


@dataclass(frozen=True)
class ConvertRequest:
    """What is to be asked of a server.

    Attributes:
        recipe: YAML.
        files: Role of data → file to upload for it.
        datasets: Role of data → "datasets/{dataset}" that is on the server already.
    """

    recipe: str
    files: dict[str, Path]
    datasets: dict[str, str]


def request_of(flags: ConvertFlags) -> ConvertRequest:
    """The request that the flags stand for.

    Raises:
        click.UsageError: flags that exclude each other, or a word that is none of the choices.
        EdgeconvError: RECIPE_INVALID; FIELD_INVALID for data that is neither a file nor a
            dataset's name.
    """
    if flags.recipe is None:
        return _from_flags(flags)
    made_by_recipe = {
        "--target": flags.targets,
        "--precision": flags.precisions,
        "--prune": flags.prune,
    }
    if given := [name for name, value in made_by_recipe.items() if value is not None]:
        raise click.UsageError(f"{given[0]} and --recipe exclude each other.")
    text = flags.recipe.read_text(encoding="utf-8", errors="replace")
    recipe = parse_recipe(text)
    if flags.data is not None:
        return ConvertRequest(text, dict.fromkeys(DATA_ROLES, flags.data), {})
    return _with_data(text, recipe, flags.recipe.parent)


def parse_shapes(values: Sequence[str]) -> dict[str, str]:
    """Input name → "1,3,224,224", out of `--shape NAME=1,3,224,224`.

    Raises:
        click.UsageError: a value that has not that form, or a name that comes twice.
    """
    shapes: dict[str, str] = {}
    for value in values:
        name, equals, sizes = value.rpartition("=")
        numbers = [size.strip() for size in sizes.split(",")]
        if not equals or not name or not all(_SIZE.fullmatch(number) for number in numbers):
            raise click.UsageError(
                f"--shape {value!r} does not have the form NAME=1,3,224,224.",
            )
        if name in shapes:
            raise click.UsageError(f"--shape names input {name!r} twice.")
        shapes[name] = ",".join(numbers)
    return shapes


def recipe_yaml(recipe: Recipe) -> str:
    """A recipe as a person would write it: no defaults, passes by their names."""
    import yaml

    data = recipe.model_dump(mode="json", exclude_defaults=True)
    for variant in data["variants"].values():
        for use in variant.get("passes", ()):
            options = use.pop("options", {})
            use[use.pop("name")] = options
    ordered = {"version": recipe.version, "targets": list(recipe.targets), **data}
    return yaml.safe_dump(ordered, sort_keys=False, allow_unicode=True)


def _from_flags(flags: ConvertFlags) -> ConvertRequest:
    if flags.prune is not None and not 0 < flags.prune < 1:
        raise click.UsageError("--prune takes a share between 0 and 1, such as 0.3.")
    precisions = _choices("--precision", flags.precisions, get_args(Precision))
    recipe = recipe_from_flags(
        targets=cast(
            "Sequence[Target]",
            _choices("--target", flags.targets, get_args(Target)) or ("onnx", "tflite"),
        ),
        precisions=cast("Sequence[Precision] | None", precisions),
        prune_ratio=flags.prune,
        data=flags.data.name if flags.data else None,
    )
    files = dict.fromkeys(DATA_ROLES, flags.data) if flags.data else {}
    return ConvertRequest(recipe_yaml(recipe), files, {})


def _choices(flag: str, given: str | None, known: Sequence[str]) -> list[str] | None:
    if given is None:
        return None
    words = [word.strip() for word in given.split(",") if word.strip()]
    for word in words:
        if word not in known:
            raise click.UsageError(f"{flag} can't be {word!r}; use {', '.join(known)}.")
    if not words:
        raise click.UsageError(f"{flag} names nothing; use {', '.join(known)}.")
    return list(dict.fromkeys(words))


def _with_data(text: str, recipe: Recipe, folder: Path) -> ConvertRequest:
    given: Mapping[str, Any] = recipe.data.model_dump()
    files: dict[str, Path] = {}
    datasets: dict[str, str] = {}
    for role in DATA_ROLES:
        value = given[role]
        if value is None:
            continue
        if (folder / value).is_file():
            files[role] = folder / value
        else:
            datasets[role] = _dataset(role, value)
    return ConvertRequest(text, files, datasets)


def _dataset(role: str, value: str) -> str:
    name = value if value.startswith("datasets/") else f"datasets/{value}"
    try:
        parse_name(name, "datasets/*")
    except EdgeconvError:
        name = ""
    if not name or value.endswith(".npz"):
        message = f"data.{role} of the recipe is {value!r}: no such file beside the recipe"
        raise EdgeconvError(
            Reason.FIELD_INVALID,
            f"{message}, and no name of a dataset.",
            fix="Name a file relative to the recipe, or a dataset of the server.",
            violations=[FieldViolation(f"data.{role}", "no such file")],
            value=value,
        )
    return name
