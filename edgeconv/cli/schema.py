"""`edgeconv schema`."""

from __future__ import annotations

import click


@click.command(short_help="JSON schemas of what --json prints.")
@click.argument("command", nargs=-1)
def schema(command: tuple[str, ...]) -> None:
    """Prints the JSON schema of what COMMAND prints with --json, such as `jobs list`.

    Without COMMAND it prints those of all commands, by name; `error` is what every command
    prints instead when it fails.
    """
    import json

    from edgeconv.cli.documents import DOCUMENTS

    name = " ".join(command)
    if not name:
        every = {
            key: model.model_json_schema(mode="serialization") for key, model in DOCUMENTS.items()
        }
        click.echo(json.dumps(every, indent=2))
        return
    if name not in DOCUMENTS:
        raise click.UsageError(f"There is no schema {name!r}; known are {', '.join(DOCUMENTS)}.")
    click.echo(json.dumps(DOCUMENTS[name].model_json_schema(mode="serialization"), indent=2))
