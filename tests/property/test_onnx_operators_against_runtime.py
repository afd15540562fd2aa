"""Operators with many corners, in random settings, against ONNX Runtime."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.intake.onnx.model import read_model
from edgeconv.conversion.intake.onnx.program import interpret
from edgeconv.runtimes.onnxruntime.child import load
from edgeconv.testing.onnx_graphs import node, write_graph

Arrays = Mapping[str, NDArray[Any]]
EXAMPLES = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def _floats(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


def _agrees(
    made: onnx.NodeProto, inputs: Arrays, constants: Arrays | None = None, opset: int = 18
) -> None:
    """Checks all outputs of one node; settings that the runtime itself refuses are left out."""
    inputs = {name: np.asarray(array) for name, array in inputs.items()}
    with tempfile.TemporaryDirectory() as folder:
        declared = {name: (array.dtype.name, array.shape) for name, array in inputs.items()}
        outputs = {name: ("float32", ["?"]) for name in made.output if name}
        path = write_graph(
            Path(folder) / "m.onnx", [made], declared, outputs, constants, opset=opset
        )
        model = onnx.load(str(path))
        for value in model.graph.output:
            value.ClearField("type")
        path.write_bytes(model.SerializeToString())
        try:
            want = load(path).run(inputs)
        except EdgeconvError:
            assume(False)
        for value, name in zip(model.graph.output, want, strict=True):
            kind = onnx.helper.np_dtype_to_tensor_dtype(want[name].dtype)
            value.CopyFrom(onnx.helper.make_tensor_value_info(name, kind, want[name].shape))
        path.write_bytes(model.SerializeToString())
        interpreter = interpret(read_model(path), {}).interpreter
    with torch.no_grad():
        got = interpreter(*(torch.from_numpy(array.copy()) for array in inputs.values()))
    for expected, tensor in zip(want.values(), got, strict=True):
        assert tuple(tensor.shape) == expected.shape
        assert tensor.numpy().dtype == expected.dtype
        np.testing.assert_allclose(tensor.numpy(), expected, rtol=1e-4, atol=1e-5)


@EXAMPLES
@given(
    start=st.integers(-9, 9), end=st.integers(-9, 9),
    step=st.sampled_from([1, 2, 3, -1, -2, -3]), axis=st.integers(-2, 1),
    far=st.booleans(),
)  # fmt: skip
def test_slice(start: int, end: int, step: int, axis: int, far: bool) -> None:
    stop = (np.iinfo(np.int64).max if step > 0 else np.iinfo(np.int64).min) if far else end
    bounds = {
        "s": np.array([start]), "e": np.array([stop]), "a": np.array([axis]),
        "t": np.array([step]),
    }  # fmt: skip
    _agrees(node("Slice", ["x", "s", "e", "a", "t"], ["y"]), {"x": _floats(5, 6)}, bounds)


SIDES = st.lists(st.integers(0, 3), min_size=2, max_size=2)
PAIRS = st.lists(st.integers(1, 3), min_size=2, max_size=2)


@EXAMPLES
@given(
    kernel=PAIRS, strides=PAIRS, dilations=PAIRS, begins=SIDES, ends=SIDES,
    group=st.sampled_from([1, 2]), mode=st.sampled_from(["", "SAME_UPPER", "SAME_LOWER", "VALID"]),
)  # fmt: skip
def test_convolution(
    kernel: list[int], strides: list[int], dilations: list[int], begins: list[int],
    ends: list[int], group: int, mode: str,
) -> None:  # fmt: skip
    padding = {"auto_pad": mode} if mode else {"pads": [*begins, *ends]}
    if mode.startswith("SAME"):
        dilations = [1, 1]
    made = node("Conv", ["x", "w", "b"], ["y"], strides=strides, dilations=dilations,
                group=group, **padding)  # fmt: skip
    weights = {"w": _floats(4, 4 // group, *kernel), "b": _floats(4)}
    _agrees(made, {"x": _floats(1, 4, 9, 8)}, weights)


@EXAMPLES
@given(
    kernel=PAIRS, strides=PAIRS, dilations=PAIRS, begins=SIDES, ends=SIDES, extra=SIDES,
    group=st.sampled_from([1, 2]), bias=st.booleans(),
)  # fmt: skip
def test_transposed_convolution(
    kernel: list[int], strides: list[int], dilations: list[int], begins: list[int],
    ends: list[int], extra: list[int], group: int, bias: bool,
) -> None:  # fmt: skip
    assume(all(e < max(s, d) for e, s, d in zip(extra, strides, dilations, strict=True)))
    made = node("ConvTranspose", ["x", "w", *(["b"] if bias else [])], ["y"], strides=strides,
                dilations=dilations, group=group, pads=[*begins, *ends],
                output_padding=extra)  # fmt: skip
    weights = {"w": _floats(4, 3, *kernel), **({"b": _floats(3 * group)} if bias else {})}
    _agrees(made, {"x": _floats(1, 4, 5, 6)}, weights)


@EXAMPLES
@given(
    operator=st.sampled_from(["MaxPool", "AveragePool"]), kernel=PAIRS, strides=PAIRS,
    begins=SIDES, ends=SIDES, ceil=st.booleans(), whole=st.booleans(), places=st.booleans(),
)  # fmt: skip
def test_pool(
    operator: str, kernel: list[int], strides: list[int], begins: list[int], ends: list[int],
    ceil: bool, whole: bool, places: bool,
) -> None:  # fmt: skip
    pads = [min(p, k - 1) for p, k in zip([*begins, *ends], [*kernel, *kernel], strict=True)]
    more: dict[str, Any] = {"count_include_pad": int(whole)} if operator == "AveragePool" else {}
    outputs = ["y", "i"] if places and operator == "MaxPool" else ["y"]
    made = node(operator, ["x"], outputs, kernel_shape=kernel, strides=strides, pads=pads,
                ceil_mode=int(ceil), **more)  # fmt: skip
    _agrees(made, {"x": _floats(2, 3, 8, 7)})


@EXAMPLES
@given(
    mode=st.sampled_from(["nearest", "linear", "cubic"]),
    transform=st.sampled_from(
        ["half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners"]
    ),
    nearest=st.sampled_from(["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"]),
    height=st.integers(1, 14), width=st.integers(1, 14), by_scales=st.booleans(),
)  # fmt: skip
def test_resize(
    mode: str, transform: str, nearest: str, height: int, width: int, by_scales: bool
) -> None:
    made = node("Resize", ["x", "", *(["s"] if by_scales else ["", "s"])], ["y"], mode=mode,
                coordinate_transformation_mode=transform, nearest_mode=nearest)  # fmt: skip
    wanted = np.array([1, 2, height, width])
    scales = (wanted / np.array([1, 2, 5, 6])).astype(np.float32)
    _agrees(made, {"x": _floats(1, 2, 5, 6)}, {"s": scales if by_scales else wanted})


@settings(EXAMPLES, max_examples=200)
@given(
    transform=st.sampled_from(
        ["half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners",
         "tf_half_pixel_for_nn", "half_pixel_symmetric"]
    ),
    nearest=st.sampled_from(["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"]),
    size=st.integers(1, 40), tenths=st.integers(1, 35),
)  # fmt: skip
@example(transform="half_pixel", nearest="floor", size=25, tenths=6)
def test_resize_to_the_nearest_by_a_scale(
    transform: str, nearest: str, size: int, tenths: int
) -> None:
    assume(size * tenths >= 10)
    made = node("Resize", ["x", "", "s"], ["y"], mode="nearest",
                coordinate_transformation_mode=transform, nearest_mode=nearest)  # fmt: skip
    scales = np.array([1, 1, tenths / 10], np.float32)
    _agrees(made, {"x": _floats(1, 2, size)}, {"s": scales}, opset=19)


@EXAMPLES
@given(
    mode=st.sampled_from(["constant", "reflect", "edge", "wrap"]),
    pads=st.lists(st.integers(-2, 3), min_size=6, max_size=6),
)  # fmt: skip
def test_pad(mode: str, pads: list[int]) -> None:
    if mode != "constant":
        # The runtime reads beyond the tensor where a copied axis is also cut.
        pads = [abs(each) for each in pads]
    made = node("Pad", ["x", "p", *(["v"] if mode == "constant" else [])], ["y"], mode=mode)
    constants = {"p": np.array(pads), "v": np.array(0.5, np.float32)}
    used = {name: constants[name] for name in made.input if name in constants}
    _agrees(made, {"x": _floats(4, 5, 6)}, used, opset=19)


@settings(EXAMPLES, max_examples=30)
@given(
    operator=st.sampled_from(["LSTM", "GRU", "RNN"]),
    direction=st.sampled_from(["forward", "reverse", "bidirectional"]),
    bias=st.booleans(), state=st.booleans(), before=st.booleans(),
)  # fmt: skip
def test_recurrent_layer(
    operator: str, direction: str, bias: bool, state: bool, before: bool
) -> None:
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[operator]
    count = 2 if direction == "bidirectional" else 1
    weights = {"w": _floats(count, gates * 3, 5), "r": _floats(count, gates * 3, 3)}
    weights |= {"b": _floats(count, gates * 6)} if bias else {}
    inputs = {"x": _floats(4, 2, 5)}
    inputs |= {"h": _floats(count, 2, 3)} if state else {}
    inputs |= {"c": _floats(count, 2, 3)} if state and operator == "LSTM" else {}
    names = ["x", "w", "r", "b" if bias else "", "", *(n for n in ("h", "c") if n in inputs)]
    more: dict[str, Any] = {"linear_before_reset": int(before)} if operator == "GRU" else {}
    outputs = ["y", "yh", *(["yc"] if operator == "LSTM" else [])]
    made = node(operator, names, outputs, hidden_size=3, direction=direction, **more)
    _agrees(made, inputs, weights, opset=14)


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("opset", [7, 11, 12, 13])
@pytest.mark.parametrize("axis", [None, 0, 1, 2, -1])
def test_softmax_of_every_age(operator: str, opset: int, axis: int | None) -> None:
    if opset < 11 and axis == -1:
        return
    more = {} if axis is None else {"axis": axis}
    _agrees(node(operator, ["x"], ["y"], **more), {"x": _floats(2, 3, 4)}, opset=opset)


@EXAMPLES
@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4), data=st.data(),
    operator=st.sampled_from(["ReduceSum", "ReduceMean", "ReduceMax", "ReduceL2", "ReduceProd",
                              "ReduceLogSumExp"]),
    keep=st.booleans(), noop=st.booleans(),
)  # fmt: skip
def test_reduction(
    shape: list[int], data: st.DataObject, operator: str, keep: bool, noop: bool
) -> None:
    axes = data.draw(st.lists(st.integers(-len(shape), len(shape) - 1), max_size=len(shape),
                              unique_by=lambda axis: axis % len(shape)))  # fmt: skip
    made = node(operator, ["x", "a"], ["y"], keepdims=int(keep), noop_with_empty_axes=int(noop))
    _agrees(made, {"x": _floats(*shape)}, {"a": np.array(axes, np.int64)})


@EXAMPLES
@given(
    trans_a=st.booleans(), trans_b=st.booleans(), alpha=st.sampled_from([1.0, 0.5]),
    beta=st.sampled_from([1.0, 2.0]), fixed=st.booleans(),
    bias=st.sampled_from([(), (5,), (1, 5), (4, 1), (4, 5), None]),
)  # fmt: skip
def test_gemm(
    trans_a: bool, trans_b: bool, alpha: float, beta: float, fixed: bool,
    bias: tuple[int, ...] | None,
) -> None:  # fmt: skip
    right = _floats(5, 3) if trans_b else _floats(3, 5)
    inputs = {"a": _floats(3, 4) if trans_a else _floats(4, 3)}
    constants: dict[str, NDArray[Any]] = {} if bias is None else {"c": _floats(*bias)}
    (constants if fixed else inputs)["b"] = right
    names = ["a", "b", *(["c"] if bias is not None else [])]
    made = node("Gemm", names, ["y"], transA=int(trans_a), transB=int(trans_b), alpha=alpha,
                beta=beta)  # fmt: skip
    _agrees(made, inputs, constants)


def test_what_is_refused_is_said_and_not_guessed() -> None:
    made = node("ScatterElements", ["x", "i", "u"], ["y"], axis=0, reduction="add")
    with pytest.raises(EdgeconvError) as caught:
        _agrees(made, {"x": _floats(3)}, {"i": np.array([0, 0]), "u": _floats(2)})
    assert caught.value.reason is Reason.OPERATOR_UNSUPPORTED
