"""`edgeconv bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason
from edgeconv.cli.connect import server_options
from edgeconv.cli.options import FILE, measuring_options, more_files_option, shape_option
from edgeconv.cli.terminal import json_option, terminal_of

if TYPE_CHECKING:
    from edgeconv.bench.request import MeasureRequest
    from edgeconv.cli.documents import BenchDocument
    from edgeconv.cli.terminal import Terminal


@click.command(short_help="Measures a file, here and now or on a device.")
@click.argument("file", type=FILE)
@click.option("--runtime", help="onnxruntime or litert.  [the one of the file's format]")
@measuring_options
@click.option("--spinning", is_flag=True, help="Let idle threads of the runtime spin.")
@shape_option
@click.option("--data", type=FILE, metavar="FILE.npz", help="Inputs.  [seeded synthetic ones]")
@more_files_option
@click.option(
    "--device",
    metavar="SELECTOR",
    help="Measure an ONNX file on a device of the server instead.",
)
@server_options
@json_option
def bench(
    file: Path,
    runtime: str | None,
    effort: str,
    threads: int,
    spinning: bool,
    shapes: tuple[str, ...],
    data: Path | None,
    more: tuple[Path, ...],
    device: str | None,
    server: str | None,
    state: Path,
) -> None:
    """Measures FILE (.onnx or .tflite) on this machine, in fresh processes, without a server.

    Prints phases, percentiles with their interval and n, memory, and whether the figures
    can be trusted. With --device the server's device measures instead.
    """
    import asyncio

    from edgeconv.bench.request import MeasureRequest
    from edgeconv.cli.convert_request import parse_shapes
    from edgeconv.cli.describe import print_summary
    from edgeconv.cli.uploads import model_files
    from edgeconv.runtimes.catalogue import check_format, runtime_by_format, runtime_by_name

    terminal = terminal_of()
    _refuse_source(file)
    wanted = parse_shapes(shapes)
    if device is not None and (runtime is not None or spinning or data is not None):
        raise click.UsageError("--device excludes --runtime, --spinning and --data.")
    paths = model_files(file, more)
    if device is not None:
        from edgeconv.cli.device_bench import DeviceBench, bench_on_device

        asked = DeviceBench(paths, device, effort, threads, wanted)
        document = bench_on_device(asked, server, state, terminal)
    else:
        spec = runtime_by_name(runtime) if runtime else runtime_by_format(file.suffix[1:])
        check_format(spec, file.name)
        spec.require()
        request = MeasureRequest(
            runtime=spec.name,
            effort=effort,
            threads=threads,
            spinning=spinning,
            shapes={name: tuple(map(int, text.split(","))) for name, text in wanted.items()},
        )
        document = asyncio.run(_measure(paths, request, data, terminal))
    if terminal.json:
        terminal.print_document(document)
    else:
        print_summary(document.summary, terminal)


def _refuse_source(file: Path) -> None:
    if file.suffix == ".pt2":
        raise EdgeconvError(
            Reason.FIELD_INVALID,
            f"{file.name!r} is a model's source, which no runtime of a device can run.",
            fix=f"`edgeconv convert {file}` makes files that can, and measures them.",
            violations=[FieldViolation("file", "a source, not a runtime's file")],
            path=file,
        )


async def _measure(
    files: list[Path], request: MeasureRequest, data: Path | None, terminal: Terminal
) -> BenchDocument:
    import tempfile
    from contextlib import nullcontext

    from edgeconv.bench.measure import measure
    from edgeconv.bench.summary import summarize
    from edgeconv.cli.bench_progress import measuring
    from edgeconv.cli.dataset_files import data_file_named
    from edgeconv.cli.documents import BenchDocument
    from edgeconv.cli.staging import stage

    with tempfile.TemporaryDirectory(prefix="edgeconv-bench-") as name:
        folder, scratch = Path(name) / "files", Path(name) / "scratch"
        stage(files, folder)
        scratch.mkdir()
        named = data_file_named(data) if data else nullcontext()
        with measuring(terminal) as report, named:
            measurement = await measure(
                folder, files[0].name, request, samples=data, scratch=scratch, report=report
            )
    record = measurement.record
    return BenchDocument(path=str(files[0]), summary=summarize(record), record=dict(record))
