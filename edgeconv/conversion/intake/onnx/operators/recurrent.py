"""LSTM, GRU and RNN layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from edgeconv.conversion.intake.onnx.call import Array, Call, Results, Value, operator

# Order of the gates in torch, as places in the order of ONNX.
_LSTM_GATES = (0, 2, 3, 1)  # ONNX i o f c → torch i f g o
_GRU_GATES = (1, 0, 2)  # ONNX z r h → torch r z n
_DEFAULT_ACTIVATIONS = {
    "LSTM": ["sigmoid", "tanh", "tanh"],
    "GRU": ["sigmoid", "tanh"],
    "RNN": ["tanh"],
}


@dataclass(frozen=True)
class Layer:
    """A recurrent layer in torch's form.

    Attributes:
        x: [time, batch, features].
        weights: Per direction: input, recurrent, input bias, recurrent bias.
        initial: [directions, batch, hidden] for each state.
    """

    x: torch.Tensor
    weights: list[torch.Tensor]
    initial: list[torch.Tensor]
    directions: int
    backwards: bool
    batch_first: bool

    def results(self, y: torch.Tensor, *states: torch.Tensor) -> Results:
        """ONNX's outputs of torch's: y is [time, batch, directions · hidden]."""
        y = torch.flip(y, [0]) if self.backwards else y
        steps, batch = y.shape[0], y.shape[1]
        apart = y.reshape(steps, batch, self.directions, -1)
        if self.batch_first:
            return apart.permute(1, 0, 2, 3), *(state.transpose(0, 1) for state in states)
        return apart.permute(0, 2, 1, 3), *states


def _read(
    call: Call, x: Value, w: Value, r: Value, b: Value, lengths: Value, initial: list[Value],
    gates: tuple[int, ...],
) -> Layer:  # fmt: skip
    value = call.tensor(x)
    batch_first = bool(call.attr("layout", 0))
    value = value.transpose(0, 1) if batch_first else value
    _check(call, value, lengths)
    inputs, recurrent = call.constant(w, "W"), call.constant(r, "R")
    directions, hidden = inputs.shape[0], recurrent.shape[2]
    bias = None if b is None else call.constant(b, "B")
    weights: list[torch.Tensor] = []
    for one in range(directions):
        weights += [call.tensor(_gates(inputs[one], gates)),
                    call.tensor(_gates(recurrent[one], gates))]  # fmt: skip
        for half in range(2):
            if bias is None:
                part: Array = np.zeros(len(gates) * hidden, inputs.dtype)
            else:
                part = np.split(bias[one], 2)[half]
            weights.append(call.tensor(_gates(part, gates)))
    zeros = np.zeros((directions, value.shape[1], hidden), inputs.dtype)
    states = [
        call.tensor(zeros) if state is None else _state(call, state, batch_first)
        for state in initial
    ]
    backwards = call.attr("direction") == "reverse"
    value = torch.flip(value, [0]) if backwards else value
    return Layer(value, weights, states, directions, backwards, batch_first)


def _state(call: Call, state: Value, batch_first: bool) -> torch.Tensor:
    tensor = call.tensor(state)
    return tensor.transpose(0, 1) if batch_first else tensor


def _gates(array: Array, order: tuple[int, ...]) -> Array:
    parts = np.split(array, len(order))
    return np.ascontiguousarray(np.concatenate([parts[place] for place in order]))


def _check(call: Call, value: torch.Tensor, lengths: Value) -> None:
    call.ignore("hidden_size", "activation_alpha", "activation_beta", "output_sequence")
    usual = _DEFAULT_ACTIVATIONS[call.node.operator]
    count = 2 if call.attr("direction") == "bidirectional" else 1
    given = call.attr("activations")
    if given and [each.lower() for each in given][: len(usual) * count] != usual * count:
        raise call.refused(f"its activations are {given}")
    if call.attr("clip") is not None:
        raise call.refused("it clips its gates")
    if lengths is not None and set(call.ints(lengths, "sequence_lens")) != {value.shape[0]}:
        raise call.refused("its sequences differ in length")


@operator("LSTM", 7, 14, 22)
def lstm(
    call: Call, x: Value, w: Value, r: Value, b: Value = None, lengths: Value = None,
    h: Value = None, c: Value = None, peepholes: Value = None,
) -> Results:  # fmt: skip
    if call.attr("input_forget"):
        raise call.refused("its input and forget gates are coupled")
    if peepholes is not None and np.any(call.constant(peepholes, "P")):
        raise call.refused("it has peepholes")
    layer = _read(call, x, w, r, b, lengths, [h, c], _LSTM_GATES)
    made = torch.lstm(
        layer.x, layer.initial, layer.weights, True, 1, 0.0, False, layer.directions == 2, False
    )
    return layer.results(*made)


@operator("GRU", 7, 14, 22)
def gru(
    call: Call, x: Value, w: Value, r: Value, b: Value = None, lengths: Value = None,
    h: Value = None,
) -> Results:  # fmt: skip
    linear = bool(call.attr("linear_before_reset"))
    layer = _read(call, x, w, r, b, lengths, [h], _GRU_GATES)
    if linear:
        made = torch.gru(
            layer.x, layer.initial[0], layer.weights, True, 1, 0.0, False,
            layer.directions == 2, False,
        )  # fmt: skip
        return layer.results(*made)
    outputs, states = [], []
    for one in range(layer.directions):
        turned = torch.flip(layer.x, [0]) if one else layer.x
        y = _reset_first(turned, layer.weights[4 * one : 4 * one + 4], layer.initial[0][one])
        states.append(y[-1])
        outputs.append(torch.flip(y, [0]) if one else y)
    return layer.results(torch.cat(outputs, 2), torch.stack(states))


def _reset_first(x: torch.Tensor, weights: list[torch.Tensor], h: torch.Tensor) -> torch.Tensor:
    """A GRU whose reset gate acts before the recurrent product, which torch has not."""
    from_x, from_h, bias_x, bias_h = weights
    size = h.shape[-1]
    gates = torch.nn.functional.linear(x, from_x, bias_x)
    made = []
    for step in range(x.shape[0]):
        both = torch.nn.functional.linear(h, from_h[: 2 * size], bias_h[: 2 * size])
        reset, update = torch.sigmoid(gates[step, :, : 2 * size] + both).chunk(2, -1)
        inner = torch.nn.functional.linear(reset * h, from_h[2 * size :], bias_h[2 * size :])
        new = torch.tanh(gates[step, :, 2 * size :] + inner)
        h = (1 - update) * new + update * h
        made.append(h)
    return torch.stack(made)


@operator("RNN", 7, 14, 22)
def rnn(
    call: Call, x: Value, w: Value, r: Value, b: Value = None, lengths: Value = None,
    h: Value = None,
) -> Results:  # fmt: skip
    layer = _read(call, x, w, r, b, lengths, [h], (0,))
    made = torch.rnn_tanh(
        layer.x, layer.initial[0], layer.weights, True, 1, 0.0, False, layer.directions == 2,
        False,
    )  # fmt: skip
    return layer.results(*made)
