"""The user's own ONNX graph, as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from edgeconv.base.digests import digest_file
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.direct import take_directly
from edgeconv.conversion.program import Artifact
from edgeconv.conversion.samples import Samples
from edgeconv.recipe.signature import DType, TensorSpec
from edgeconv.results.effect import Effect
from edgeconv.testing.conversions import finish, runtime_outputs
from edgeconv.testing.tiny_files import dense_outputs, write_dense_onnx

DIGEST = "sha256:" + "1" * 64


def take(source: Path, out: Path, **shapes: tuple[int, ...]) -> tuple[Artifact, Effect]:
    out.mkdir()
    return take_directly(source, DIGEST, {"in/put:0": shapes["x"]} if shapes else {}, out)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


def test_the_bytes_stay_and_the_file_has_one_name(source: Path, tmp_path: Path) -> None:
    given = write_dense_onnx(source / "my-model.onnx")
    artifact, effect = take(source, tmp_path / "out")
    assert digest_file(artifact.path) == digest_file(given)
    assert [path.name for path in artifact.folder.iterdir()] == ["model.onnx"]
    assert artifact.lineage.source == DIGEST
    assert effect.notes == ()


def test_open_axes_stay_open_and_the_signature_is_static(source: Path, tmp_path: Path) -> None:
    write_dense_onnx(source / "model.onnx", rows="batch")
    artifact, _ = take(source, tmp_path / "out", x=(3, 64))
    [given] = artifact.signature.inputs
    assert given == TensorSpec(name="in/put:0", dtype=DType.FLOAT32, shape=(3, 64))
    assert [spec.shape for spec in artifact.signature.outputs] == [(3, 10)]
    values = np.random.default_rng(0).standard_normal((2, 7, 64)).astype(np.float32)
    made = runtime_outputs(artifact, Samples({"in/put:0": values}, None, "dataset"))
    np.testing.assert_allclose(made["scores"][0], dense_outputs(values[0], classes=10), atol=1e-5)


@pytest.mark.parametrize("name", ["int8-static", "int8-dynamic", "int8-weights", "fp16"])
def test_finished_files_take_other_sizes_of_open_axes_still(
    name: str, source: Path, tmp_path: Path
) -> None:
    write_dense_onnx(source / "model.onnx", rows="batch")
    artifact, _ = take(source, tmp_path / "out", x=(1, 64))
    rng = np.random.default_rng(0)
    one = Samples({"in/put:0": rng.standard_normal((32, 1, 64)).astype(np.float32)}, None, "")
    made, _ = finish(artifact, name, tmp_path / "finished", samples=one)
    five = rng.standard_normal((1, 5, 64)).astype(np.float32)
    scores = runtime_outputs(made, Samples({"in/put:0": five}, None, ""))["scores"][0]
    expected = dense_outputs(five[0], classes=10)
    assert np.abs(scores - expected).max() < 0.1 * expected.max()


def test_weights_beside_the_graph_keep_their_name(source: Path, tmp_path: Path) -> None:
    model = _with_weights_beside(source, "weights of it.bin")
    artifact, _ = take(source, tmp_path / "out")
    names = sorted(path.name for path in artifact.folder.iterdir())
    assert names == ["model.onnx", "weights of it.bin"]
    values = np.ones((1, 1, 64), np.float32)
    made = runtime_outputs(artifact, Samples({"in/put:0": values}, None, ""))
    np.testing.assert_allclose(made["scores"][0], dense_outputs(values[0], classes=10), atol=1e-5)
    assert len(model.graph.node) == 2


@pytest.mark.parametrize("name", ["fp16", "int8-weights"])
def test_finished_files_hold_the_weights_themselves(
    name: str, source: Path, tmp_path: Path
) -> None:
    _with_weights_beside(source, "weights.bin")
    artifact, _ = take(source, tmp_path / "out")
    made, _ = finish(artifact, name, tmp_path / "finished")
    assert [path.name for path in made.folder.iterdir()] == ["model.onnx"]


def test_weights_that_are_not_there_are_named(source: Path, tmp_path: Path) -> None:
    _with_weights_beside(source, "weights.bin")
    (source / "weights.bin").unlink()
    with pytest.raises(EdgeconvError, match=r"weights\.bin") as caught:
        take(source, tmp_path / "out")
    assert caught.value.reason is Reason.MODEL_UNREADABLE


def test_weights_may_not_have_the_name_of_the_graph(source: Path, tmp_path: Path) -> None:
    _with_weights_beside(source, "model.onnx", graph="graph.onnx")
    with pytest.raises(EdgeconvError) as caught:
        take(source, tmp_path / "out")
    assert caught.value.reason in (Reason.NOT_APPLICABLE, Reason.MODEL_UNREADABLE)


def test_weights_outside_the_folder_are_refused(source: Path, tmp_path: Path) -> None:
    model = _with_weights_beside(source, "weights.bin")
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../weights.bin"
    (source / "model.onnx").write_bytes(model.SerializeToString())
    (source / "weights.bin").rename(tmp_path / "weights.bin")
    with pytest.raises(EdgeconvError) as caught:
        take(source, tmp_path / "out")
    assert caught.value.reason is Reason.MODEL_UNSAFE


def test_traces_of_the_source_are_removed_and_said(source: Path, tmp_path: Path) -> None:
    path = write_dense_onnx(source / "model.onnx")
    model = onnx.load(path)
    entry = model.graph.node[0].metadata_props.add()
    entry.key, entry.value = "pkg.torch.onnx.stack_trace", 'File "/somewhere/secret/net.py", line 3'
    onnx.save(model, path)
    artifact, effect = take(source, tmp_path / "out")
    assert b"secret" not in artifact.path.read_bytes()
    [note] = effect.notes
    assert note.kind == "dropped"


@pytest.mark.parametrize("has_doc_string", [True, False])
def test_the_models_own_metadata_stays_but_for_paths(
    has_doc_string: bool, source: Path, tmp_path: Path
) -> None:
    kept = {
        "names": "{0: 'cat/dog', 1: 'car'}", "stride": "32", "imgsz": "[640, 640]",
        "license": "AGPL-3.0 https://example.org/license/of/it", "scale": "1/255", "a.pyx": "3.14",
    }  # fmt: skip
    gone = {
        "trace": 'File "net.py", line 3', "args": "{'data': '/srv/somebody/secret.yaml'}",
        "weights": "C:\\Users\\secret", "code": "src/secret/net.py",
    }  # fmt: skip
    model = onnx.load(write_dense_onnx(source / "model.onnx"))
    onnx.helper.set_model_props(model, {**kept, **gone})
    if has_doc_string:
        model.graph.node[0].doc_string = "/somewhere/secret/net.py(3): forward"
    onnx.save(model, source / "model.onnx")
    artifact, effect = take(source, tmp_path / "out")
    halved, _ = finish(artifact, "fp16", tmp_path / "halved")
    for path in (artifact.path, halved.path):
        assert b"secret" not in path.read_bytes()
        assert {each.key: each.value for each in onnx.load(path).metadata_props} == kept
    [note] = effect.notes
    assert "trace, args, weights, code went" in note.message


@pytest.mark.parametrize("name", ["int8-static", "int8-dynamic", "int8-weights", "fp16"])
def test_finished_files_keep_the_models_own_metadata(
    name: str, source: Path, tmp_path: Path
) -> None:
    model = onnx.load(write_dense_onnx(source / "model.onnx"))
    onnx.helper.set_model_props(model, {"names": "cat, dog"})
    onnx.save(model, source / "model.onnx")
    artifact, effect = take(source, tmp_path / "out")
    assert effect.notes == ()
    rng = np.random.default_rng(0)
    data = Samples({"in/put:0": rng.standard_normal((32, 1, 64)).astype(np.float32)}, None, "")
    made, _ = finish(artifact, name, tmp_path / "finished", samples=data)
    props = {each.key: each.value for each in onnx.load(made.path).metadata_props}
    assert props == {"names": "cat, dog"}


def test_what_is_no_model_is_named(source: Path, tmp_path: Path) -> None:
    (source / "model.onnx").write_bytes(b"\x08\x0a\xff\xff" * 9)
    with pytest.raises(EdgeconvError, match=r"model\.onnx"):
        take(source, tmp_path / "out")


def _with_weights_beside(folder: Path, weights: str, *, graph: str = "model.onnx") -> ModelProto:
    path = write_dense_onnx(folder / "plain.onnx")
    model = onnx.load(path)
    path.unlink()
    onnx.save_model(
        model,
        folder / graph,
        save_as_external_data=True,
        location=weights,
        size_threshold=0,
    )
    return onnx.load(folder / graph, load_external_data=False)
