"""TFLite files as objects: names, operators, what is put behind an output."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ai_edge_quantizer.qtyping import TFLOperationName
from ai_edge_quantizer.quantizer import Quantizer
from ai_edge_quantizer.recipe_manager import RecipeManager

from edgeconv.conversion.tflite_file import (
    is_constant,
    operator_code,
    operator_counts,
    read_tflite,
    rename_interface,
    tensor_type,
    text,
    write_tflite,
)
from edgeconv.recipe.signature import DType, Signature, TensorSpec
from edgeconv.runtimes.litert.child import load
from edgeconv.testing.tiny_files import dense_outputs, write_dense_tflite


def signature(given: str, made: str) -> Signature:
    return Signature(
        inputs=(TensorSpec(name=given, dtype=DType.FLOAT32, shape=(1, 64)),),
        outputs=(TensorSpec(name=made, dtype=DType.FLOAT32, shape=(1, 10)),),
    )


def test_reading_and_writing_changes_nothing_that_runs(tmp_path: Path) -> None:
    path = write_dense_tflite(tmp_path / "model.tflite")
    model = read_tflite(path.read_bytes())
    assert operator_counts(model) == {"FULLY_CONNECTED": 1}
    content = write_tflite(model)
    assert write_tflite(read_tflite(content)) == content
    path.write_bytes(content)
    values = np.random.default_rng(0).standard_normal((1, 64)).astype(np.float32)
    scores = load(path).run({"in/put:0": values})["scores"]
    np.testing.assert_allclose(scores, dense_outputs(values, classes=10), atol=1e-5)


def test_tensors_and_signature_get_the_users_names(tmp_path: Path) -> None:
    path = write_dense_tflite(tmp_path / "model.tflite")
    model = read_tflite(path.read_bytes())
    rename_interface(model, signature("bias_0", "größe 1/2"))
    path.write_bytes(write_tflite(model))
    session = load(path)
    assert [spec.name for spec in session.inputs] == ["bias_0"]
    assert [spec.name for spec in session.outputs] == ["größe 1/2"]
    names = [text(tensor.name) for tensor in model.subgraphs[0].tensors]
    # A constant had that name before; tools find tensors by name.
    assert names[0] == "bias_0"
    assert names[-1] == "größe 1/2"
    assert "bias_0_1" in names
    assert len(set(names)) == len(names)


def test_constants_types_and_codes(tmp_path: Path) -> None:
    model = read_tflite(write_dense_tflite(tmp_path / "model.tflite").read_bytes())
    tensors = model.subgraphs[0].tensors
    assert [is_constant(model, tensor) for tensor in tensors] == [False, True, True, False]
    assert {tensor_type(tensor) for tensor in tensors} == {"float32"}
    first = operator_code(model, model.operatorCodes[0].builtinCode)
    assert (first, operator_code(model, 19), operator_code(model, 19)) == (0, 1, 1)
    assert len(model.operatorCodes) == 2


def test_constants_behind_the_flatbuffer_come_with_it(tmp_path: Path) -> None:
    # ai-edge-quantizer puts them there from 256 KiB on.
    path = write_dense_tflite(tmp_path / "model.tflite", features=1024, classes=512)
    recipe = RecipeManager()
    recipe.add_weight_only_config(".*", TFLOperationName.ALL_SUPPORTED, 8)
    quantizer = Quantizer(bytearray(path.read_bytes()), recipe.get_quantization_recipe())
    quantized = bytes(quantizer.quantize().quantized_model)
    model = read_tflite(quantized)
    kept = {tensor_type(each): is_constant(model, each) for each in model.subgraphs[0].tensors}
    assert kept["int8"]
    path.write_bytes(write_tflite(model))
    values = np.random.default_rng(0).standard_normal((1, 1024)).astype(np.float32)
    scores = load(path).run({"in/put:0": values})["scores"]
    np.testing.assert_allclose(scores, dense_outputs(values, classes=512), atol=0.1)


def test_vectors_that_are_written_once_read_and_run_the_same(tmp_path: Path) -> None:
    path = write_dense_tflite(tmp_path / "model.tflite", features=1024, classes=512)
    recipe = RecipeManager()
    recipe.add_weight_only_config(".*", TFLOperationName.ALL_SUPPORTED, 8)
    quantizer = Quantizer(bytearray(path.read_bytes()), recipe.get_quantization_recipe())
    model = read_tflite(bytes(quantizer.quantize().quantized_model))
    # A second tensor with a zero point for each of the 512 channels, of 8 bytes each.
    model.subgraphs[0].tensors.append(
        next(each for each in model.subgraphs[0].tensors if tensor_type(each) == "int8")
    )
    apart, shared = write_tflite(model), write_tflite(model, shared=True)
    assert len(apart) - len(shared) > 512 * 8
    assert len(read_tflite(shared).subgraphs[0].tensors[-1].quantization.zeroPoint) == 512
    values = {"in/put:0": np.random.default_rng(0).standard_normal((1, 1024)).astype(np.float32)}
    made = []
    for content in (apart, shared):
        path.write_bytes(content)
        made.append(load(path).run(values)["scores"])
    assert np.array_equal(made[0], made[1])
