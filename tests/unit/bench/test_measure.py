"""Measuring real files in real processes, to the end and into every kind of failure."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from edgeconv.base.digests import digest_file
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.bench import record
from edgeconv.bench.failure import FailureOwner, owner_of
from edgeconv.bench.lock import exclusive_lock
from edgeconv.bench.measure import Measurement, Subject, measure, measure_alternating
from edgeconv.bench.request import MeasureRequest
from edgeconv.bench.summary import summarize
from edgeconv.testing.tiny_files import dense_outputs, write_dense_onnx, write_dense_tflite

FEATURES, CLASSES, SAMPLES = 256, 512, 20
MIB = 1024 * 1024
Report = Callable[[float, str], None]


@dataclass
class Bench:
    """A model in a folder of its own, with samples, scratch and a lock for this test."""

    root: Path
    runtime: str
    file: str
    threads: int = 1
    said: list[tuple[float, str]] = field(default_factory=list)

    @classmethod
    def make(cls, root: Path, runtime: str) -> Bench:
        for name in ("model", "scratch", "lock"):
            (root / name).mkdir()
        write = write_dense_onnx if runtime == "onnxruntime" else write_dense_tflite
        file = "m.onnx" if runtime == "onnxruntime" else "m.tflite"
        write(root / "model" / file, features=FEATURES, classes=CLASSES)
        bench = cls(root, runtime, file)
        np.savez(root / "samples.npz", **{"in/put:0": bench.inputs, "label": np.arange(SAMPLES)})
        return bench

    @property
    def inputs(self) -> np.ndarray:
        rng = np.random.default_rng(3)
        return rng.standard_normal((SAMPLES, 1, FEATURES)).astype(np.float32)

    @property
    def request(self) -> MeasureRequest:
        return MeasureRequest(self.runtime, "quick", threads=self.threads)

    async def measure(self, *, samples: bool = True, report: Report | None = None) -> Measurement:
        return await measure(
            self.root / "model",
            self.file,
            self.request,
            samples=self.root / "samples.npz" if samples else None,
            scratch=self.root / "scratch",
            report=report or (lambda fraction, words: self.said.append((fraction, words))),
            lock_folder=self.root / "lock",
        )

    def left_behind(self) -> list[str]:
        return sorted(path.name for path in (self.root / "scratch").iterdir())


def _children() -> list[int]:
    """Children of this process that are measuring."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if int(parent) == os.getpid() and b"edgeconv.sandbox.entry" in command:
            found.append(int(folder.name))
    return found


@pytest.fixture(scope="module", params=["onnxruntime", "litert"])
def measured(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Bench, Measurement]:
    bench = Bench.make(tmp_path_factory.mktemp(request.param), request.param)
    return bench, asyncio.run(bench.measure())


def test_a_block_comes_from_each_of_three_fresh_processes(
    measured: tuple[Bench, Measurement],
) -> None:
    blocks = measured[1].record["blocks"]
    assert len({block["process"] for block in blocks}) == len(blocks) == 3
    for block in blocks:
        assert [phase["phase"] for phase in block["phases"]] == list(record.PHASES)
        assert block["threads"] == 1
        assert block["inputs_origin"] == "dataset"
        ends = [(phase["began_ns"], phase["ended_ns"]) for phase in block["phases"]]
        flat = [moment for pair in ends for moment in pair]
        assert flat == sorted(flat)
    assert _children() == []


def test_the_effort_bounds_the_steady_state(measured: tuple[Bench, Measurement]) -> None:
    for block in measured[1].record["blocks"]:
        steady = record.phase_of(block, record.STEADY)
        assert steady is not None
        assert 200_000_000 <= steady["ended_ns"] - steady["began_ns"] <= 1_500_000_000
        assert len(steady["wall_ns"]) >= 153


def test_loading_and_warming_up_are_apart_from_the_steady_state(
    measured: tuple[Bench, Measurement],
) -> None:
    phases = {phase.phase: phase for phase in summarize(measured[1].record).phases}
    assert phases["import"].median_ns > 10 * phases["cold_load"].median_ns
    assert phases["cold_load"].median_ns > phases["steady"].median_ns
    assert phases["first_inference"].median_ns > phases["steady"].median_ns
    assert phases["steady"].median_cpu_ns > 0


def test_the_file_was_cold_and_its_weights_count(measured: tuple[Bench, Measurement]) -> None:
    bench, measurement = measured
    assert all(block["evicted"] for block in measurement.record["blocks"])
    assert all(block["peaks_reset"] for block in measurement.record["blocks"])
    size = (bench.root / "model" / bench.file).stat().st_size
    summary = summarize(measurement.record)
    assert size / 2 < summary.peak_memory_bytes < 64 * MIB
    assert summary.delegate_parts == (1 if bench.runtime == "litert" else None)


def test_the_devices_own_outputs_come_back(measured: tuple[Bench, Measurement]) -> None:
    bench, measurement = measured
    assert measurement.outputs is not None
    assert measurement.record["output_samples"] == SAMPLES
    with np.load(measurement.outputs) as archive:
        assert archive.files == ["scores"]
        got = archive["scores"]
    assert got.shape == (SAMPLES, 1, CLASSES)
    want = dense_outputs(bench.inputs[:, 0], classes=CLASSES)
    np.testing.assert_allclose(got[:, 0], want, atol=1e-4)
    assert bench.left_behind() == ["outputs-0.npz"]


def test_the_record_says_what_was_measured(measured: tuple[Bench, Measurement]) -> None:
    bench, measurement = measured
    path = bench.root / "model" / bench.file
    assert measurement.record["files"] == [
        {"name": bench.file, "digest": digest_file(path), "size_bytes": path.stat().st_size}
    ]
    assert measurement.record["request"] == bench.request.to_json()
    assert record.decode(record.encode(measurement.record)) == measurement.record


def test_progress_goes_up_and_names_the_phase(measured: tuple[Bench, Measurement]) -> None:
    bench, _ = measured
    fractions = [fraction for fraction, _ in bench.said]
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] < fractions[-1] <= 1
    assert "measuring: import (1 of 3)" in [words for _, words in bench.said]
    assert "measuring: outputs (3 of 3)" in [words for _, words in bench.said]


def test_without_samples_inputs_are_synthetic_and_nothing_comes_back(tmp_path: Path) -> None:
    bench = Bench.make(tmp_path, "litert")
    measurement = asyncio.run(bench.measure(samples=False))
    assert measurement.outputs is None
    assert measurement.record["output_samples"] == 0
    assert {block["inputs_origin"] for block in measurement.record["blocks"]} == {"synthetic"}
    assert bench.left_behind() == []


@pytest.mark.parametrize("runtime", ["onnxruntime", "litert"])
def test_a_damaged_file_is_the_models_fault(runtime: str, tmp_path: Path) -> None:
    bench = Bench.make(tmp_path, runtime)
    (tmp_path / "model" / bench.file).write_bytes(b"\0" * 1000)
    with pytest.raises(EdgeconvError) as caught:
        asyncio.run(bench.measure())
    assert caught.value.reason is Reason.MODEL_UNREADABLE
    assert caught.value.metadata["phase"] == "cold_load"
    assert owner_of(caught.value) is FailureOwner.MODEL
    assert str(tmp_path) not in str(caught.value.to_json())
    assert bench.left_behind() == []


def test_samples_that_do_not_fit_name_the_input(tmp_path: Path) -> None:
    bench = Bench.make(tmp_path, "litert")
    np.savez(tmp_path / "samples.npz", **{"in/put:0": np.zeros((3, 1, 7), np.float32)})
    with pytest.raises(EdgeconvError, match="'in/put:0'") as caught:
        asyncio.run(bench.measure())
    assert caught.value.reason is Reason.DATASET_MISMATCH


@pytest.mark.parametrize(
    ("with_signal", "phase", "owner"),
    [
        (signal.SIGSEGV, "steady", FailureOwner.MODEL),
        (signal.SIGILL, "import", FailureOwner.DEVICE),
        (signal.SIGKILL, "steady", FailureOwner.DEVICE),
    ],
)
def test_a_crash_names_signal_phase_and_owner(
    with_signal: signal.Signals, phase: str, owner: FailureOwner, tmp_path: Path
) -> None:
    bench = Bench.make(tmp_path, "onnxruntime")

    def report(fraction: float, words: str) -> None:
        if f" {phase} " in words:
            for child in _children():
                os.kill(child, with_signal)

    with pytest.raises(EdgeconvError) as caught:
        asyncio.run(bench.measure(report=report))
    assert caught.value.reason is Reason.CHILD_DIED
    assert f"signal {with_signal.name} in phase '{phase}'" in caught.value.message
    assert owner_of(caught.value) is owner
    assert bench.left_behind() == []


def test_a_cancel_ends_the_child_and_leaves_nothing(tmp_path: Path) -> None:
    bench = Bench.make(tmp_path, "onnxruntime")
    during: list[list[int]] = []

    async def run() -> None:
        def report(fraction: float, words: str) -> None:
            if " steady " in words:
                during.append(_children())
                task.cancel()

        task = asyncio.ensure_future(bench.measure(report=report))
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert [len(children) for children in during] == [1]
    assert _children() == []
    assert bench.left_behind() == []


def test_waiting_for_the_lock_is_reported_and_timed(tmp_path: Path) -> None:
    bench = Bench.make(tmp_path, "litert")
    held = exclusive_lock(lambda *_: None, tmp_path / "lock")
    held.__enter__()
    waits: list[tuple[float, str]] = []

    def report(fraction: float, words: str) -> None:
        if words.startswith("preparing") and not waits:
            waits.append((fraction, words))
            held.__exit__(None, None, None)

    measurement = asyncio.run(bench.measure(samples=False, report=report))
    assert waits == [(-1.0, waits[0][1])]
    assert waits[0][1].startswith("preparing: waiting for conversions")
    assert measurement.record["blocks"][0]["waited_ns"] > 0


def test_two_files_are_measured_in_turn(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    a, b = Bench.make(tmp_path / "a", "litert"), Bench.make(tmp_path / "b", "onnxruntime")
    (tmp_path / "lock").mkdir()
    first, second = asyncio.run(
        measure_alternating(
            Subject(a.root / "model", a.file, a.request),
            Subject(b.root / "model", b.file, b.request),
            pairs=2,
            scratch=tmp_path,
            report=lambda *_: None,
            lock_folder=tmp_path / "lock",
        )
    )
    began = sorted(
        (block["phases"][0]["began_ns"], letter)
        for letter, each in (("A", first), ("B", second))
        for block in each.record["blocks"]
    )
    assert "".join(letter for _, letter in began) == "ABBA"
    assert first.record["file"] == "m.tflite"
    assert {block["runtime"].split()[0] for block in second.record["blocks"]} == {"ONNX"}


def test_the_measuring_process_loads_no_runtime_and_no_numpy(tmp_path: Path) -> None:
    bench = Bench.make(tmp_path, "onnxruntime")
    code = f"""
import asyncio, sys
from pathlib import Path
from edgeconv.bench.failure import owner_of
from edgeconv.bench.measure import measure
from edgeconv.bench.request import MeasureRequest
from edgeconv.bench.summary import summarize
root = Path({str(tmp_path)!r})
made = asyncio.run(measure(root / "model", {bench.file!r}, MeasureRequest("onnxruntime"),
    samples=root / "samples.npz", scratch=root / "scratch", report=lambda *_: None,
    lock_folder=root / "lock"))
print(summarize(made.record).samples > 0)
heavy = "numpy", "onnxruntime", "ai_edge_litert", "torch", "onnx", "scipy", "sqlalchemy", "grpc"
print(sorted(set(heavy) & set(sys.modules)))
print(sorted(n for n in heavy if f"/{{n}}/" in Path("/proc/self/maps").read_text()))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.stdout == "True\n[]\n[]\n", ran.stderr
