"""A whole conversion in one process: what comes out, what fails and why."""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeconv.base.digests import digest_file
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.convert import convert
from edgeconv.conversion.samples import write_arrays
from edgeconv.recipe.schema import parse_recipe
from edgeconv.results.job import VariantResult
from edgeconv.testing.conversions import SmallCnn
from edgeconv.testing.programs import seeded
from edgeconv.testing.tiny_files import dense_outputs, write_dense_onnx

RECIPE = """
version: 1
variants:
  fp32: {}
  int8: {precision: int8}
  strict: {precision: int8, min_snr_db: 90}
"""


@functools.cache
def _work() -> Path:
    """Made when it is first needed: a module is imported without its tests being run."""
    return Path(tempfile.mkdtemp(prefix="edgeconv-convert-"))


@pytest.fixture(scope="module", autouse=True)
def _sweep() -> Iterator[None]:
    yield
    if _work.cache_info().currsize:
        shutil.rmtree(_work())
    _work.cache_clear()
    results.cache_clear()


@functools.cache
def results() -> dict[str, VariantResult]:
    """A `.pt2` with labelled data, calibrated and evaluated on parts of it."""
    net = seeded(SmallCnn)
    values = np.random.default_rng(0).standard_normal((256, 1, 1, 8, 8)).astype(np.float32)
    with torch.no_grad():
        labels = net(torch.from_numpy(values[:, 0])).argmax(-1).numpy()
    exported = torch.export.export(net, (torch.zeros(1, 1, 8, 8),))
    torch.export.save(exported, _work() / "net.pt2")
    write_arrays(_work() / "data.npz", {"x": values, "label": labels})
    made = convert(
        _work() / "net.pt2",
        parse_recipe(RECIPE),
        _work() / "out",
        calibration=_work() / "data.npz",
        evaluation=_work() / "data.npz",
    )
    return {result.name: result for result in made}


@pytest.mark.parametrize("name", ["fp32.onnx", "fp32.tflite", "int8.onnx", "int8.tflite"])
def test_variants_are_verified_and_their_files_stand_there(name: str) -> None:
    result = results()[name]
    assert (result.state, result.road, result.error) == ("verified", "program", None)
    [file] = result.files
    assert digest_file(Path(result.path)) == file.digest
    assert result.size_bytes == Path(result.path).stat().st_size
    assert result.agreement is not None
    assert result.agreement.metric_reference == 1
    assert result.agreement.samples == 192
    last = result.effects[-1].step
    assert last == ("int8-static" if "int8" in name else name.partition(".")[2])


@pytest.mark.parametrize("name", ["strict.onnx", "strict.tflite"])
def test_a_lost_bound_fails_the_variant_and_leaves_no_file(name: str) -> None:
    result = results()[name]
    assert (result.state, result.path) == ("failed", "")
    assert result.error is not None
    assert result.error.reason == "AGREEMENT_LOST"
    assert "90 dB" in result.error.message
    assert not (_work() / "out" / name).exists()


def test_both_formats_agree_in_8_bits() -> None:
    agreements = [results()[f"int8.{target}"].agreement for target in ("onnx", "tflite")]
    ratios = [each.outputs[0].snr_db for each in agreements if each is not None]
    assert min(ratios) > 25
    assert abs(ratios[0] - ratios[1]) < 3


def test_onnx_without_data_takes_the_direct_road_and_refuses_int8(tmp_path: Path) -> None:
    source = write_dense_onnx(tmp_path / "dense.onnx", rows="n")
    recipe = parse_recipe(
        "{version: 1, targets: [onnx], variants: {fp32: {}, int8: {precision: int8}}}"
    )
    made = {result.name: result for result in convert(source, recipe, tmp_path / "out")}
    assert made["fp32.onnx"].state == "verified"
    assert made["fp32.onnx"].road == "direct"
    assert digest_file(Path(made["fp32.onnx"].path)) == digest_file(source)
    assert made["int8.onnx"].state == "refused"
    assert made["int8.onnx"].error is not None
    assert made["int8.onnx"].error.reason == "DATA_NEEDED"


def test_a_bound_on_the_drop_without_labels_fails_and_says_what_to_do(tmp_path: Path) -> None:
    source = write_dense_onnx(tmp_path / "dense.onnx")
    recipe = parse_recipe("{version: 1, targets: [onnx], variants: {fp32: {max_drop: 1%}}}")
    [result] = convert(source, recipe, tmp_path / "out")
    assert result.state == "failed"
    assert result.error is not None
    assert result.error.reason == "AGREEMENT_LOST"
    assert "Give evaluation data with labels" in result.error.message


def test_shared_data_name_the_class_that_a_part_of_them_lacks(tmp_path: Path) -> None:
    source = write_dense_onnx(tmp_path / "dense.onnx")
    values = np.random.default_rng(0).standard_normal((42, 64)).astype(np.float32)
    labels = np.array([8, 9, *np.arange(40) % 2])
    data = tmp_path / "data.npz"
    write_arrays(data, {"in/put:0": values, "label": labels})
    recipe = parse_recipe("{version: 1, targets: [onnx], variants: {int8: {precision: int8}}}")
    [result] = convert(source, recipe, tmp_path / "out", calibration=data, evaluation=data)
    assert result.agreement is not None
    [lacking] = [each for each in result.effects if each.step == "int8-static"]
    messages = [note.message for note in (*lacking.notes, *result.agreement.notes)]
    told = ("No sample of class 9 calibrates:", "No sample of class 8 is compared:")
    for words in told:
        assert any(words in message for message in messages), messages


def test_onnx_becomes_tflite(tmp_path: Path) -> None:
    source = write_dense_onnx(tmp_path / "dense.onnx")
    recipe = parse_recipe("{version: 1, targets: [tflite], variants: {fp32: {}}}")
    [result] = convert(source, recipe, tmp_path / "out")
    assert (result.state, result.road) == ("verified", "program")
    from edgeconv.runtimes.litert.child import load

    values = np.random.default_rng(0).standard_normal((1, 64)).astype(np.float32)
    scores = load(Path(result.path)).run({"in/put:0": values})["scores"]
    np.testing.assert_allclose(scores, dense_outputs(values, classes=10), atol=1e-5)


def test_data_that_does_not_fit_fails_what_needs_it(tmp_path: Path) -> None:
    source = write_dense_onnx(tmp_path / "dense.onnx")
    write_arrays(tmp_path / "data.npz", {"in/put:0": np.zeros((8, 63), np.float32)})
    recipe = parse_recipe("{version: 1, targets: [onnx], variants: {fp32: {}}}")
    [result] = convert(source, recipe, tmp_path / "out", evaluation=tmp_path / "data.npz")
    assert result.state == "failed"
    assert result.error is not None
    assert result.error.reason == "DATASET_MISMATCH"


def test_what_is_no_model_raises(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"nothing of the kind")
    recipe = parse_recipe("{version: 1, variants: {fp32: {}}}")
    with pytest.raises(EdgeconvError) as caught:
        convert(tmp_path / "model.onnx", recipe, tmp_path / "out")
    assert caught.value.reason is Reason.MODEL_UNREADABLE
    assert not (tmp_path / "out").exists()


def _dense_with_data(folder: Path) -> tuple[Path, Path]:
    source = write_dense_onnx(folder / "dense.onnx")
    values = np.random.default_rng(0).standard_normal((24, 64)).astype(np.float32)
    write_arrays(folder / "data.npz", {"in/put:0": values})
    return source, folder / "data.npz"


FLOAT_AND_INT8 = "{version: 1, targets: [onnx], variants: {fp32: {}, int8: {precision: int8}}}"


# One exception of a library was the end of all variants.
def test_an_exception_nobody_expects_costs_its_own_variant_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(24, "Too many open files")

    source, data = _dense_with_data(tmp_path)
    monkeypatch.setattr("onnxruntime.quantization.calibrate.save_tensors_data", broken)
    recipe = parse_recipe(FLOAT_AND_INT8)
    made = {each.name: each for each in convert(source, recipe, tmp_path / "out", calibration=data)}
    assert made["fp32.onnx"].state == "verified"
    error = made["int8.onnx"].error
    assert error is not None
    assert error.reason == "INTERNAL"
    assert "OSError" in error.message
    assert "Too many open files" in error.message


@pytest.mark.parametrize(
    ("precision", "tool"),
    [
        ("int8", "onnxruntime.quantization.quantize_static"),
        ("int8-dynamic", "onnxruntime.quantization.quantize_dynamic"),
        ("fp16", "onnxruntime.transformers.float16.convert_float_to_float16"),
    ],
)
def test_what_a_quantizer_stumbles_over_is_not_applicable(
    precision: str, tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(*_: object, **__: object) -> None:
        raise AssertionError

    source, data = _dense_with_data(tmp_path)
    monkeypatch.setattr(tool, stumble)
    recipe = parse_recipe(
        f"{{version: 1, targets: [onnx], variants: {{q: {{precision: {precision}}}}}}}"
    )
    [result] = convert(source, recipe, tmp_path / "out", calibration=data)
    assert result.error is not None
    assert result.error.reason == "NOT_APPLICABLE"
    assert "AssertionError" in result.error.message
