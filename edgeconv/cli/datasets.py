"""`edgeconv datasets`."""

from __future__ import annotations

from pathlib import Path

import click

from edgeconv.cli.connect import connected, server_options
from edgeconv.cli.options import FILE, folder_option, limit_option
from edgeconv.cli.terminal import json_option, terminal_of


@click.group(short_help="Datasets on the server.")
def datasets() -> None:
    """Datasets on the server, for calibration and evaluation."""


@datasets.command("list")
@limit_option
@server_options
@json_option
def list_command(limit: int, server: str | None, state: Path) -> None:
    """Lists datasets, newest first."""
    from edgeconv.cli.documents import DatasetsDocument
    from edgeconv.cli.reading import dataset_document
    from edgeconv.report.cells import time_text

    terminal = terminal_of()
    with connected(server, state) as client:
        found = tuple(dataset_document(each) for each in client.list_datasets(limit=limit))
    if terminal.json:
        terminal.print_document(DatasetsDocument(datasets=found))
        return
    rows = [
        (
            each.name,
            each.state,
            str(each.samples) if each.samples else "",
            ", ".join(array.name for array in each.arrays),
            time_text(each.created_ns),
        )
        for each in found
    ]
    terminal.print_rows(("dataset", "state", "samples", "arrays", "made"), rows)


@datasets.command("get")
@click.argument("name")
@server_options
@json_option
def get_command(name: str, server: str | None, state: Path) -> None:
    """Shows a dataset and its arrays."""
    from edgeconv.cli.describe import describe_dataset
    from edgeconv.cli.names import full_name
    from edgeconv.cli.reading import dataset_document

    with connected(server, state) as client:
        dataset = dataset_document(client.get_dataset(full_name(name, "datasets")))
    describe_dataset(dataset, terminal_of())


@datasets.command("upload")
@click.argument("file", type=FILE)
@click.option("--name", help="Name of the dataset.  [after the file and its content]")
@click.option("--model", help="A model version to check it against.")
@server_options
@json_option
def upload_command(
    file: Path, name: str | None, model: str | None, server: str | None, state: Path
) -> None:
    """Uploads an npz FILE and waits until the server has read it."""
    from edgeconv.cli.dataset_files import check_declared, data_file_named, read_declared
    from edgeconv.cli.describe import describe_dataset
    from edgeconv.cli.names import full_name, version_name
    from edgeconv.cli.reading import dataset_document
    from edgeconv.cli.transfer_progress import transfer
    from edgeconv.cli.uploads import dataset_name

    terminal = terminal_of()
    full = full_name(name, "datasets") if name else dataset_name(file)
    version = version_name(model) if model else ""
    declared = read_declared(file)
    with connected(server, state) as client:
        if version:
            found = client.get_model_version(version)
            version = found.name
            check_declared({file: declared}, found)
        with transfer(terminal, f"uploading {file.name}") as progress:
            client.create_dataset(full, file, version, progress=progress)
        with data_file_named(file):
            dataset = client.wait_dataset(full)
    describe_dataset(dataset_document(dataset), terminal)


@datasets.command("download")
@click.argument("name")
@folder_option
@server_options
@json_option
def download_command(name: str, out: Path, server: str | None, state: Path) -> None:
    """Writes the file of a dataset into a folder."""
    from edgeconv.cli.downloads import download_files
    from edgeconv.cli.names import full_name

    with connected(server, state) as client:
        dataset = client.get_dataset(full_name(name, "datasets"))
        download_files(client, dataset.name, dataset.files, out, terminal_of())


@datasets.command("delete")
@click.argument("name")
@server_options
@json_option
def delete_command(name: str, server: str | None, state: Path) -> None:
    """Forgets a dataset."""
    from edgeconv.cli.describe import say_done
    from edgeconv.cli.names import full_name

    full = full_name(name, "datasets")
    with connected(server, state) as client:
        client.delete_dataset(full)
    say_done(full, "deleted", terminal_of())
