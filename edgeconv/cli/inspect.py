"""`edgeconv inspect`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeconv.cli.options import DURATION, FILE, more_files_option
from edgeconv.cli.terminal import json_option, terminal_of

if TYPE_CHECKING:
    from edgeconv.recipe.inspection import Inspection
    from edgeconv.sandbox.child import Child

_ENTRY = "edgeconv.conversion.job_child:main"


@click.command(short_help="Reads a model: inputs, outputs, operators, weights.")
@click.argument("model", type=FILE)
@more_files_option
@click.option(
    "--inspection-time",
    type=DURATION,
    metavar="10min",
    default="10min",
    show_default=True,
    help="The longest that it may take.",
)
@json_option
def inspect(model: Path, more: tuple[Path, ...], inspection_time: float) -> None:
    """Reads MODEL (.onnx or .pt2) here, in a child process of its own; needs no server."""
    import asyncio

    from edgeconv.cli.bench_progress import measuring
    from edgeconv.cli.describe import print_inspection
    from edgeconv.cli.documents import InspectionDocument
    from edgeconv.cli.extras import require_extra
    from edgeconv.cli.uploads import model_files

    require_extra("server", "Reading a model here")
    terminal = terminal_of()
    files = model_files(model, more)
    with measuring(terminal) as report:
        report(-1.0, f"Reading {model.name} …")
        inspection = asyncio.run(_inspect(files, inspection_time, report))
    if terminal.json:
        terminal.print_document(InspectionDocument(path=str(model), inspection=inspection))
    else:
        print_inspection(inspection, terminal)


async def _inspect(
    files: Sequence[Path], limit_s: float, report: Callable[[float, str], None]
) -> Inspection:
    import tempfile

    from edgeconv.base.bundle import scan_bundle
    from edgeconv.bench.lock import lock_files
    from edgeconv.cli.staging import stage
    from edgeconv.recipe.inspection import Inspection
    from edgeconv.sandbox.child import Child
    from edgeconv.sandbox.walls import Room

    with tempfile.TemporaryDirectory(prefix="edgeconv-inspect-") as name:
        root = Path(name)
        source, own = root / "source", root / "own"
        # In the child's own folder, where all that it writes is counted.
        made, scratch = own / "made", own / "scratch"
        stage(files, source)
        for folder in (own, made, scratch):
            folder.mkdir()
        digest = scan_bundle(source).digest
        message: dict[str, Any] = {
            **{"do": "step", "kind": "inspect", "name": "inspect", "options": {}, "seed": 0},
            "inputs": {"source": {"folder": str(source), "digest": digest, "facts": {}}},
            "folder": str(made),
            "scratch": str(scratch),
        }
        room = Room(reads=(source, *lock_files()))
        async with await Child.start(_ENTRY, folder=own, room=room) as child:
            warning = (await child.walls()).warning
            child.watch()
            await child.send(message)
            told = (await _answer(child, limit_s, report))["facts"]["inspection"]
        inspection = Inspection.model_validate(told)
        notes = (*inspection.notes, *([warning] if warning else []))
        return inspection.model_copy(update={"notes": notes})


async def _answer(
    child: Child, limit_s: float, report: Callable[[float, str], None]
) -> dict[str, Any]:
    """What the child's step came to; of its progress only a wait is news.

    A wait for a measurement on this machine does not count.
    """
    import asyncio

    from edgeconv.server.jobs.child_words import done_of, error_of, progress_of
    from edgeconv.server.jobs.step_time import StepClock, took_too_long

    running = asyncio.get_running_loop()
    clock = StepClock(limit_s, running.time())
    try:
        async with asyncio.timeout_at(clock.ends_s) as timer:
            while True:
                answer = await child.receive()
                if "progress" in answer:
                    _, words = progress_of(answer)
                    clock.hear(words, running.time())
                    timer.reschedule(clock.ends_s)
                    if "waiting for" in words:
                        report(-1.0, words)
                if "failed" in answer:
                    raise error_of(answer["failed"])
                if "done" in answer:
                    return done_of("inspect", answer["done"])
    except ValueError as error:
        raise await child.accuse(str(error)) from None
    except TimeoutError:
        raise took_too_long("inspect", "inspect", limit_s, command="Run it again") from None
