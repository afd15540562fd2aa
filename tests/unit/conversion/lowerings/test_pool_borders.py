"""Borders of maximum pools: the same outputs in LiteRT to the bit, all of it delegated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from edgeconv.conversion.lowerings.pool_borders import copy_pool_borders
from edgeconv.conversion.tflite_file import (
    add_constant,
    add_tensor,
    make_operator,
    operator_counts,
    read_tflite,
    write_tflite,
)
from edgeconv.runtimes.litert.child import load
from edgeconv.testing.conversions import lower, snr_db
from edgeconv.testing.programs import as_program, seeded

LOWEST = float(np.finfo(np.float32).min)
FLOAT = schema.TensorType.FLOAT32
Pads = tuple[tuple[int, int], tuple[int, int]]


def padded_pool(
    size: tuple[int, int],
    pads: Pads,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    *,
    fill: float = LOWEST,
    batch_pad: int = 0,
    shown: bool = False,
) -> Any:
    """PADV2 and MAX_POOL_2D on [1, *size, 3]; `shown`: what PADV2 makes is an output too."""
    model = schema.ModelT()
    graph = schema.SubGraphT()
    model.version, model.operatorCodes, model.subgraphs = 3, [], [graph]
    model.buffers, graph.tensors = [schema.BufferT()], []
    source = add_tensor(model, (1, *size, 3), FLOAT, "x")
    wide = [n + sum(pad) for n, pad in zip(size, pads, strict=True)]
    amounts = np.array([(batch_pad, 0), *pads, (0, 0)], np.int32)
    between = add_tensor(model, (1 + batch_pad, *wide, 3), FLOAT, "between")
    inputs = [
        source,
        add_constant(model, amounts, "amounts"),
        add_constant(model, np.array(fill, np.float32), "fill"),
    ]
    outs = [(n - k) // s + 1 for n, k, s in zip(wide, kernel, strides, strict=True)]
    made = add_tensor(model, (1 + batch_pad, *outs, 3), FLOAT, "y")
    pool = schema.Pool2DOptionsT()
    pool.padding = schema.Padding.VALID
    (pool.filterHeight, pool.filterWidth), (pool.strideH, pool.strideW) = kernel, strides
    graph.operators = [
        make_operator(model, "PADV2", inputs, between, schema.PadV2OptionsT()),
        make_operator(model, "MAX_POOL_2D", [between], made, pool),
    ]
    graph.inputs, graph.outputs = [source], [made, between] if shown else [made]
    return read_tflite(write_tflite(model))


def outputs_of(model: Any, path: Path, values: NDArray[Any]) -> NDArray[Any]:
    path.write_bytes(write_tflite(model))
    return load(path).run({"x": values})["y"]


@st.composite
def pools(draw: st.DrawFn) -> dict[str, Any]:
    """Pools whose every window holds an element of the tensor."""
    kernel = draw(st.tuples(st.integers(2, 4), st.integers(2, 4)))
    strides = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    size = draw(st.tuples(st.integers(4, 9), st.integers(4, 9)))
    pads = tuple((draw(st.integers(0, k - 1)), draw(st.integers(0, k - 1))) for k in kernel)
    return {"size": size, "pads": pads, "kernel": kernel, "strides": strides}


@given(pool=pools(), seed=st.integers(0, 2**16))
@settings(max_examples=60, deadline=None)
def test_the_copies_change_no_output(
    pool: dict[str, Any], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("pool")
    values = np.random.default_rng(seed).standard_normal((1, *pool["size"], 3)) - 5
    given_values = values.astype(np.float32)
    model = padded_pool(**pool)
    want = outputs_of(model, folder / "before.tflite", given_values)
    assert copy_pool_borders(model) == 1
    assert "PADV2" not in operator_counts(model)
    got = outputs_of(model, folder / "after.tflite", given_values)
    np.testing.assert_array_equal(got, want)


THREE = {"size": (8, 8), "pads": ((1, 1), (1, 1)), "kernel": (3, 3), "strides": (2, 2)}


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"fill": 0.0}, id="another number around it"),
        pytest.param({"shown": True}, id="the padded tensor is an output"),
        pytest.param({"batch_pad": 1}, id="the batch is padded too"),
        pytest.param({"pads": ((3, 0), (1, 1))}, id="windows that lie outside before"),
        pytest.param({"pads": ((1, 5), (1, 1))}, id="windows that lie outside after"),
    ],
)
def test_what_copies_can_not_say_stays(changed: dict[str, Any]) -> None:
    model = padded_pool(**{**THREE, **changed})
    assert copy_pool_borders(model) == 0
    assert operator_counts(model) == {"PADV2": 1, "MAX_POOL_2D": 1}


class _Stem(nn.Module):
    """The beginning of a residual network: here SAME padding is not what the pool means."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = nn.functional.max_pool2d(nn.functional.silu(self.first(x)), 3, 2, 1)
        made: torch.Tensor = self.second(pooled)
        return made


def test_a_network_with_such_a_pool_runs_in_one_part(tmp_path: Path) -> None:
    program = as_program(seeded(_Stem), [torch.randn(1, 3, 32, 32)], names=("x",), outputs=("y",))
    artifact, _ = lower(program, "tflite", tmp_path)
    session = load(artifact.path)
    assert session.delegate_parts == 1  # type: ignore[attr-defined]
    assert snr_db(program, artifact) > 90
