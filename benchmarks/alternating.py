"""Latency of an ONNX file and a TFLite file of the same network, by turns in one process.

    python -m benchmarks.alternating model.onnx model.tflite [--rounds 30]

One thread each, no spinning. Prints one line of JSON: p50 in nanoseconds of both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

from edgeconv.conversion.samples import synthesize
from edgeconv.runtimes.litert.child import load as load_litert
from edgeconv.runtimes.onnxruntime.child import load as load_onnxruntime

_BLOCK = 5
_WARM_UP = 5


def compare(onnx: Path, tflite: Path, rounds: int) -> dict[str, float]:
    """Medians of `rounds` blocks of five runs each, the runtimes taking turns."""
    sessions = {"onnx": load_onnxruntime(onnx), "tflite": load_litert(tflite)}
    sample = next(iter(synthesize(sessions["onnx"].inputs, count=1, seed=0)))
    samples: dict[str, list[int]] = {name: [] for name in sessions}
    for session in sessions.values():
        for _ in range(_WARM_UP):
            session.run(sample)
    for turn in range(rounds):
        order = list(sessions) if turn % 2 == 0 else list(sessions)[::-1]
        for name in order:
            for _ in range(_BLOCK):
                began = time.monotonic_ns()
                sessions[name].run(sample)
                samples[name].append(time.monotonic_ns() - began)
    return {f"{name}_p50_ns": statistics.median(taken) for name, taken in samples.items()}


def main() -> int:
    """Prints the medians as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("onnx", type=Path)
    parser.add_argument("tflite", type=Path)
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args()
    print(json.dumps(compare(given.onnx, given.tflite, given.rounds)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
