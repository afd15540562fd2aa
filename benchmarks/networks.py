"""Every network to both targets through the Program, against its source.

    python -m benchmarks.networks                all networks at full size
    python -m benchmarks.networks --quick        images of 64 pixels, fewer latency rounds
    python -m benchmarks.networks --only silero --json networks.json

Three trained networks that come in packages, and four with seeded random weights, each of
these from a `.pt2` and from torch's own ONNX export. Each network is taken in, lowered to
ONNX and TFLite, and verified in a fresh process: strict signature, and at least 60 dB or
an error of at most 1e-5 of the largest value on 16 samples, per output. Then both files
are timed by turns in one more process. Exit code 1 when any of it fails.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.other_work import ProcessorTime, in_words, other_processors
from tools.fetch_models import fetch

_SAMPLES = 16
_VOCABULARY = 5000
_ROUNDS, _QUICK_ROUNDS = 30, 6
_LIMIT_S = 900
_WIDTH = 110


@dataclass(frozen=True)
class Network:
    """One case.

    Attributes:
        form: "pt2" or "onnx" for networks made here; "" for trained ones.
    """

    name: str
    source: str
    form: str = ""
    shapes: dict[str, list[int]] = field(default_factory=dict)


NETWORKS = (
    Network("cls", "cls", shapes={"x": [1, 3, 48, 192]}),
    Network("rec", "rec", shapes={"x": [1, 3, 48, 320]}),
    Network("silero", "silero", shapes={"input": [31, 576]}),
    *(
        Network(f"{source}.{form}", source, form)
        for source in ("resnet18", "mobilenetv2", "vit", "bert")
        for form in ("pt2", "onnx")
    ),
)


def measure(network: Network, folder: Path, *, quick: bool) -> dict[str, Any]:
    """The figures of one network; see `benchmarks.network_case.run_case`."""
    folder.mkdir()
    given = {
        "name": network.name,
        "model": str(_model(network, folder, quick)),
        "shapes": network.shapes,
        "data": str(data) if (data := _data(network, folder)) else "",
        "folder": str(folder / "steps"),
    }
    figures = _child("benchmarks.network_case", json.dumps(given))
    targets = figures.get("targets", {})
    files = [targets.get(name, {}).get("file") for name in ("onnx", "tflite")]
    if all(files):
        rounds = str(_QUICK_ROUNDS if quick else _ROUNDS)
        figures["latency"] = _child("benchmarks.alternating", *files, "--rounds", rounds)
    return figures


def _model(network: Network, folder: Path, quick: bool) -> Path:
    if not network.form:
        return fetch(network.source).resolve()
    small = ["--small"] if quick else []
    command = ["benchmarks.nets.files", network.source, network.form, str(folder), *small]
    done = _run(*command)
    if done.returncode:
        raise RuntimeError(f"{network.name} could not be made: {done.stderr[-2000:]}")
    return folder / f"{network.source}.{network.form}"


def _data(network: Network, folder: Path) -> Path | None:
    """Token ids over the whole vocabulary, and masks that hide the end of the text."""
    if network.source != "bert":
        return None
    rng = np.random.default_rng(7)
    ids = rng.integers(0, _VOCABULARY, (_SAMPLES, 1, 64))
    lengths = rng.integers(8, 65, (_SAMPLES, 1, 1))
    mask = (np.arange(64) < lengths).astype(np.int64)
    made = folder / "data"
    made.mkdir()
    np.savez(made / "data.npz", input_ids=ids, attention_mask=mask)
    return made


def _child(module: str, *arguments: str) -> dict[str, Any]:
    """The JSON that a fresh process prints last, or its failure as `error`."""
    try:
        done = _run(module, *arguments)
    except subprocess.TimeoutExpired:
        return {"error": f"{module} took more than {_LIMIT_S} s"}
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        words = done.stderr.strip().splitlines() or ["nothing"]
        return {"error": f"{module} ended with {done.returncode}: {words[-1]}"}
    figures: dict[str, Any] = json.loads(lines[-1])
    return figures


def _run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LIMIT_S)


def failures(name: str, figures: dict[str, Any]) -> Iterator[str]:
    """What did not hold, a sentence each."""
    if "error" in figures:
        yield f"{name}: {figures['error']}"
        return
    for target, made in figures["targets"].items():
        if "error" in made:
            yield f"{name} → {target}: {made['error']}"
        for output in made.get("outputs", ()):
            if not output["passed"]:
                db, error = output["snr_db"], output["max_abs_error"]
                yield f"{name} → {target}: {output['output']} has {db} dB, error {error}"
    if "error" in figures.get("latency", {}):
        yield f"{name}: {figures['latency']['error']}"


def table(results: dict[str, dict[str, Any]]) -> Table:
    """A row per network and target."""
    made = Table(title="Networks through the Program, fp32")
    for title in ("network", "target", "agreement", "seconds", "peak memory", "size/weights",
                  "p50", "LiteRT/ORT"):  # fmt: skip
        made.add_column(title, justify="left" if title in ("network", "target") else "right")
    for name, figures in results.items():
        for row in _rows(name, figures):
            made.add_row(*row)
    return made


def _rows(name: str, figures: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    if "error" in figures:
        yield (name, "–", "failed", "–", "–", "–", "–", "–")
        return
    latency = figures.get("latency", {})
    p50 = {target: latency.get(f"{target}_p50_ns") for target in figures["targets"]}
    for target, made in figures["targets"].items():
        if "error" in made:
            yield (name, target, "failed", "–", "–", "–", "–", "–")
            continue
        seconds = figures["intake_seconds"] + made["seconds"]
        ratio = ""
        if target == "tflite" and p50["onnx"] and p50["tflite"]:
            ratio = f"{p50['tflite'] / p50['onnx']:.2f}"
        taken = p50[target]
        yield (
            name,
            target,
            _agreement(made["outputs"]),
            f"{seconds:.1f}",
            f"{figures['peak_memory_bytes'] / 2**20:.0f} MiB",
            f"{made['size_bytes'] / figures['weights_bytes']:.2f}",
            f"{taken / 1e6:.2f} ms" if taken else "–",
            ratio,
        )


def _agreement(outputs: list[dict[str, Any]]) -> str:
    levels = [f"{each['snr_db']:.0f}" for each in outputs if each["snr_db"] is not None]
    passed = all(each["passed"] for each in outputs)
    # Outputs that don't vary over the samples have an error and no ratio.
    shown = f"{'/'.join(levels)} dB" if levels else "no variation"
    return shown if passed else f"{shown} FAILED"


def main() -> int:
    """Runs all networks, prints the table; 1 when something failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.networks", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument("--only", default="", help="networks whose name contains this")
    given = parser.parse_args()
    console = Console(width=max(Console().width, _WIDTH))
    results = {}
    before = ProcessorTime.now()
    with tempfile.TemporaryDirectory() as folder:
        for network in NETWORKS:
            if given.only in network.name:
                console.print(f"{network.name} …", highlight=False)
                results[network.name] = measure(
                    network, Path(folder) / network.name, quick=given.quick
                )
    others = other_processors(before, ProcessorTime.now())
    console.print(table(results))
    console.print(in_words(others), highlight=False)
    failed = [words for name, figures in results.items() for words in failures(name, figures)]
    for words in failed:
        console.print(f"FAILED {words}", style="red", markup=False, highlight=False)
    if given.json:
        given.json.write_text(json.dumps(results, indent=2))
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
