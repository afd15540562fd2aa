"""`edgeconv models`."""

from __future__ import annotations

from pathlib import Path

import click

from edgeconv.cli.connect import connected, server_options
from edgeconv.cli.options import folder_option, limit_option
from edgeconv.cli.terminal import json_option, terminal_of


@click.group(short_help="Models on the server.")
def models() -> None:
    """Models on the server, and their versions."""


@models.command("list")
@click.argument("model", required=False)
@limit_option
@server_options
@json_option
def list_command(model: str | None, limit: int, server: str | None, state: Path) -> None:
    """Lists versions, newest first; those of MODEL alone where one is named."""
    from edgeconv.base.quantities import format_bytes
    from edgeconv.cli.documents import ModelVersionsDocument
    from edgeconv.cli.names import full_name
    from edgeconv.cli.reading import model_version_document
    from edgeconv.report.cells import time_text

    terminal = terminal_of()
    name = full_name(model, "models") if model else ""
    with connected(server, state) as client:
        found = client.list_model_versions(name, limit=limit)
    versions = tuple(model_version_document(each) for each in found)
    if terminal.json:
        terminal.print_document(ModelVersionsDocument(model_versions=versions))
        return
    rows = [
        (
            each.name,
            each.state,
            each.inspection.format if each.inspection else "",
            format_bytes(sum(file.size_bytes for file in each.files)),
            time_text(each.created_ns),
        )
        for each in versions
    ]
    terminal.print_rows(("version", "state", "format", "size", "made"), rows)


@models.command("get")
@click.argument("name")
@server_options
@json_option
def get_command(name: str, server: str | None, state: Path) -> None:
    """Shows a version; the newest one where NAME is a model."""
    from edgeconv.cli.describe import describe_model_version
    from edgeconv.cli.names import version_name
    from edgeconv.cli.reading import model_version_document

    with connected(server, state) as client:
        version = model_version_document(client.get_model_version(version_name(name)))
    describe_model_version(version, terminal_of())


@models.command("upload")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--model", help="Name of the model.  [after the first file]")
@server_options
@json_option
def upload_command(
    files: tuple[Path, ...], model: str | None, server: str | None, state: Path
) -> None:
    """Uploads FILES as a new version and waits until the server has read it."""
    from edgeconv.cli.describe import describe_model_version
    from edgeconv.cli.names import full_name
    from edgeconv.cli.reading import model_version_document
    from edgeconv.cli.uploads import model_files, upload_model

    terminal = terminal_of()
    paths = model_files(files[0], files[1:])
    name = full_name(model, "models") if model else None
    with connected(server, state) as client:
        version = upload_model(client, paths, terminal, model=name)
    describe_model_version(model_version_document(version), terminal)


@models.command("download")
@click.argument("name")
@folder_option
@server_options
@json_option
def download_command(name: str, out: Path, server: str | None, state: Path) -> None:
    """Writes the files of a version into a folder."""
    from edgeconv.cli.downloads import download_files
    from edgeconv.cli.names import version_name

    with connected(server, state) as client:
        version = client.get_model_version(version_name(name))
        download_files(client, version.name, version.files, out, terminal_of())


@models.command("delete")
@click.argument("name")
@server_options
@json_option
def delete_command(name: str, server: str | None, state: Path) -> None:
    """Forgets one version: the newest one where NAME is a model; MODEL/2 names another.

    Conversions of it keep their results.
    """
    from edgeconv.cli.describe import say_done
    from edgeconv.cli.names import version_name

    full = version_name(name)
    with connected(server, state) as client:
        full = client.get_model_version(full).name
        client.delete_model_version(full)
        kept = [each.name for each in client.list_model_versions(full.rsplit("/versions/")[0])]
    terminal = terminal_of()
    say_done(full, "deleted", terminal)
    if kept:
        terminal.say(f"Other versions of the model are kept: {', '.join(kept)}.")
