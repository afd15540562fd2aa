"""Silent faults of the libraries underneath, each planted on purpose.

Every one of them was met in practice without an error or a warning; the numbers in the
comments are what the library alone made of it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from edgeconv.base.digests import digest_file
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.direct import take_directly
from edgeconv.conversion.finishes.ranges import observe
from edgeconv.conversion.lowerings.onnx import OnnxLowering
from edgeconv.conversion.onnx_file import operator_counts as onnx_counts
from edgeconv.conversion.onnx_file import read_onnx
from edgeconv.conversion.program import Artifact
from edgeconv.conversion.samples import Samples
from edgeconv.conversion.tflite_file import (
    operator_counts,
    operator_name,
    read_tflite,
    tensor_type,
    text,
)
from edgeconv.conversion.verify import open_session
from edgeconv.recipe.specs import Int8StaticOptions, OnnxOptions
from edgeconv.testing.conversions import (
    FORMATS,
    Format,
    context,
    finish,
    lower,
    lowered,
    net,
    runtime_outputs,
    samples_for,
    snr_db,
)
from edgeconv.testing.programs import as_program, seeded

X = torch.arange(24, dtype=torch.float32).reshape(1, 2, 3, 4) / 24


class ChannelsLast(nn.Module):
    """Weights of one shape, large enough that each copy gets the place of the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.Sequential(*(nn.Conv2d(64, 64, 3, padding=1) for _ in range(3)))
        self.convs.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.convs(x.reshape(1, 1, 4, 6).expand(1, 64, 4, 6))
        return made


class Views(nn.Module):
    """Constants that are transposed, strided, expanded, or parts of one memory."""

    def __init__(self) -> None:
        super().__init__()
        whole = torch.randn(400, 400) / 14
        self.register_buffer("transposed", whole[:200, :200].clone().T)
        self.register_buffer("strided", whole[::2, ::2])
        self.register_buffer("expanded", whole[:1, :200].expand(200, 200))
        self.register_buffer("upper", whole[:200, :200])
        self.register_buffer("lower", whole[200:, 200:])

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(1, 24).repeat(1, 9)[:, :200]
        for name in ("transposed", "strided", "expanded", "upper", "lower"):
            x = torch.tanh(x @ self.get_buffer(name)) + x
        return x


# litert-torch alone: -4…11 dB, and another figure at the next run.
@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("build", [ChannelsLast, Views])
def test_constants_that_are_not_contiguous(
    build: type[nn.Module], target: Format, tmp_path: Path
) -> None:
    program = as_program(seeded(build), [X])
    tensors = {**program.exported.state_dict, **program.exported.constants}
    assert any(not tensor.is_contiguous() for tensor in tensors.values())
    assert snr_db(program, lower(program, target, tmp_path)[0]) > 90


# In alphabetical order, which is how a signature lists them, it would be a - b.
@pytest.mark.parametrize("target", FORMATS)
def test_inputs_whose_names_sort_otherwise(target: Format, tmp_path: Path) -> None:
    class Difference(nn.Module):
        def forward(self, first: Tensor, second: Tensor) -> Tensor:
            return first - second

    program = as_program(Difference(), [X, X + 1], names=["b", "a"], outputs=["d"])
    artifact, _ = lower(program, target, tmp_path)
    session = open_session(artifact)
    assert [spec.name for spec in session.inputs] == ["b", "a"]
    one, two = np.ones((1, 2, 3, 4), np.float32), np.full((1, 2, 3, 4), 2, np.float32)
    assert np.all(session.run({"a": one, "b": two})["d"] == 1)


@pytest.mark.parametrize("target", FORMATS)
def test_output_10_comes_after_output_2(target: Format, tmp_path: Path) -> None:
    class Many(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            return tuple(x + place for place in range(12))

    artifact, _ = lower(as_program(Many(), [X]), target, tmp_path)
    session = open_session(artifact)
    assert [spec.name for spec in session.outputs] == [f"output_{i}" for i in range(12)]
    made = session.run({"input_0": np.zeros((1, 2, 3, 4), np.float32)})
    assert [float(made[f"output_{i}"].max()) for i in range(12)] == list(map(float, range(12)))


# litert-torch writes -3.4e38 into the buffers of the module that it is given.
@pytest.mark.parametrize("target", FORMATS)
def test_minus_infinity_in_the_program_stays(target: Format, tmp_path: Path) -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mask", torch.full((3, 4), -torch.inf).triu(2))

        def forward(self, x: Tensor) -> Tensor:
            return torch.softmax(x + self.get_buffer("mask"), -1)

    program = as_program(Masked(), [X])
    artifact, _ = lower(program, target, tmp_path)
    [mask] = [*program.exported.state_dict.values(), *program.exported.constants.values()]
    assert bool((mask == -torch.inf).any())
    assert snr_db(program, artifact) > 90


# torch's exporter asked for 17 writes 18 and says nothing.
def test_an_opset_that_was_not_written_is_an_error(tmp_path: Path) -> None:
    options = OnnxOptions.model_construct(opset=17)
    with pytest.raises(EdgeconvError) as caught:
        OnnxLowering().apply(net("relu6"), options, context(tmp_path))
    assert caught.value.reason is Reason.LOWERING_FAILED
    assert (caught.value.metadata["asked"], caught.value.metadata["got"]) == ("17", "18")


@pytest.mark.parametrize("opset", [18, 20, 22])
def test_the_opset_asked_for_is_written(opset: int, tmp_path: Path) -> None:
    artifact, _ = OnnxLowering().apply(net("cnn"), OnnxOptions(opset=opset), context(tmp_path))
    [written] = read_onnx(artifact.path).opset_import
    assert (written.domain, written.version) == ("", opset)


# A moving average of each sample's extremes forgets the largest one: 18 dB instead of 39.
def test_ranges_hold_the_true_extremes() -> None:
    values = [np.array([0.5], np.float32), np.array([-8, 9], np.float32), np.ones(3, np.float32)]
    ranges = observe(lambda: iter([{"t": each} for each in values]), Int8StaticOptions())
    assert (ranges["t"].low, ranges["t"].high) == (-8, 9)


@pytest.mark.parametrize("target", FORMATS)
def test_one_large_sample_is_not_clipped(target: Format, tmp_path: Path) -> None:
    program = net("cnn")
    small = samples_for(program, count=16)
    values = small.inputs["in/put:0"].copy()
    values[0] *= 8
    samples = Samples({"in/put:0": values}, None, "dataset")
    artifact, _ = finish(lowered("cnn", target)[0], "int8-static", tmp_path, samples=samples)
    only = Samples({"in/put:0": values[:1]}, None, "dataset")
    float_outputs = runtime_outputs(lowered("cnn", target)[0], only)["lo gits"]
    made = runtime_outputs(artifact, only)["lo gits"]
    assert np.abs(made - float_outputs).max() < 0.05 * np.abs(float_outputs).max()


# ONNX Runtime refuses what its own quantizer writes per channel below opset 13.
def test_a_graph_of_opset_11_is_raised_and_said(tmp_path: Path) -> None:
    artifact = _old_conv(tmp_path)
    samples = Samples(_images(24), None, "dataset")
    made, effect = finish(artifact, "int8-static", tmp_path / "int8", samples=samples)
    assert any("opset 11 to 13" in note.message for note in effect.notes)
    model = read_onnx(made.path)
    scales = [t for t in model.graph.initializer if "weight" in t.name and "scale" in t.name]
    assert [list(tensor.dims) for tensor in scales] == [[16]]
    expected = runtime_outputs(artifact, samples)["y"]
    assert np.abs(runtime_outputs(made, samples)["y"] - expected).max() < 0.05 * expected.max()


# The runtime drops a Relu before a QuantizeLinear: with symmetric ranges -9 dB, no error.
def test_the_range_of_a_relu_does_its_work_when_it_is_dropped(tmp_path: Path) -> None:
    artifact = _old_conv(tmp_path)
    samples = Samples(_images(24), None, "dataset")
    made, _ = finish(artifact, "int8-static", tmp_path / "int8", samples=samples)
    model = read_onnx(made.path)
    assert "Relu" not in onnx_counts(model)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    [last] = [n for n in model.graph.node if n.op_type == "DequantizeLinear" and n.output[0] == "y"]
    assert constants[last.input[2]] == 0
    assert runtime_outputs(made, samples)["y"].min() == 0


# Its weights stay float without a word.
def test_recurrent_weights_that_stay_float_are_said(tmp_path: Path) -> None:
    samples = samples_for(net("gru"))
    _, effect = finish(lowered("gru", "onnx")[0], "int8-static", tmp_path, samples=samples)
    assert "GRU" in [note.subject for note in effect.notes if note.kind == "stayed_float"]


# Static recipes leave the table float without a word; half of the file is the table.
def test_the_embedding_table_is_in_8_bits(tmp_path: Path) -> None:
    samples = samples_for(net("transformer"))
    artifact, _ = finish(
        lowered("transformer", "tflite")[0], "int8-static", tmp_path, samples=samples
    )
    model = read_tflite(artifact.path.read_bytes())
    [kind] = {
        tensor_type(tensor)
        for tensor in model.subgraphs[0].tensors
        if tensor.shape is not None and list(tensor.shape) == [200, 32]
    }
    assert kind == "int8"


# Given a range for a weight, the quantizer makes one scale for all its channels: a trained
# text recogniser at -1 dB.
def test_weights_have_a_scale_for_each_channel(tmp_path: Path) -> None:
    samples = samples_for(net("relu6"))
    artifact, _ = finish(lowered("relu6", "tflite")[0], "int8-static", tmp_path, samples=samples)
    model = read_tflite(artifact.path.read_bytes())
    graph = model.subgraphs[0]
    weights = [
        graph.tensors[operator.inputs[1]]
        for operator in graph.operators
        if operator_name(model, operator) in ("CONV_2D", "DEPTHWISE_CONV_2D")
    ]
    assert sorted(len(each.quantization.scale) for each in weights) == [16, 16, 64, 64]


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("name", ["int8-static", "int8-dynamic", "int8-weights"])
def test_a_net_with_nothing_to_quantize_is_an_error(
    name: str, target: Format, tmp_path: Path
) -> None:
    class Nothing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.sin(x).abs()

    program = as_program(Nothing(), [X])
    artifact, _ = lower(program, target, tmp_path / "float")
    with pytest.raises(EdgeconvError) as caught:
        finish(artifact, name, tmp_path / "finished", samples=samples_for(program))
    assert caught.value.reason is Reason.NOTHING_TO_DO


class Wide(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return a * b, a * 3


# litert-torch multiplies int64 in 32 bits: 2⁴⁰·3 is 0.
@pytest.mark.parametrize("target", FORMATS)
def test_products_beyond_32_bits(target: Format, tmp_path: Path) -> None:
    given = [torch.zeros(3, dtype=torch.int64), torch.ones(3, dtype=torch.int64)]
    program = as_program(Wide(), given, names=["a", "b"], outputs=["ab", "a3"])
    artifact, _ = lower(program, target, tmp_path)
    a, b = np.array([2**40, 3, -5]), np.array([3, 2**33, 2**35])
    made = open_session(artifact).run({"a": a, "b": b})
    assert made["ab"].dtype == np.int64
    assert made["ab"].tolist() == [3 * 2**40, 3 * 2**33, -5 * 2**35]
    assert made["a3"].tolist() == [3 * 2**40, 9, -15]


def test_quotients_in_32_bits_are_said(tmp_path: Path) -> None:
    class Quotient(nn.Module):
        def forward(self, a: Tensor) -> Tensor:
            return a // 7

    program = as_program(Quotient(), [torch.zeros(3, dtype=torch.int64)])
    _, effect = lower(program, "tflite", tmp_path)
    flagged = {note.subject: note.message for note in effect.notes if note.kind == "flagged"}
    assert flagged["DIV"].startswith("1 of them takes int64 values in 32 bits")


# The converter writes RELU_0_TO_1, which XNNPACK does not take: a part for each gate.
def test_gates_do_not_split_the_graph(tmp_path: Path) -> None:
    class Gates(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convs = nn.ModuleList([nn.Conv2d(2, 2, 1) for _ in range(3)])

        def forward(self, x: Tensor) -> Tensor:
            for conv in self.convs:
                x = x * torch.clamp(conv(x), 0, 1)
            return x

    program = as_program(seeded(Gates), [X])
    artifact, _ = lower(program, "tflite", tmp_path)
    assert "RELU_0_TO_1" not in operator_counts(read_tflite(artifact.path.read_bytes()))
    assert open_session(artifact).delegate_parts == 1
    assert snr_db(program, artifact) > 90


# XNNPACK takes no HARD_SWISH in 8 bits: slower than float, in many parts.
def test_hard_swish_stays_float_and_is_said(tmp_path: Path) -> None:
    samples = samples_for(net("hardswish"))
    artifact, effect = finish(
        lowered("hardswish", "tflite")[0], "int8-static", tmp_path, samples=samples
    )
    assert open_session(artifact).delegate_parts == 1
    [note] = [note for note in effect.notes if note.kind == "stayed_float"]
    assert "HARD_SWISH" in note.subject


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shared, self.head = nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.head(torch.relu(self.shared(torch.relu(self.shared(x)))))
        return made


# The quantizer transposes a shared weight in place once for each layer: 0.1 dB.
def test_layers_that_share_a_weight(tmp_path: Path) -> None:
    program = as_program(seeded(Tied), [torch.randn(4, 16)])
    artifact, _ = lower(program, "onnx", tmp_path / "float")
    gemms = [n for n in read_onnx(artifact.path).graph.node if n.op_type == "Gemm"]
    assert len({n.input[1] for n in gemms}) < len(gemms)
    made, _ = finish(artifact, "int8-dynamic", tmp_path / "int8")
    assert snr_db(program, made) > 25


# A convolution in dynamic 8 bits has one range for all channels: a trained net at -1 dB.
def test_convolutions_are_not_quantized_dynamically_in_onnx(tmp_path: Path) -> None:
    artifact, effect = finish(lowered("cnn", "onnx")[0], "int8-dynamic", tmp_path)
    counts = onnx_counts(read_onnx(artifact.path))
    assert "ConvInteger" not in counts
    assert counts["MatMulInteger"] == 1
    assert [note.kind for note in effect.notes] == ["stayed_float"]


def test_a_net_of_convolutions_alone_is_told_what_to_take(tmp_path: Path) -> None:
    artifact = _old_conv(tmp_path)
    with pytest.raises(EdgeconvError, match="int8-weights") as caught:
        finish(artifact, "int8-dynamic", tmp_path / "int8")
    assert caught.value.reason is Reason.NOT_APPLICABLE


# The float16 tool puts its casts at the end, where no checker takes them.
@pytest.mark.parametrize("name", ["fp16", "int8-static", "int8-dynamic", "int8-weights"])
def test_finished_graphs_pass_the_checker(name: str, tmp_path: Path) -> None:
    samples = samples_for(net("cnn"))
    artifact, _ = finish(lowered("cnn", "onnx")[0], name, tmp_path, samples=samples)
    model = read_onnx(artifact.path)
    if name != "int8-dynamic":
        onnx.checker.check_model(model, full_check=True)
    made: set[str] = {tensor.name for tensor in model.graph.initializer}
    made |= {value.name for value in model.graph.input}
    for node in model.graph.node:
        assert set(filter(None, node.input)) <= made
        made |= set(node.output)


# A sample input that was a slice of a data set held all of it, 15.7 MB.
def test_samples_and_traces_stay_out_of_programs(tmp_path: Path) -> None:
    secret = torch.full((4096, 16), 0.123456789)
    program = as_program(seeded(Tied), [secret[:4]])
    program.save(tmp_path)
    content = (tmp_path / "program.pt2").read_bytes()
    assert secret[:4].numpy().tobytes() not in content
    assert b"test_planted_faults.py" not in content
    assert len(content) < 100_000


@pytest.mark.parametrize("target", FORMATS)
def test_tensor_names_tell_no_paths(target: Format) -> None:
    artifact, _ = lowered("cnn", target)
    if target == "onnx":
        graph = read_onnx(artifact.path).graph
        names = [each.name for each in (*graph.node, *graph.initializer)]
    else:
        model = read_tflite(artifact.path.read_bytes())
        names = [text(tensor.name) for tensor in model.subgraphs[0].tensors]
    assert not [name for name in names if re.search(r"\.py|/home|/root|/tmp", name)]


_LOWER_IN_ANOTHER_PROCESS = """
import sys
from pathlib import Path
from edgeconv.base.digests import digest_file
from edgeconv.conversion.program import Program
from edgeconv.testing.conversions import FORMATS, lower
program = Program.load(Path(sys.argv[1]))
for target in FORMATS:
    print(digest_file(lower(program, target, Path(sys.argv[2]) / target)[0].path))
"""


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    stored = tmp_path / "program"
    stored.mkdir()
    program = net("transformer")
    program.save(stored)
    here = [digest_file(lower(program, each, tmp_path / "here" / each)[0].path) for each in FORMATS]
    command = [
        sys.executable,
        "-c",
        _LOWER_IN_ANOTHER_PROCESS,
        str(stored),
        str(tmp_path / "there"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [line for line in done.stdout.split() if line.startswith("sha256:")] == here


def _images(count: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"x": rng.standard_normal((count, 1, 3, 8, 8)).astype(np.float32)}


def _old_conv(folder: Path) -> Artifact:
    """Conv, BatchNormalization and Relu in opset 11, an axis open, taken directly."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((16, 3, 3, 3)).astype(np.float32)
    norm = {name: rng.uniform(0.5, 1.5, 16).astype(np.float32) for name in ("s", "b", "m", "v")}
    nodes = [
        helper.make_node("Conv", ["x", "weight"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", *norm], ["n"]),
        helper.make_node("Relu", ["n"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "old",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 16, 8, 8])],
        [
            numpy_helper.from_array(value, name)
            for name, value in {"weight": weight, **norm}.items()
        ],
    )
    source, taken = folder / "source", folder / "taken"
    source.mkdir()
    taken.mkdir()
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
    onnx.save(model, str(source / "old.onnx"))
    return take_directly(source, "sha256:" + "0" * 64, {"x": (1, 3, 8, 8)}, taken)[0]


# ONNX Runtime 1.31.1 alone: SIGSEGV while it loads the file, which onnx.checker passes.
@pytest.mark.parametrize("order", [[1, 0, 2], [1, 2, 0]])
def test_a_transposed_batch_before_a_product_does_not_kill_the_runtime(
    order: list[int], tmp_path: Path
) -> None:
    width = [4, 16, 4][order[2]]
    weight = np.linspace(-1, 1, width * 32, dtype=np.float32).reshape(width, 32)
    graph = helper.make_graph(
        [
            helper.make_node("Transpose", ["x"], ["turned"], perm=order),
            helper.make_node("MatMul", ["turned", "w"], ["y"]),
        ],
        "turned",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 16, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    given, copied = tmp_path / "given", tmp_path / "copied"
    given.mkdir(), copied.mkdir()
    onnx.save(model, given / "net.onnx")
    artifact, _ = take_directly(given, "0" * 64, {"x": (4, 16, 4)}, copied)
    halved, effect = finish(artifact, "fp16", tmp_path / "halved")
    assert [(note.kind, note.subject) for note in effect.notes] == [("stayed_float", "Transpose")]
    loads = "import sys, onnxruntime; onnxruntime.InferenceSession(sys.argv[1])"
    subprocess.run([sys.executable, "-c", loads, str(halved.path)], check=True)
    x = np.linspace(-2, 2, 256, dtype=np.float32).reshape(4, 16, 4)
    got = open_session(halved).run({"x": x})["y"]
    np.testing.assert_allclose(got, x.transpose(order) @ weight, atol=0.02)
    [tensor] = [each for each in read_onnx(halved.path).graph.initializer if each.name == "w"]
    assert tensor.data_type == TensorProto.FLOAT16
