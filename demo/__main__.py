"""Takes two real models the whole way and measures them here.

    python -m demo            both models, whole test sets
    python -m demo --quick    smaller test sets, for tests

Starts the service and an agent for this machine, converts through them, prints the tables
and what was promised of them, and says where the files and the report lie. The exit code
is 0 when every promise held, else 1.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from demo import bars
from edgeconv.report.table import print_table
from edgeconv.results.job import JobResult
from tools.fetch_models import fetch

HERE = Path(__file__).resolve().parent
QUICK_LINES = 100
QUICK_CALIBRATION_LINES = 32


def main() -> int:
    """Runs the demo; 0 when every promise held."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller and shorter, for tests")
    parser.add_argument("--out", type=Path, default=Path("demo-out"))
    arguments = parser.parse_args()
    began = time.monotonic()
    out: Path = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    console = Console()
    shutil.rmtree(out / "state", ignore_errors=True)
    console.print("[bold]Preparing[/bold] data and the digits network …")
    prepare(out, quick=arguments.quick)
    kept = True
    with service(out / "state"):
        for file, shape, promise in (
            (out / "text-direction.onnx", ["--shape", "x=1,3,48,192"], bars.TEXT_DIRECTION),
            (out / "digits.pt2", [], bars.DIGITS),
        ):
            console.rule(f"[bold]{promise.title}")
            result = convert(file, shape, out / "state")
            print_table(result, console)
            kept &= say(bars.bars(result, promise, judge_accuracy=not arguments.quick), console)
            console.print(f"Report: {report_of(file)}", soft_wrap=True, highlight=False)
    console.rule()
    words = "Every promise held." if kept else "Not every promise held."
    console.print(f"{words} The whole demo took {time.monotonic() - began:.0f} s.")
    return 0 if kept else 1


def prepare(out: Path, *, quick: bool) -> None:
    """Writes both models, their data and their recipes into `out`."""
    # Here, so that `--help` needs no torch.
    from demo import digits, text_direction

    shutil.copyfile(fetch("cls"), out / "text-direction.onnx")
    if quick:
        text_direction.write_datasets(
            out, test_lines=QUICK_LINES, calibration_lines=QUICK_CALIBRATION_LINES
        )
    else:
        text_direction.write_datasets(out)
    digits.write_model(out)
    for name in ("text-direction", "digits"):
        shutil.copyfile(HERE / f"{name}.yaml", out / f"{name}.yaml")


@contextlib.contextmanager
def service(state: Path) -> Iterator[None]:
    """A server and an agent for this machine, from ready until the end of the block.

    Raises:
        SystemExit: they did not start.
    """
    command = [
        *(sys.executable, "-m", "edgeconv", "up", "--state", str(state), "--json"),
        *("--die-with-parent", str(os.getpid())),
    ]
    log = state.with_name("service.log")
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            if not process.stdout.readline():
                line = f"{' '.join(command)} ended with {process.wait()}"
                raise SystemExit(f"{line}:\n{log.read_text()}")
            yield
        finally:
            process.terminate()


def convert(model: Path, shape: list[str], state: Path) -> JobResult:
    """Converts and measures with the product's own command line.

    Args:
        model: Its recipe lies beside it, with the same stem.
        shape: Flags for dynamic axes.
        state: State folder of the running service.

    Raises:
        SystemExit: the command failed as a whole.
    """
    out = report_of(model).parent
    command = [
        *(sys.executable, "-m", "edgeconv", "convert", str(model), *shape),
        *("--recipe", str(model.with_suffix(".yaml")), "--out", str(out), "--json"),
        *("--state", str(state), "--effort", "quick"),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    try:
        return JobResult.model_validate(json.loads(done.stdout))
    except ValueError as error:
        line = " ".join(command)
        raise SystemExit(f"{line}\nended with {done.returncode}: {done.stdout[:2000]}") from error


def report_of(model: Path) -> Path:
    """Where the report of a model of the demo lies; the files lie beside it."""
    return model.with_suffix("") / "report.html"


def say(found: list[bars.Bar], console: Console) -> bool:
    """Prints each promise with what came of it; whether none was broken."""
    for bar in found:
        mark = {True: "[green]held  [/]", False: "[red]BROKEN[/]", None: "[dim]–     [/]"}
        console.print(mark[bar.held], bar.words, highlight=False, soft_wrap=True)
    return all(bar.held is not False for bar in found)


if __name__ == "__main__":
    raise SystemExit(main())
