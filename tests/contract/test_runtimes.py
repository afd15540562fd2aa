"""What every runtime promises, run on real files in the real runtimes.

The sessions live in this process here, which only tests do; each file is a dense layer
whose outputs are known from numpy.
"""

from __future__ import annotations

import gc
import importlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.tflite_file import read_tflite, write_tflite
from edgeconv.recipe.signature import DType, TensorSpec
from edgeconv.runtimes.catalogue import RUNTIMES, loader, runtime_by_format, runtime_by_name
from edgeconv.runtimes.session import DYNAMIC, Session
from edgeconv.runtimes.spec import RuntimeSpec
from edgeconv.testing.tiny_files import (
    dense_outputs,
    write_dense_onnx,
    write_dense_tflite,
    write_many_outputs_tflite,
)

INPUT = "in/put:0"
WRITERS: dict[str, Callable[[Path], Path]] = {
    "onnx": write_dense_onnx,
    "tflite": write_dense_tflite,
}

every_runtime = pytest.mark.parametrize("spec", RUNTIMES, ids=lambda spec: spec.name)


def _file(spec: RuntimeSpec, folder: Path) -> Path:
    return WRITERS[spec.format](folder / f"model.{spec.format}")


def _open(spec: RuntimeSpec, folder: Path) -> Session:
    return loader(spec)(_file(spec, folder))


def _inputs(rows: int = 1, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, 64)).astype(np.float32)


@every_runtime
def test_names_order_types_and_shapes_are_the_users(spec: RuntimeSpec, tmp_path: Path) -> None:
    session = _open(spec, tmp_path)
    assert session.inputs == (TensorSpec(name=INPUT, dtype=DType.FLOAT32, shape=(1, 64)),)
    assert session.outputs == (TensorSpec(name="scores", dtype=DType.FLOAT32, shape=(1, 10)),)


@every_runtime
@pytest.mark.parametrize("threads", [1, 2])
def test_it_computes_what_the_file_says(spec: RuntimeSpec, threads: int, tmp_path: Path) -> None:
    session = loader(spec)(_file(spec, tmp_path), threads=threads)
    given = _inputs()
    made = session.run({INPUT: given})
    assert list(made) == ["scores"]
    np.testing.assert_allclose(made["scores"], dense_outputs(given, classes=10), atol=1e-5)


@every_runtime
def test_outputs_stay_when_the_session_runs_again(spec: RuntimeSpec, tmp_path: Path) -> None:
    session = _open(spec, tmp_path)
    first = session.run({INPUT: _inputs(seed=1)})["scores"]
    kept = first.copy()
    second = session.run({INPUT: _inputs(seed=2)})["scores"]
    np.testing.assert_array_equal(first, kept)
    assert not np.array_equal(first, second)


@every_runtime
def test_the_input_is_not_changed(spec: RuntimeSpec, tmp_path: Path) -> None:
    given = _inputs()
    kept = given.copy()
    _open(spec, tmp_path).run({INPUT: given})
    np.testing.assert_array_equal(given, kept)


@every_runtime
@pytest.mark.parametrize(
    ("feeds", "words"),
    [
        ({}, f"the inputs are {INPUT}, not none"),
        ({"other": _inputs()}, f"the inputs are {INPUT}, not other"),
        ({INPUT: _inputs(), "more": _inputs()}, "not in/put:0, more"),
        ({INPUT: _inputs().astype(np.float64)}, "is float32, not float64"),
        ({INPUT: _inputs().astype(np.int32)}, "is float32, not int32"),
        ({INPUT: _inputs()[0]}, "has shape (1, 64), not (64,)"),
        ({INPUT: _inputs(2)}, "has shape (1, 64), not (2, 64)"),
        ({INPUT: _inputs()[:, :63]}, "has shape (1, 64), not (1, 63)"),
    ],
    ids=["none", "wrong name", "one more", "float64", "int32", "rank", "rows", "columns"],
)
def test_feeds_that_do_not_fit_are_refused_and_never_cast(
    spec: RuntimeSpec, feeds: dict[str, np.ndarray], words: str, tmp_path: Path
) -> None:
    session = _open(spec, tmp_path)
    with pytest.raises(EdgeconvError) as caught:
        session.run(feeds)
    assert caught.value.reason is Reason.RUNTIME_REFUSED
    assert words in caught.value.message
    assert f"'model.{spec.format}'" in caught.value.message
    # A refusal leaves the session as it was.
    given = _inputs()
    np.testing.assert_allclose(
        session.run({INPUT: given})["scores"], dense_outputs(given, classes=10), atol=1e-5
    )


@every_runtime
@pytest.mark.parametrize("damage", ["empty", "noise", "cut"])
def test_a_damaged_file_is_refused_in_the_runtimes_words(
    spec: RuntimeSpec, damage: str, tmp_path: Path
) -> None:
    path = _file(spec, tmp_path)
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "noise": b"\x07noise" * 99, "cut": whole[:90]}[damage])
    with pytest.raises(EdgeconvError) as caught:
        loader(spec)(path)
    error = caught.value
    assert error.reason is Reason.MODEL_UNREADABLE
    assert error.message.startswith(f"{spec.title} can't load 'model.{spec.format}': ")
    assert len(error.metadata["said"]) > 10
    assert str(tmp_path) not in str(error.to_json())


def test_a_whole_file_with_an_operator_that_litert_lacks_is_not_called_damaged(
    tmp_path: Path,
) -> None:
    path = write_dense_tflite(tmp_path / "model.tflite")
    model = read_tflite(path.read_bytes())
    model.operatorCodes[0].version = 99
    path.write_bytes(write_tflite(model))
    with pytest.raises(EdgeconvError, match=r"FULLY_CONNECTED.*99") as caught:
        loader(runtime_by_format("tflite"))(path)
    assert caught.value.reason is Reason.RUNTIME_REFUSED
    assert caught.value.fix == ""


@every_runtime
def test_a_file_that_is_not_there_is_refused(spec: RuntimeSpec, tmp_path: Path) -> None:
    with pytest.raises(EdgeconvError) as caught:
        loader(spec)(tmp_path / f"none.{spec.format}")
    assert caught.value.reason is Reason.RUNTIME_REFUSED


@every_runtime
def test_it_says_what_runs_the_file(spec: RuntimeSpec, tmp_path: Path) -> None:
    session = loader(spec)(_file(spec, tmp_path), threads=2, spinning=True)
    words = session.describe()
    assert words.startswith(f"{spec.title} {spec.installed_version()}, ")
    assert "2 threads" in words
    assert ("spinning on" in words) is spec.spinning_selectable
    assert ("spinning not selectable" in words) is not spec.spinning_selectable


@every_runtime
def test_delegate_parts_are_told_where_the_spec_says_so(spec: RuntimeSpec, tmp_path: Path) -> None:
    parts = _open(spec, tmp_path).delegate_parts
    assert (parts is not None) is spec.counts_delegate_parts
    assert parts in (None, 1)


@every_runtime
def test_closing_unmaps_the_file(spec: RuntimeSpec, tmp_path: Path) -> None:
    session = _open(spec, tmp_path)
    session.run({INPUT: _inputs()})
    session.close()
    gc.collect()
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()


@every_runtime
def test_a_spec_is_found_by_name_and_by_format(spec: RuntimeSpec) -> None:
    assert runtime_by_name(spec.name) is spec
    assert runtime_by_format(spec.format) is spec
    assert callable(importlib.import_module(spec.child_module).load)


def test_an_open_axis_has_size_minus_one_and_takes_any_size(tmp_path: Path) -> None:
    path = write_dense_onnx(tmp_path / "model.onnx", rows="rows")
    session = loader(runtime_by_format("onnx"))(path)
    assert session.inputs[0].shape == (DYNAMIC, 64)
    assert session.outputs[0].shape == (DYNAMIC, 10)
    for rows in (1, 3):
        given = _inputs(rows)
        made = session.run({INPUT: given})["scores"]
        np.testing.assert_allclose(made, dense_outputs(given, classes=10), atol=1e-5)


def _idle_cpu_ns(session: Session, feeds: dict[str, np.ndarray]) -> int:
    """Processor time of 20 pauses of 5 ms, each right after an inference."""
    spent_ns = 0
    for _ in range(20):
        session.run(feeds)
        before_ns = time.process_time_ns()
        time.sleep(0.005)
        spent_ns += time.process_time_ns() - before_ns
    return spent_ns


def test_idle_threads_of_onnxruntime_spin_only_when_asked(tmp_path: Path) -> None:
    path = write_dense_onnx(tmp_path / "model.onnx", features=1024, classes=2048, rows=8)
    feeds = {INPUT: np.ones((8, 1024), np.float32)}
    load = loader(runtime_by_format("onnx"))
    quiet = _idle_cpu_ns(load(path, threads=2, spinning=False), feeds)
    spinning = _idle_cpu_ns(load(path, threads=2, spinning=True), feeds)
    assert spinning > 5 * quiet


def test_litert_gives_outputs_in_the_order_of_the_graph_not_of_the_alphabet(
    tmp_path: Path,
) -> None:
    path = write_many_outputs_tflite(tmp_path / "model.tflite", outputs=12, features=8)
    session = loader(runtime_by_format("tflite"))(path)
    names = [f"output_{place}" for place in range(12)]
    assert [each.name for each in session.outputs] == names
    given = np.random.default_rng(0).standard_normal((1, 8)).astype(np.float32)
    made = session.run({INPUT: given})
    assert list(made) == names
    for seed, name in enumerate(names):
        want = dense_outputs(given, classes=3, seed=seed)
        np.testing.assert_allclose(made[name], want, atol=1e-5)


def test_litert_without_a_signature_has_the_tensors_names(tmp_path: Path) -> None:
    path = write_dense_tflite(tmp_path / "model.tflite", signature=False)
    session = loader(runtime_by_format("tflite"))(path)
    assert [each.name for each in session.inputs] == ["tensor_in"]
    assert [each.name for each in session.outputs] == ["tensor_out_0"]


def test_an_input_that_is_no_tensor_is_refused(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save

    sequence = helper.make_tensor_sequence_value_info("many", TensorProto.FLOAT, [1])
    graph = helper.make_graph(
        [helper.make_node("SequenceLength", ["many"], ["count"])],
        "sequence",
        [sequence],
        [helper.make_tensor_value_info("count", TensorProto.INT64, [])],
    )
    path = tmp_path / "model.onnx"
    opset = [helper.make_opsetid("", 18)]
    save(helper.make_model(graph, opset_imports=opset, ir_version=10), str(path))
    with pytest.raises(EdgeconvError, match="'many' is a seq") as caught:
        loader(runtime_by_format("onnx"))(path)
    assert caught.value.reason is Reason.RUNTIME_REFUSED


def test_the_catalogue_loads_no_runtime_and_no_numpy() -> None:
    code = (
        "import sys, edgeconv.runtimes.catalogue as c\n"
        "print([s.installed_version() is not None for s in c.RUNTIMES])\n"
        "print({'numpy', 'onnxruntime', 'ai_edge_litert', 'tflite_runtime'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[True, True]\nset()\n"
