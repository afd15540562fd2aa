"""What the commands print of each resource, in words and with `--json`, and the table's widths.

`EDGECONV_UPDATE_GOLDEN=1` writes the files anew; look at the difference before you commit.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from pydantic import BaseModel
from rich.console import Console

from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason
from edgeconv.cli import describe, reading
from edgeconv.cli.documents import DOCUMENTS, ErrorDocument
from edgeconv.cli.terminal import Terminal
from edgeconv.report.table import print_table
from edgeconv.results.job import JobResult
from edgeconv.v1 import benchmarks_pb2, datasets_pb2, devices_pb2, models_pb2

_HERE = Path(__file__).parent
_DIGEST = "sha256:" + "5" * 64
_TIME = "2026-03-01T10:20:30.000000001Z"
_FILE = {"name": "net.onnx", "digest": _DIGEST, "size_bytes": 585_000}
_HOSTILE = "x\x1b[2J"

MODEL = {
    "name": "models/net/versions/3", "state": "INSPECTION_STATE_READY", "files": [_FILE],
    "digest": _DIGEST, "create_time": _TIME,
    "inspection": {
        "format": "onnx", "opset": 17, "parameters": 146_250, "weights_bytes": 585_000,
        "inputs": [
            {"name": _HOSTILE, "dtype": "float32", "shape": ["batch", "3", "²", "-1"]},
            {"name": "length", "dtype": "int64", "shape": []},
        ],
        "outputs": [{"name": "softmax_0", "dtype": "float32", "shape": ["batch", "2"]}],
        "operators": {"Conv": 53, "Relu": 18, "Add": 18}, "notes": ["Opset 17 was read."],
        "ranges": {"batch": {"least": 1, "most": 64}, "²": {"least": 2}},
    },
}  # fmt: skip
REJECTED = {
    "name": "models/net/versions/4", "state": "INSPECTION_STATE_REJECTED", "files": [_FILE],
    "error": {"code": 3, "message": "Node 'a\x1b' has no input."},
}  # fmt: skip
DATASET = {
    "name": "datasets/digits", "state": "INSPECTION_STATE_READY", "digest": _DIGEST,
    "files": [{**_FILE, "name": "digits.npz"}], "model_version": MODEL["name"], "samples": 64,
    "arrays": [
        {"name": "x", "dtype": "float32", "shape": [64, 1, 8, 8]},
        {"name": "label", "dtype": "int64", "shape": [64]},
    ],
    "create_time": _TIME,
}  # fmt: skip
DEVICE = {
    "name": "devices/pi5-a", "state": "DEVICE_STATE_QUARANTINED", "since": _TIME,
    "reason": "3 failures in a row, the last one: it broke", "benchmark": "benchmarks/b1",
    "last_seen_time": _TIME, "labels": {"room": "lab", "kind": _HOSTILE},
    "capabilities": {
        "runtimes": {"onnxruntime": "1.31.1", "litert": "2.3.0"}, "architecture": "aarch64",
        "cpu": "Cortex-A76", "cores": 4, "memory_bytes": 8 * 2**30, "os": "Linux 6.12",
        "kind": "pi5", "userland_32_bit": True,
    },
}  # fmt: skip
BENCHMARK = {
    "name": "benchmarks/b1", "variant": "conversions/c/variants/int8.tflite",
    "device_selector": "kind=pi5", "device": "devices/pi5-a",
    "state": "BENCHMARK_STATE_SUCCEEDED", "attempts": 2, "request": {"effort": "quick"},
    "create_time": _TIME, "end_time": _TIME,
    "summary": {
        "percentiles": [
            {"percent": 50, "value_ns": 1_320_000, "low_ns": 1_300_000, "high_ns": 1_340_000,
             "samples": 412},
            {"percent": 99, "samples": 412},
        ],
        "phases": [
            {"phase": "cold_load", "samples": 3, "median_ns": 17_420_000,
             "median_cpu_ns": 6_000_000, "peak_memory_bytes": 66_060_288},
            {"phase": "post_idle"},
        ],
        "user_visible_ns": 27_524_000, "peak_memory_bytes": 19_922_944, "processes": 3,
        "samples": 412, "involuntary_switches": 12, "verdict": "unstable", "delegate_parts": 1,
        "reasons": ["Other work took 12% of the processors' time."], "runtime": "LiteRT 2.3.0",
        "device_snr_db": 61.25, "device_argmax_agreement": 1.0,
    },
}  # fmt: skip
WAITING = {
    "name": "benchmarks/b2", "variant": "conversions/c/variants/fp32.onnx",
    "device_selector": "pi4", "state": "BENCHMARK_STATE_QUEUED",
    "waiting_reason": "no registered device matches 'pi4'",
}  # fmt: skip
ERROR = EdgeconvError(
    Reason.RECIPE_INVALID, "The recipe is not valid: a: b.", fix="See `edgeconv recipes schema`.",
    violations=[FieldViolation("variants.a", _HOSTILE)], line=3,
)  # fmt: skip


def _document(read: Callable[[Any], BaseModel], message: Any, data: dict[str, Any]) -> BaseModel:
    return read(json_format.ParseDict(data, message))


def _documents() -> list[tuple[str, Callable[[Any, Terminal], None], Any]]:
    model, dataset = reading.model_version_document, reading.dataset_document
    device, benchmark = reading.device_document, reading.benchmark_document
    return [
        ("models get", describe.describe_model_version,
         _document(model, models_pb2.ModelVersion(), MODEL)),
        ("models get", describe.describe_model_version,
         _document(model, models_pb2.ModelVersion(), REJECTED)),
        ("datasets get", describe.describe_dataset,
         _document(dataset, datasets_pb2.Dataset(), DATASET)),
        ("devices get", describe.describe_device,
         _document(device, devices_pb2.Device(), DEVICE)),
        ("benchmarks get", describe.describe_benchmark,
         _document(benchmark, benchmarks_pb2.Benchmark(), BENCHMARK)),
        ("benchmarks get", describe.describe_benchmark,
         _document(benchmark, benchmarks_pb2.Benchmark(), WAITING)),
        ("models delete", lambda name, terminal: describe.say_done(name, "deleted", terminal),
         MODEL["name"]),
    ]  # fmt: skip


def _held(file: str, text: str) -> None:
    golden = _HERE / file
    if os.environ.get("EDGECONV_UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()
    assert all(char == "\n" or char.isprintable() for char in text)


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("FORCE_COLOR", raising=False)


def test_each_resource_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for command, print_it, document in _documents():
        print_it(document, Terminal())
        lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
        shown.append("\n".join([f"$ edgeconv {command}", *lines]))
    Terminal().print_error(ERROR)
    shown.append(capsys.readouterr().err)
    _held("documents.txt", "\n\n".join(shown))


def test_each_resource_with_json(capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for command, print_it, document in _documents():
        terminal = Terminal(json=True)
        print_it(document, terminal)
        assert terminal.answered
        text = capsys.readouterr().out
        DOCUMENTS[command].model_validate_json(text)
        shown.append({command: json.loads(text)})
    terminal = Terminal(json=True)
    terminal.print_error(ERROR)
    text = capsys.readouterr().out
    ErrorDocument.model_validate_json(text)
    shown.append({"error": json.loads(text)})
    _held("documents.json", json.dumps(shown, indent=1, sort_keys=True) + "\n")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_is_whole_at_every_width(width: int) -> None:
    result = JobResult.model_validate_json((_HERE / "job_result.json").read_text())
    shown = []
    for is_terminal in (True, False):
        stream = io.StringIO()
        console = Console(
            file=stream, width=width, color_system=None, legacy_windows=False,
            force_terminal=is_terminal,
        )  # fmt: skip
        print_table(result, console)
        text = stream.getvalue()
        # No cell is cut and no row is broken; words are wrapped on a terminal only.
        for variant in result.variants:
            assert any(
                variant.recipe_variant in line and f" {variant.target} " in line
                for line in text.splitlines()
            )
        shown.append("\n".join(line.rstrip() for line in text.splitlines()))
    _held(f"table_{width}.txt", "\n\n".join(shown) + "\n")
