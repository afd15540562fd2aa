"""`edgeconv convert`."""

from __future__ import annotations

from pathlib import Path

import click

from edgeconv.cli.connect import server_options
from edgeconv.cli.options import (
    FILE,
    measuring_options,
    more_files_option,
    shape_option,
    variant_options,
)
from edgeconv.cli.terminal import json_option, terminal_of


@click.command(short_help="Converts a model, verifies and measures what comes out.")
@click.argument("model", type=FILE)
@click.option("--recipe", type=FILE, metavar="FILE", help="A recipe in YAML; see `recipes`.")
@variant_options
@shape_option
@more_files_option
@click.option(
    "--device",
    metavar="SELECTOR",
    help="Devices that measure: any, none, a name, a selector.  [any here, none on a --server]",
)
@measuring_options
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder for files, result.json and report.html.  [./MODEL-edgeconv]",
)
@server_options
@json_option
@click.pass_context
def convert(
    context: click.Context,
    model: Path,
    recipe: Path | None,
    target: str | None,
    precision: str | None,
    prune: float | None,
    data: Path | None,
    shapes: tuple[str, ...],
    more: tuple[Path, ...],
    device: str | None,
    effort: str,
    threads: int,
    out: Path | None,
    server: str | None,
    state: Path,
) -> None:
    """Converts MODEL (.onnx or .pt2), verifies and measures what comes out.

    Works with nothing running: it then starts a server and an agent that end with it. With
    --server it runs there. Writes the files, result.json and report.html into one folder,
    whole or not at all.
    """
    from edgeconv.cli.connect import client_of
    from edgeconv.cli.conversion_run import Measuring, exit_code_of, run_conversion
    from edgeconv.cli.convert_request import ConvertFlags, parse_shapes, request_of
    from edgeconv.cli.local_server import running_server
    from edgeconv.cli.output_folder import check_replaceable, source_path, write_job
    from edgeconv.cli.uploads import model_files

    terminal = terminal_of(context)
    request = request_of(ConvertFlags(recipe, target, precision, prune, data))
    wanted_shapes = parse_shapes(shapes)
    files = model_files(model, more)
    folder = (out or Path(f"{model.stem}-edgeconv")).absolute()
    source = source_path(model, folder)
    check_replaceable(folder, source=source)
    selector = device or ("none" if server else "any")
    with running_server(server, state, terminal) as endpoint, client_of(endpoint) as client:
        result = run_conversion(
            client,
            request,
            files,
            shapes=wanted_shapes,
            measuring=Measuring(selector, effort, threads),
            terminal=terminal,
        )
        if result.state in ("succeeded", "partly_succeeded"):
            result = result.model_copy(update={"source": source})
            result = write_job(client, result, folder, terminal)
    if terminal.json:
        terminal.print_document(result)
    else:
        from edgeconv.report.table import print_table

        print_table(result, terminal.out)
        if folder.exists() and result.state in ("succeeded", "partly_succeeded"):
            terminal.print(f"Files and report: {folder / 'report.html'}")
        elif any(variant.state == "verified" for variant in result.variants):
            words = (
                f"No files were written; `edgeconv jobs download {result.name}` gets what there is."
            )
            terminal.say(words, style="yellow")
    context.exit(exit_code_of(result))
