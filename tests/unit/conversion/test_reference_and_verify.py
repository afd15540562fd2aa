"""The source in its own framework, and artifacts held against it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.calls import StepCall, StepInput
from edgeconv.conversion.program import Artifact
from edgeconv.conversion.reference import make_reference
from edgeconv.conversion.samples import read_npz, write_arrays
from edgeconv.conversion.split import calibration_places
from edgeconv.conversion.verify import verify
from edgeconv.recipe.signature import DType, Signature, TensorSpec
from edgeconv.recipe.specs import ReferenceOptions, StepKind, VerifyOptions
from edgeconv.results.agreement import Agreement
from edgeconv.results.lineage import Lineage
from edgeconv.testing.conversions import lowered, net, samples_for, torch_outputs
from edgeconv.testing.tiny_files import dense_outputs, write_dense_onnx, write_dense_tflite

FP32 = VerifyOptions(precision="fp32")


@dataclass
class Bench:
    """Folders of a source and its reference, in a test's own folder."""

    folder: Path

    def __post_init__(self) -> None:
        self.source = self._made("source")
        self.facts: dict[str, Any] = {}

    def _made(self, name: str) -> Path:
        (self.folder / name).mkdir(exist_ok=True)
        return self.folder / name

    def evaluation(self, **arrays: NDArray[Any]) -> Path:
        folder = self._made("evaluation")
        write_arrays(
            folder / "data.npz", {k.replace("x", "in/put:0"): v for k, v in arrays.items()}
        )
        return folder

    def call(self, **inputs: StepInput) -> StepCall:
        return StepCall(
            kind=StepKind.REFERENCE,
            name="reference",
            options={},
            inputs=inputs,
            folder=self._made("reference"),
            scratch=self._made("scratch"),
            seed=0,
        )

    def reference(self, data: Path | None = None, **options: Any) -> dict[str, Any]:
        inputs = {"source": StepInput(self.source)}
        if data is not None:
            inputs["evaluation"] = StepInput(data)
        given = ReferenceOptions.model_validate({"shapes": {}, **options})
        self.facts = make_reference(self.call(**inputs), given, lambda share, words: None)
        return self.facts

    def verify(
        self, artifact: Artifact, options: VerifyOptions = FP32, data: Path | None = None
    ) -> Agreement:
        inputs = {"reference": StepInput(self.folder / "reference", facts=self.facts)}
        if data is not None:
            inputs["evaluation"] = StepInput(data)
        call = replace(self.call(**inputs), folder=self._made("verified"))
        return verify(artifact, call, options, lambda share, words: None)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def dense(folder: Path, target: str = "onnx", **options: Any) -> Artifact:
    folder.mkdir(exist_ok=True)
    write = write_dense_onnx if target == "onnx" else write_dense_tflite
    path = write(folder / f"model.{target}", **options)
    spec = {"dtype": DType.FLOAT32}
    signature = Signature(
        inputs=(TensorSpec(name="in/put:0", shape=(1, options.get("features", 64)), **spec),),
        outputs=(TensorSpec(name="scores", shape=(1, options.get("classes", 10)), **spec),),
    )
    form = "onnx" if target == "onnx" else "tflite"
    return Artifact(form, folder, path.name, signature, Lineage(source=""))


def test_without_data_at_least_16_synthetic_samples_are_kept(bench: Bench) -> None:
    write_dense_onnx(bench.source / "model.onnx")
    facts = bench.reference(samples=3)
    folder = bench.folder / "reference"
    assert sorted(path.name for path in folder.iterdir()) == [
        "device_samples.npz", "outputs.npz", "samples.npz",
    ]  # fmt: skip
    assert (facts["samples"], facts["origin"], facts["metric"]) == (16, "synthetic", "")
    assert facts["reference"].startswith("onnxruntime ")
    samples = read_npz(folder / "samples.npz")["in/put:0"]
    assert samples.shape == (16, 1, 64)
    outputs = read_npz(folder / "outputs.npz")["scores"]
    np.testing.assert_allclose(outputs[:, 0], dense_outputs(samples[:, 0], classes=10), atol=1e-5)


class Table(nn.Module):
    """A table of few rows."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = nn.Embedding(rows, 8)

    def forward(self, ids: Tensor) -> Tensor:
        made: Tensor = self.rows(ids).sum(1)
        return made


def table(folder: Path, rows: int, form: str) -> None:
    ids = torch.zeros(1, 6, dtype=torch.int64)
    if form == "pt2":
        torch.export.save(torch.export.export(Table(rows), (ids,)), folder / "net.pt2")
        return
    weight = np.random.default_rng(0).standard_normal((rows, 8)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["rows", "ids"], ["y"])],
        "g",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, [1, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 6, 8])],
        [numpy_helper.from_array(weight, "rows")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, folder / "model.onnx")


@pytest.mark.parametrize("form", ["pt2", "onnx"])
@pytest.mark.parametrize(("rows", "most"), [(100, 99), (40, 31), (2, 1)])
def test_a_small_table_gets_smaller_synthetic_integers(
    rows: int, most: int, form: str, bench: Bench
) -> None:
    table(bench.source, rows, form)
    facts = bench.reference()
    samples = read_npz(bench.folder / "reference" / "samples.npz")
    [ids] = samples.values()
    assert ids.max() <= most
    assert ids.max() > most / 2
    if rows == 100:
        assert facts["notes"] == []
    else:
        [note] = facts["notes"]
        assert f"lie in 0…{most}, as" in note
        assert "out of" in note


@pytest.mark.parametrize("form", ["pt2", "onnx"])
def test_a_table_that_no_synthetic_integers_fit_asks_for_data(form: str, bench: Bench) -> None:
    table(bench.source, 1, form)
    with pytest.raises(EdgeconvError, match=r"runs with no synthetic inputs: .*out of") as caught:
        bench.reference()
    assert caught.value.reason is Reason.RUNTIME_REFUSED
    assert "--data" in caught.value.fix


def test_with_labels_there_is_an_accuracy(bench: Bench) -> None:
    write_dense_onnx(bench.source / "model.onnx")
    values = np.random.default_rng(0).standard_normal((40, 64)).astype(np.float32)
    labels = dense_outputs(values, classes=10).argmax(-1)
    labels[:10] = (labels[:10] + 1) % 10
    data = bench.evaluation(x=values, label=labels)
    facts = bench.reference(data)
    assert (facts["metric"], facts["metric_reference"]) == ("accuracy", 0.75)
    folder = bench.folder / "reference"
    assert not (folder / "samples.npz").exists()
    assert read_npz(folder / "device_samples.npz")["in/put:0"].shape == (16, 1, 64)


def test_the_held_out_part_leaves_out_what_calibrates(bench: Bench) -> None:
    write_dense_onnx(bench.source / "model.onnx")
    values = np.random.default_rng(0).standard_normal((40, 64)).astype(np.float32)
    assert bench.reference(bench.evaluation(x=values), split="held-out")["samples"] == 30
    first = read_npz(bench.folder / "reference" / "device_samples.npz")["in/put:0"][0, 0]
    places = calibration_places(40, None)
    np.testing.assert_array_equal(first, values[np.delete(np.arange(40), places)[0]])


def test_labels_that_do_not_fit_are_said(bench: Bench) -> None:
    write_dense_onnx(bench.source / "model.onnx", classes=1)
    values = np.zeros((8, 64), np.float32)
    data = bench.evaluation(x=values, label=np.zeros(8, np.int64))
    facts = bench.reference(data)
    assert facts["metric"] == ""
    agreement = bench.verify(dense(bench.folder / "a", classes=1), data=data)
    [note] = [note for note in agreement.notes if "no accuracy" in note.message]
    assert note.kind == "fallback", "it stands under the table"


def test_a_pt2_runs_in_torch_with_its_own_structure(bench: Bench) -> None:
    class Structured(nn.Module):
        def forward(self, pair: tuple[Tensor, Tensor], *, scale: Tensor) -> dict[str, Tensor]:
            return {"sum": pair[0] + pair[1], "scaled": pair[0] * scale}

    given = ((torch.ones(2), torch.ones(2) + 1),)
    exported = torch.export.export(Structured(), given, {"scale": torch.ones(2)})
    torch.export.save(exported, bench.source / "net.pt2")
    facts = bench.reference()
    assert facts["reference"].startswith("torch 2.")
    names = [each["name"] for each in facts["signature"]["inputs"]]
    outputs = read_npz(bench.folder / "reference" / "outputs.npz")
    samples = read_npz(bench.folder / "reference" / "samples.npz")
    first, second, scale = (samples[name] for name in names)
    total, scaled = outputs.values()
    np.testing.assert_allclose(total, first + second, atol=1e-6)
    np.testing.assert_allclose(scaled, first * scale, atol=1e-6)


def test_outputs_whose_shape_depends_on_values_are_refused(bench: Bench) -> None:
    graph = helper.make_graph(
        [helper.make_node("NonZero", ["x"], ["places"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.BOOL, [6])],
        [helper.make_tensor_value_info("places", TensorProto.INT64, [1, "found"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, bench.source / "model.onnx")
    with pytest.raises(EdgeconvError, match="places") as caught:
        bench.reference()
    assert caught.value.reason is Reason.NOT_APPLICABLE


@pytest.mark.parametrize("target", ["onnx", "tflite"])
def test_the_same_weights_pass(target: str, bench: Bench) -> None:
    write_dense_onnx(bench.source / "model.onnx")
    bench.reference()
    agreement = bench.verify(dense(bench.folder / "artifact", target))
    assert agreement.passed
    [output] = agreement.outputs
    assert output.output == "scores"
    assert output.snr_db is not None
    assert output.snr_db > 100
    assert (agreement.samples, agreement.samples_origin) == (16, "synthetic")
    assert agreement.runtime.startswith("ONNX Runtime" if target == "onnx" else "LiteRT")


@pytest.mark.parametrize("target", ["onnx", "tflite"])
def test_what_the_artifact_gives_here_is_kept_for_the_devices_samples(
    target: str, bench: Bench
) -> None:
    write_dense_onnx(bench.source / "model.onnx")
    bench.reference(samples=40)
    bench.verify(dense(bench.folder / "artifact", target, seed=1))
    given = read_npz(bench.folder / "reference" / "device_samples.npz")["in/put:0"]
    kept = read_npz(bench.folder / "verified" / "outputs.npz")
    assert set(kept) == {"scores"}
    assert len(kept["scores"]) == len(given) == 16
    wanted = [dense_outputs(each, classes=10, seed=1) for each in given]
    np.testing.assert_allclose(kept["scores"], np.stack(wanted), rtol=1e-4, atol=1e-4)


def test_no_more_outputs_are_kept_than_devices_send(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dense_onnx(bench.source / "model.onnx")
    bench.reference()
    monkeypatch.setattr("edgeconv.conversion.verify._KEPT_BYTES", 3 * 10 * 4 + 1)
    bench.verify(dense(bench.folder / "artifact"))
    assert len(read_npz(bench.folder / "verified" / "outputs.npz")["scores"]) == 3
    monkeypatch.setattr("edgeconv.conversion.verify._KEPT_BYTES", 1)
    bench.verify(dense(bench.folder / "artifact"))
    assert read_npz(bench.folder / "verified" / "outputs.npz") == {}


@pytest.mark.parametrize("target", ["onnx", "tflite"])
def test_other_weights_fail_in_full_precision(target: str, bench: Bench) -> None:
    write_dense_onnx(bench.source / "model.onnx")
    bench.reference()
    agreement = bench.verify(dense(bench.folder / "artifact", target, seed=1))
    assert not agreement.passed
    assert not agreement.outputs[0].passed


def test_other_weights_in_8_bits_are_flagged_or_fail_by_the_recipe(bench: Bench) -> None:
    write_dense_onnx(bench.source / "model.onnx")
    bench.reference()
    artifact = dense(bench.folder / "artifact", seed=1)
    free = bench.verify(artifact, VerifyOptions(precision="int8", min_snr_db=-20))
    assert free.passed
    freed = bench.verify(artifact, VerifyOptions(precision="int8"))
    assert not freed.passed
    assert {note.kind for note in freed.notes} == {"flagged"}
    assert not bench.verify(artifact, VerifyOptions(precision="int8", min_snr_db=20)).passed


def test_accuracy_may_drop_by_what_the_recipe_says(bench: Bench) -> None:
    write_dense_onnx(bench.source / "model.onnx")
    values = np.random.default_rng(0).standard_normal((40, 64)).astype(np.float32)
    data = bench.evaluation(x=values, label=dense_outputs(values, classes=10).argmax(-1))
    bench.reference(data)
    artifact = dense(bench.folder / "artifact", seed=1)
    lost = bench.verify(artifact, VerifyOptions(precision="int8", max_drop=0.01), data)
    assert not lost.passed
    assert lost.metric_reference == 1
    assert lost.metric_value is not None
    assert lost.metric_value < 0.5
    assert all(output.passed for output in lost.outputs)
    kept = bench.verify(artifact, VerifyOptions(precision="int8", max_drop=1.0), data)
    assert kept.passed


def test_a_drop_by_labels_that_are_no_classes_is_not_held(bench: Bench) -> None:
    write_dense_onnx(bench.source / "model.onnx")
    rng = np.random.default_rng(0)
    values = rng.standard_normal((40, 64)).astype(np.float32)
    data = bench.evaluation(x=values, label=rng.random(40))
    [note] = bench.reference(data)["notes"]
    assert "no whole number" in note
    options = VerifyOptions(precision="fp32", max_drop=1.0)
    agreement = bench.verify(dense(bench.folder / "artifact"), options, data)
    assert not agreement.passed
    assert (agreement.metric, agreement.metric_value) == ("", None)
    assert "max_drop" in {note.subject for note in agreement.notes}


def test_a_drop_without_labels_is_not_held(bench: Bench) -> None:
    write_dense_onnx(bench.source / "model.onnx")
    bench.reference()
    options = VerifyOptions(precision="int8", max_drop=0.01)
    agreement = bench.verify(dense(bench.folder / "artifact"), options)
    assert not agreement.passed
    assert all(output.passed for output in agreement.outputs)
    assert [note.subject for note in agreement.notes] == ["max_drop"]


def test_nan_fails_and_is_said(bench: Bench) -> None:
    def write(path: Path, last: str) -> None:
        nodes = [
            helper.make_node("Abs", ["in/put:0"], ["a"]),
            helper.make_node("Log", [last], ["scores"]),
        ]
        specs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64])
            for name in ("in/put:0", "scores")
        ]
        graph = helper.make_graph(nodes, "g", specs[:1], specs[1:])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        onnx.save(model, path)

    write(bench.source / "model.onnx", "a")
    bench.reference()
    artifact = dense(bench.folder / "artifact", classes=64)
    write(artifact.path, "in/put:0")
    agreement = bench.verify(artifact, VerifyOptions(precision="int8"))
    assert not agreement.passed
    assert any("NaN" in note.message for note in agreement.notes)


@pytest.mark.parametrize("target", ["onnx", "tflite"])
@pytest.mark.parametrize("change", [{"classes": 11}, {"features": 63}])
def test_another_signature_is_an_error_that_names_it(
    change: dict[str, int], target: str, bench: Bench
) -> None:
    write_dense_onnx(bench.source / "model.onnx")
    bench.reference()
    with pytest.raises(EdgeconvError, match=r"scores|in/put:0") as caught:
        bench.verify(dense(bench.folder / "artifact", target, **change))
    assert caught.value.reason is Reason.SIGNATURE_CHANGED


def test_a_file_that_does_not_show_its_own_signature_is_an_error(bench: Bench) -> None:
    write_dense_onnx(bench.source / "model.onnx")
    bench.reference()
    artifact = dense(bench.folder / "artifact", "tflite")
    # Without a signature the tensors' own names are all there is.
    write_dense_tflite(artifact.path, signature=False)
    with pytest.raises(EdgeconvError, match="tensor_in") as caught:
        bench.verify(artifact)
    assert caught.value.reason is Reason.SIGNATURE_CHANGED


def test_a_broken_file_is_refused_by_its_runtime(bench: Bench) -> None:
    write_dense_onnx(bench.source / "model.onnx")
    bench.reference()
    artifact = dense(bench.folder / "artifact", "tflite")
    artifact.path.write_bytes(artifact.path.read_bytes()[:500])
    with pytest.raises(EdgeconvError) as caught:
        bench.verify(artifact)
    assert caught.value.reason is Reason.MODEL_UNREADABLE


@pytest.mark.parametrize("target", ["onnx", "tflite"])
def test_a_net_with_two_outputs_and_state(target: str, bench: Bench) -> None:
    program = net("gru")
    samples = samples_for(program, count=16)
    folder = bench.folder / "reference"
    folder.mkdir()
    write_arrays(folder / "samples.npz", samples.inputs)
    write_arrays(folder / "outputs.npz", torch_outputs(program, samples))
    bench.facts = {
        "signature": program.signature.model_dump(mode="json"),
        "reference": "torch", "metric": "", "metric_reference": None,
    }  # fmt: skip
    agreement = bench.verify(lowered("gru", "onnx" if target == "onnx" else "tflite")[0])
    assert [output.output for output in agreement.outputs] == ["y", "h_n"]
    assert agreement.passed


def test_few_samples_are_said_and_one_is_flagged(bench: Bench) -> None:
    artifact = dense(bench.source)
    for count, kind in ((1, "flagged"), (5, "info")):
        data = bench.evaluation(x=np.ones((count, 64), np.float32) * np.arange(1, 65, dtype="f"))
        bench.reference(data)
        [note] = bench.verify(artifact, data=data).notes
        assert note.kind == kind
        assert ("one sample" if count == 1 else "5 samples") in note.message


def test_one_sample_can_not_calibrate_and_evaluate(bench: Bench) -> None:
    dense(bench.source)
    data = bench.evaluation(x=np.ones((1, 64), np.float32))
    with pytest.raises(EdgeconvError, match="can't both calibrate and evaluate") as caught:
        bench.reference(data, split="held-out")
    assert caught.value.reason is Reason.DATASET_MISMATCH
