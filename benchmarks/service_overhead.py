"""What the service costs over a script that calls the same library.

    python -m benchmarks.service_overhead            five alternating rounds
    python -m benchmarks.service_overhead --rounds 2 fewer, for a first look
    python -m benchmarks.service_overhead --quick    one round on a small model

Three questions, each answered beside a peer in the same run:

1. A fixed job without benchmarks, through the service and by a script in a fresh process,
   imports on both sides. Cold: the server is started with the clock running, on an empty
   state folder. Warm: it has done the job before, with another seed and other evaluation
   samples, so that only what reads the model alone is remembered. Medians of the ratios of
   alternating rounds.
2. The same job again on the warm server with only its last step changed, against that
   step's own time.
3. An upload of 200 MB against a bare gRPC stream of the same bytes, and the server's memory.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.bare_stream import running_peer, send
from benchmarks.other_work import ProcessorTime, in_words, other_processors
from benchmarks.server_process import ServerProcess, running_server
from demo.digits import write_model
from demo.text_direction import write_datasets
from edgeconv.client.sync import Client
from edgeconv.v1 import conversions_pb2
from tools.fetch_models import fetch

MAX_WALL_RATIO = 1.10
MAX_REPEAT_EXTRA_S = 1.0
MIN_UPLOAD_RATIO = 0.5
MAX_UPLOAD_GROWTH_BYTES = 64 * 1024 * 1024
UPLOAD_BYTES = 200_000_000


@dataclass(frozen=True)
class NamedJob:
    """A job that is the same on both sides; `seed` and `last_bound` are filled in.

    Attributes:
        shapes: Input name → whole shape, as flags write it.
    """

    name: str
    model: Path
    calibration: Path
    evaluation: Path
    shapes: dict[str, str]

    def recipe(self, seed: int, last_bound_db: float = 1.0) -> str:
        """YAML of five variants; the bound changes one verification and nothing else."""
        return (
            f"version: 1\nseed: {seed}\ntargets: [onnx, tflite]\n"
            "data: {calibration: calibration, evaluation: evaluation}\n"
            "variants:\n  fp32: {}\n  int8: {precision: int8}\n"
            "  last: {precision: int8, calibration: {method: percentile},"
            f" targets: [onnx], min_snr_db: {last_bound_db}}}\n"
        )


LAST_VERIFY = "last.onnx/verify"


def of_round(job: NamedJob, seed: int, folder: Path) -> NamedJob:
    """The job without its first `seed` evaluation samples: no step finds an earlier result."""
    with np.load(job.evaluation) as arrays:
        left = {name: arrays[name][seed:] for name in arrays.files}
    evaluation = folder / f"evaluation-{seed}.npz"
    np.savez_compressed(evaluation, **left)
    return replace(job, evaluation=evaluation)


def prepare(folder: Path, *, quick: bool) -> NamedJob:
    """The job's files: the digits network when quick, else the text-direction model."""
    if quick:
        model, calibration, evaluation = write_model(folder)
        return NamedJob("digits", model, calibration, evaluation, {})
    calibration, evaluation = write_datasets(folder)
    shapes = {"x": "1,3,48,192"}
    return NamedJob("text direction", fetch("cls"), calibration, evaluation, shapes)


def by_script(job: NamedJob, seed: int) -> float:
    """Seconds of a fresh process that calls the library."""
    with tempfile.TemporaryDirectory() as out:
        recipe = Path(out) / "recipe.yaml"
        recipe.write_text(job.recipe(seed))
        given = {
            "model": str(job.model),
            "recipe": str(recipe),
            "calibration": str(job.calibration),
            "evaluation": str(job.evaluation),
            "shapes": job.shapes,
            "out": str(Path(out) / "variants"),
        }
        command = [sys.executable, "-m", "benchmarks.conversion_script", json.dumps(given)]
        began = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        took = time.monotonic() - began
        if done.returncode:
            raise RuntimeError(f"the script failed: {done.stderr[-4000:]}")
        return took


def by_service(client: Client, job: NamedJob, recipe: str) -> conversions_pb2.Conversion:
    """The whole way of a user: upload, inspect, convert, wait."""
    version = client.create_model_version("models/overhead", [job.model])
    version = client.wait_model_version(version.name)
    datasets = {}
    for role, path in (("calibration", job.calibration), ("evaluation", job.evaluation)):
        name = f"datasets/overhead-{role}-{os.urandom(4).hex()}"
        datasets[role] = client.create_dataset(name, path, version.name).name
        client.wait_dataset(name)
    conversion = client.create_conversion(
        version.name, recipe=recipe, datasets=datasets, shapes=job.shapes, device_selector="none"
    )
    for _ in client.watch_conversion(conversion.name):
        pass
    conversion = client.get_conversion(conversion.name)
    if conversion.state != conversions_pb2.CONVERSION_STATE_SUCCEEDED:
        raise RuntimeError(f"the job did not succeed: {conversion.error} {conversion.notes}")
    return conversion


def cold(job: NamedJob, seed: int) -> float:
    """Seconds from the start of a server on an empty folder to the end of the job."""
    with tempfile.TemporaryDirectory() as state:
        began = time.monotonic()
        with running_server(Path(state)) as server, server.connect() as client:
            by_service(client, job, job.recipe(seed))
            return time.monotonic() - began


def warm(client: Client, job: NamedJob, seed: int) -> float:
    """Seconds on a server that has done the job with another seed."""
    began = time.monotonic()
    conversion = by_service(client, job, job.recipe(seed))
    took = time.monotonic() - began
    reused = [step.id for step in conversion.steps if step.reused]
    if any("/" in step for step in reused):
        raise RuntimeError(f"not the same work: {', '.join(reused)} came from memory")
    return took


def repeat_with_last_step_changed(client: Client, job: NamedJob) -> tuple[float, float]:
    """Seconds of that step alone, and of the whole job with only it changed."""
    seed = 1_000_000
    first = by_service(client, job, job.recipe(seed))
    [step] = [step for step in first.steps if step.id == LAST_VERIFY]
    began = time.monotonic()
    second = by_service(client, job, job.recipe(seed, last_bound_db=2.0))
    took = time.monotonic() - began
    ran = [step.id for step in second.steps if not step.reused]
    if ran != [LAST_VERIFY]:
        raise RuntimeError(f"ran again: {', '.join(ran)}")
    return step.wall_time.ToNanoseconds() / 1e9, took


def upload(server: ServerProcess, client: Client, folder: Path, rounds: int) -> dict[str, float]:
    """Medians of seconds, and how far the server's memory rose, in bytes.

    A bare stream keeps nothing and checks nothing. What a plain write of the same bytes to
    the same disk takes is told beside it, and what one digest of them takes, since an upload
    has to do all three, the digest on both sides.
    """
    ours, bare, written, digested, growth = [], [], [], [], []
    with running_peer() as peer:
        for _ in range(rounds):
            file = folder / "upload.bin"
            content = os.urandom(UPLOAD_BYTES)
            began = time.monotonic()
            file.write_bytes(content)
            written.append(time.monotonic() - began)
            began = time.monotonic()
            hashlib.sha256(content).digest()
            digested.append(time.monotonic() - began)
            bare.append(asyncio.run(send(peer, content)))
            server.reset_peak()
            before = server.resident_bytes()
            began = time.monotonic()
            client.upload([file])
            ours.append(time.monotonic() - began)
            growth.append(server.peak_bytes() - before)
    ratio = statistics.median(b / o for b, o in zip(bare, ours, strict=True))
    return {
        "upload_s": statistics.median(ours),
        "bare_s": statistics.median(bare),
        "plain_write_s": statistics.median(written),
        "digest_s": statistics.median(digested),
        "ratio": ratio,
        "server_growth_bytes": max(growth),
    }


def run(folder: Path, *, quick: bool, rounds: int) -> dict[str, float]:
    """All figures by name."""
    job = prepare(folder, quick=quick)
    seconds: dict[str, list[float]] = {"script": [], "cold": [], "warm": []}
    with running_server(folder / "state") as server, server.connect() as client:
        by_service(client, job, job.recipe(0))
        for seed in range(1, rounds + 1):
            this = of_round(job, seed, folder)
            seconds["script"].append(by_script(this, seed))
            seconds["cold"].append(cold(this, seed))
            seconds["warm"].append(warm(client, this, seed))
            words = ", ".join(f"{way} {each[-1]:.1f} s" for way, each in seconds.items())
            print(f"round {seed}: {words}", file=sys.stderr, flush=True)
        step_s, repeat_s = repeat_with_last_step_changed(client, job)
        figures = upload(server, client, folder, 1 if quick else 3)
    for way, each in seconds.items():
        figures[f"{way}_s"] = statistics.median(each)
    for way in ("cold", "warm"):
        pairs = zip(seconds[way], seconds["script"], strict=True)
        figures[f"{way}_ratio"] = statistics.median(own / script for own, script in pairs)
    return figures | {"last_step_s": step_s, "repeat_s": repeat_s, "rounds": rounds}


def table(figures: dict[str, float]) -> tuple[Table, bool]:
    """The figures with their bounds, and whether all held."""
    shown = Table("what", "peer", "ours", "figure", "bound", "")
    rows = [
        (
            f"job through a {way} server",
            f"{figures['script_s']:.1f} s by script",
            f"{figures[f'{way}_s']:.1f} s",
            f"{figures[f'{way}_ratio']:.2f} ×",
            f"≤ {MAX_WALL_RATIO:.2f} ×",
            figures[f"{way}_ratio"] <= MAX_WALL_RATIO,
        )
        for way in ("cold", "warm")
    ]
    extra = figures["repeat_s"] - figures["last_step_s"]
    rows += [
        (
            "same job, last step changed",
            f"{figures['last_step_s']:.2f} s that step alone",
            f"{figures['repeat_s']:.2f} s",
            f"+{extra:.2f} s",
            f"≤ +{MAX_REPEAT_EXTRA_S:.0f} s",
            extra <= MAX_REPEAT_EXTRA_S,
        ),
        (
            "upload of 200 MB",
            f"{figures['bare_s']:.2f} s bare stream"
            f" (writing the bytes alone: {figures['plain_write_s']:.2f} s,"
            f" one digest of them: {figures['digest_s']:.2f} s)",
            f"{figures['upload_s']:.2f} s",
            f"{figures['ratio']:.2f} of its speed",
            f"≥ {MIN_UPLOAD_RATIO}",
            figures["ratio"] >= MIN_UPLOAD_RATIO,
        ),
        (
            "server's memory meanwhile",
            "",
            f"+{figures['server_growth_bytes'] / 2**20:.0f} MiB",
            "",
            f"≤ +{MAX_UPLOAD_GROWTH_BYTES / 2**20:.0f} MiB",
            figures["server_growth_bytes"] <= MAX_UPLOAD_GROWTH_BYTES,
        ),
    ]
    for *cells, held in rows:
        shown.add_row(*map(str, cells), "held" if held else "MISSED")
    return shown, all(row[-1] for row in rows)


def main() -> int:
    """Prints the table and writes the JSON; 1 when a bound was missed."""
    parser = argparse.ArgumentParser(description="What the service costs over a script.")
    parser.add_argument("--quick", action="store_true", help="one round on a small model")
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds of the job")
    parser.add_argument("--json", type=Path, help="where the figures are written")
    arguments = parser.parse_args()
    before = ProcessorTime.now()
    with tempfile.TemporaryDirectory() as folder:
        rounds = 1 if arguments.quick else arguments.rounds
        figures = run(Path(folder), quick=arguments.quick, rounds=rounds)
    others = other_processors(before, ProcessorTime.now())
    shown, held = table(figures)
    Console().print(shown)
    Console().print(f"Medians of {figures['rounds']:.0f} alternating rounds. {in_words(others)}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())
