"""Every float tensor of a file, sample by sample, from the file's own runtime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, helper

from edgeconv.conversion.finishes.onnx_session import open_graph
from edgeconv.conversion.onnx_file import write_onnx
from edgeconv.conversion.samples import Samples


def onnx_tensors(
    model: ModelProto, samples: Samples, scratch: Path
) -> Iterator[Mapping[str, NDArray[Any]]]:
    """Inputs and node outputs of the main graph, by name.

    The graph runs as it is, with every node's output made an output of the graph.
    """
    watched = ModelProto()
    watched.CopyFrom(model)
    outputs = {value.name for value in watched.graph.output}
    produced = [name for node in watched.graph.node for name in node.output if name]
    for name in produced:
        if name not in outputs:
            watched.graph.output.append(helper.make_empty_tensor_value_info(name))
    scratch.mkdir(parents=True, exist_ok=True)
    session = open_graph(write_onnx(watched, scratch), "none")
    names = [each.name for each in session.get_outputs()]
    for feeds in samples:
        values = session.run(names, feeds)
        yield {
            **feeds,
            **{k: v for k, v in zip(names, values, strict=True) if isinstance(v, np.ndarray)},
        }


def tflite_tensors(content: bytes, samples: Samples) -> Iterator[Mapping[str, NDArray[Any]]]:
    """All tensors of the main subgraph by name, whatever delegate computes them."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(
        model_content=content, num_threads=2, experimental_preserve_all_tensors=True
    )
    interpreter.allocate_tensors()
    [key] = interpreter.get_signature_list()
    inputs = {
        name: each["index"]
        for name, each in interpreter.get_signature_runner(key).get_input_details().items()
    }
    wanted = [each for each in interpreter.get_tensor_details() if each["dtype"] is np.float32]
    for feeds in samples:
        for name, index in inputs.items():
            interpreter.set_tensor(index, feeds[name])
        interpreter.invoke()
        yield {
            each["name"]: value
            for each in wanted
            if (value := _tensor(interpreter, each["index"])) is not None
        }


def _tensor(interpreter: Any, index: int) -> NDArray[Any] | None:
    try:
        return np.asarray(interpreter.get_tensor(index))
    except ValueError:
        # A delegate's own tensors have no data to read.
        return None
