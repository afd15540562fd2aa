"""`edgeconv convert`."""

from __future__ import annotations

from pathlib import Path

import click

from edgeconv.cli.connect import server_options
from edgeconv.cli.terminal import json_option, terminal_of

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(short_help="Converts a model, verifies and measures what comes out.")
@click.argument("model", type=_FILE)
@click.option("--recipe", type=_FILE, metavar="FILE", help="A recipe in YAML; see `recipes`.")
@click.option("--target", metavar="onnx,tflite", help="Formats to make.  [both]")
@click.option(
    "--precision",
    metavar="fp32,fp16,int8,…",
    help="Any of fp32, fp16, int8, int8-dynamic, int8-weights.  "
    "[fp32,fp16,int8-weights; with --data int8 too]",
)
@click.option(
    "--prune", type=float, metavar="RATIO", help="Also remove this share of channels, 0 to 1."
)
@click.option(
    "--data",
    type=_FILE,
    metavar="FILE.npz",
    help="One array per input, samples first; `label` if there are labels.",
)
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    metavar="NAME=1,3,224,224",
    help="Whole shape of an input with open axes; may be repeated.",
)
@click.option(
    "--file",
    "more",
    type=_FILE,
    multiple=True,
    help="Another file of the model; data files that it names beside it come by themselves.",
)
@click.option(
    "--device",
    metavar="SELECTOR",
    help="Devices that measure: any, none, a name, a selector.  [any here, none on a --server]",
)
@click.option(
    "--effort",
    type=click.Choice(["quick", "standard", "thorough"]),
    default="quick",
    show_default=True,
    help="How long to measure.",
)
@click.option("--threads", type=click.IntRange(0, 256), default=0, help="Threads of the runtime.")
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
    from edgeconv.cli.output_folder import check_replaceable, write_job
    from edgeconv.cli.uploads import model_files

    terminal = terminal_of(context)
    request = request_of(ConvertFlags(recipe, target, precision, prune, data))
    wanted_shapes = parse_shapes(shapes)
    files = model_files(model, more)
    folder = (out or Path(f"{model.stem}-edgeconv")).absolute()
    check_replaceable(folder)
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
            result = write_job(client, result, folder, terminal)
    if terminal.json:
        terminal.print_document(result)
    else:
        from edgeconv.report.table import print_table

        print_table(result, terminal.out)
        if folder.exists() and result.state in ("succeeded", "partly_succeeded"):
            terminal.print(f"Files and report: {folder / 'report.html'}")
    context.exit(exit_code_of(result))
