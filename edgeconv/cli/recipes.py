"""`edgeconv recipes`."""

from __future__ import annotations

from pathlib import Path

import click

from edgeconv.cli.options import FILE, variant_options
from edgeconv.cli.terminal import json_option, terminal_of


@click.group(short_help="Recipes: check one, print the schema.")
def recipes() -> None:
    """Recipes: what variants to make of a model, in YAML."""


@recipes.command("schema")
def schema_command() -> None:
    """Prints the JSON schema of recipes."""
    import json

    from edgeconv.recipe.schema import Recipe

    click.echo(json.dumps(Recipe.model_json_schema(), indent=2))


@recipes.command("check")
@click.argument("file", type=FILE)
@json_option
def check_command(file: Path) -> None:
    """Checks a recipe and prints it with all defaults filled in."""
    import yaml

    from edgeconv.recipe.schema import parse_recipe, with_pass_defaults

    given = parse_recipe(file.read_text(encoding="utf-8", errors="replace"))
    recipe = with_pass_defaults(given)
    terminal = terminal_of()
    if terminal.json:
        terminal.print_document(recipe)
    else:
        text = yaml.safe_dump(recipe.model_dump(mode="json", exclude_none=True), sort_keys=False)
        click.echo(text, nl=False)


@recipes.command("show")
@variant_options
def show_command(
    target: str | None, precision: str | None, prune: float | None, data: Path | None
) -> None:
    """Prints the recipe that the same flags of `convert` stand for."""
    from edgeconv.cli.convert_request import ConvertFlags, request_of

    click.echo(request_of(ConvertFlags(None, target, precision, prune, data)).recipe, nl=False)
