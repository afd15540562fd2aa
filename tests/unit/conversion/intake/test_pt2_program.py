"""Saved program → Program: names, structure, static shapes, tensors of its own."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.intake import inspect_source, take_in
from edgeconv.conversion.program import Program
from edgeconv.conversion.sources import open_source
from edgeconv.recipe.signature import SizeRange

Shapes = Mapping[str, tuple[int, ...]]


def _save(folder: Path, module: nn.Module, *inputs: Any, **more: Any) -> nn.Module:
    exported = torch.export.export(module, inputs, **more)
    torch.export.save(exported, folder / "m.pt2")
    return module


def _take(folder: Path, shapes: Shapes | None = None) -> Program:
    return take_in(folder, "sha256:source", shapes or {}, lambda fraction, words: None)[0]


def _run(program: Program, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
    with torch.no_grad():
        made: tuple[torch.Tensor, ...] = program.exported.module(check_guards=False)(*inputs)
    return made


def _refusal(folder: Path, shapes: Shapes | None = None) -> EdgeconvError:
    with pytest.raises(EdgeconvError) as caught:
        _take(folder, shapes)
    return caught.value


class _Structured(nn.Module):
    """Keyword inputs, a dictionary out, an input that is no tensor."""

    def forward(
        self, x: torch.Tensor, pair: tuple[torch.Tensor, torch.Tensor], *, times: int,
        last: torch.Tensor,
    ) -> dict[str, torch.Tensor]:  # fmt: skip
        return {"difference": x * times - pair[0], "sum": pair[1] + last}


def test_structure_becomes_positions_in_the_users_order(tmp_path: Path) -> None:
    one, two, three, four = (torch.full((2,), float(number)) for number in (1, 2, 3, 4))
    _save(tmp_path, _Structured(), one, (two, three), kwargs={"last": four, "times": 5})
    program = _take(tmp_path)
    names = [spec.name for spec in program.signature.inputs]
    assert names == [each.name for each in inspect_source(tmp_path).inputs]
    assert names == ["x", "pair_0", "pair_1", "last"]
    assert [spec.name for spec in program.signature.outputs] == ["difference", "sum"]
    given = {"x": one, "pair_0": two, "pair_1": three, "last": four}
    difference, total = _run(program, *(given[name] for name in names))
    assert difference.tolist() == [3.0, 3.0]
    assert total.tolist() == [7.0, 7.0]


def _named(folder: Path, module: nn.Module, *inputs: torch.Tensor) -> tuple[list[str], list[str]]:
    """The names of the outputs, the same wherever they stand, and the notes on them."""
    _save(folder, module, *inputs)
    inspection = inspect_source(folder)
    names = [each.name for each in inspection.outputs]
    assert [each.name for each in _take(folder).signature.outputs] == names
    source = open_source(folder, {})
    made = source.run({each.name: np.ones(each.shape, np.float32) for each in source.inputs})
    assert list(made) == names
    for place, array in enumerate(made.values()):
        assert np.all(array == 1 + place), "each name stands for its own tensor"
    return names, [note for note in inspection.notes if "utput" in note]


class _Returns(nn.Module):
    """Returns input + 0, input + 1, … in a structure of its own."""

    def __init__(self, build: Callable[[list[torch.Tensor]], Any]) -> None:
        super().__init__()
        self.build = build

    def forward(self, x: torch.Tensor) -> Any:
        return self.build([x + place for place in range(4)])


@pytest.mark.parametrize(
    ("build", "names"),
    [
        (lambda t: {"scores": t[0], "features": t[1]}, ["scores", "features"]),
        (lambda t: {"b": t[0], "a": [t[1], t[2]]}, ["b", "a_0", "a_1"]),
        (lambda t: (t[0], {"boxes": t[1]}), ["output_0", "output_1_boxes"]),
        (lambda t: OrderedDict(z=t[0], a={"b": t[1]}), ["z", "a_b"]),
    ],
)
def test_keys_of_what_is_returned_are_the_outputs_names(
    build: Callable[[Any], Any], names: list[str], tmp_path: Path
) -> None:
    found, _ = _named(tmp_path, _Returns(build), torch.ones(2))
    assert found == names


@pytest.mark.parametrize(
    ("build", "names", "said"),
    [
        (lambda t: {"a b": t[0]}, ["a_b"], ["['a b'] is called 'a_b'"]),
        (lambda t: {"x": t[0], "y": t[1]}, ["x_1", "y"], ["['x'] is called 'x_1'"]),
        (
            lambda t: {"a": {"b": t[0]}, "a_b": t[1], "得": t[2]},
            ["a_b", "a_b_1", "output_2"],
            ["['a_b'] is called 'a_b_1'", "['得'] is called 'output_2'"],
        ),
        (lambda t: (t[0], (t[1], t[2])), ["output_0", "output_1", "output_2"], ["have no names"]),
        (lambda t: t[0], ["output_0"], ["have no names"]),
    ],
)
def test_a_name_that_is_no_key_is_said(
    build: Callable[[Any], Any], names: list[str], said: list[str], tmp_path: Path
) -> None:
    found, notes = _named(tmp_path, _Returns(build), torch.ones(2))
    assert found == names
    assert len(notes) == len(said)
    assert all(words in note for words, note in zip(said, notes, strict=True))


class _Pool(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(image).mean((2, 3)))  # type: ignore[no-any-return]


def test_dynamic_axes_become_the_sizes_given(tmp_path: Path) -> None:
    batch, width = torch.export.Dim("batch", max=8), torch.export.Dim("width", min=4, max=99)
    module = _save(
        tmp_path, _Pool().eval(), torch.rand(2, 3, 9, 9),
        dynamic_shapes={"image": {0: batch, 3: width}},
    )  # fmt: skip
    program = _take(tmp_path, {"image": (5, 3, 9, 33)})
    assert program.signature.inputs[0].shape == (5, 3, 9, 33)
    assert program.signature.outputs[0].shape == (5, 2)
    image = torch.rand(5, 3, 9, 33)
    assert torch.allclose(_run(program, image)[0], module(image), atol=1e-6)
    for operator in program.exported.graph.nodes:
        assert "sym_size" not in str(operator.target)


def test_an_open_axis_is_named_after_its_input_and_told_with_its_range(tmp_path: Path) -> None:
    batch, width = torch.export.Dim("batch"), torch.export.Dim("width", min=4, max=99)
    _save(
        tmp_path, _Pool().eval(), torch.rand(2, 3, 9, 9),
        dynamic_shapes={"image": {0: batch, 3: width}},
    )  # fmt: skip
    inspection = inspect_source(tmp_path)
    assert inspection.inputs[0].shape == ("image.0", 3, 9, "image.3")
    assert inspection.outputs[0].shape == ("image.0", 2)
    told = [note for note in inspection.notes if note.startswith("Axis")]
    assert len(told) == 2
    assert told[0].endswith(" and more.")
    assert told[1] == "Axis 3 of input 'image' was exported for 4 to 99."
    assert inspection.ranges["image.3"] == SizeRange(least=4, most=99)
    assert inspection.ranges["image.0"].most is None
    error = _refusal(tmp_path, {})
    assert error.reason is Reason.DIMENSION_UNKNOWN
    assert error.fix == "Give the whole shape: --shape image=1,3,9,SIZE"


@pytest.mark.parametrize("shape", [(9, 3, 9, 9), (1, 3, 9, 200)])
def test_a_size_the_model_was_not_exported_for_is_refused(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    batch, width = torch.export.Dim("batch", max=8), torch.export.Dim("width", min=4, max=99)
    _save(
        tmp_path, _Pool().eval(), torch.rand(2, 3, 9, 9),
        dynamic_shapes={"image": {0: batch, 3: width}},
    )  # fmt: skip
    error = _refusal(tmp_path, {"image": shape})
    assert error.reason is Reason.SHAPE_INVALID
    assert error.violations[0].field == "shapes.image"
    with pytest.raises(EdgeconvError) as caught:
        open_source(tmp_path, {"image": shape})
    assert caught.value.reason is Reason.SHAPE_INVALID, "the source itself, as its reference runs"


def test_operators_know_the_users_module(tmp_path: Path) -> None:
    _save(tmp_path, _Pool().eval(), torch.rand(1, 3, 9, 9))
    program = _take(tmp_path)
    assert program.origins["conv2d"] == "conv"
    assert program.origins["linear"] == "head"


class _Awkward(nn.Module):
    """Weights that are strided, shared and expanded, as converters take for one another."""

    def __init__(self) -> None:
        super().__init__()
        whole = torch.randn(8, 6)
        self.left = nn.Parameter(whole[:, ::2].T)
        self.register_buffer("wide", torch.randn(1, 3).expand(4, 3))
        self.register_buffer("again", whole[:3, 3:])
        self.conv = nn.Conv2d(2, 2, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: torch.Tensor, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return x @ self.left, x * self.wide @ self.again, self.conv(image)


def test_every_tensor_is_contiguous_and_alone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = _save(tmp_path, _Awkward().eval(), torch.rand(4, 3), torch.rand(1, 2, 5, 5))
    program = _take(tmp_path)
    tensors = [*program.exported.state_dict.values(), *program.exported.constants.values()]
    assert len(tensors) >= 5
    assert all(tensor.is_contiguous() for tensor in tensors)
    places = [tensor.untyped_storage().data_ptr() for tensor in tensors]
    assert len(set(places)) == len(places)
    x, image = torch.rand(4, 3), torch.rand(1, 2, 5, 5)
    for want, got in zip(module(x, image), _run(program, x, image), strict=True):
        assert torch.allclose(want, got, atol=1e-6)


class _Dropping(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.dropout(x, 0.5, training=self.training)


class _Normalizing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize("module", [_Dropping(), _Normalizing()])
def test_a_program_in_training_mode_is_refused(tmp_path: Path, module: nn.Module) -> None:
    _save(tmp_path, module.train(), torch.rand(3, 4))
    error = _refusal(tmp_path)
    assert error.reason is Reason.OPERATOR_UNSUPPORTED
    assert "training mode" in error.message
    assert "eval()" in error.fix
    with pytest.raises(EdgeconvError):
        inspect_source(tmp_path)


class _Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count.add_(1)  # type: ignore[operator]
        return x + self.count


def test_state_that_changes_is_refused(tmp_path: Path) -> None:
    _save(tmp_path, _Counting().eval(), torch.rand(3))
    error = _refusal(tmp_path)
    assert error.reason is Reason.OPERATOR_UNSUPPORTED
    assert "count" in error.message


_DRAWS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "randn_like": lambda x: x + torch.randn_like(x),
    "rand": lambda x: x + torch.rand(3, 4),
    "randperm": lambda x: x + torch.randperm(4),
    "bernoulli": lambda x: x + torch.bernoulli(torch.sigmoid(x)),
    "poisson": lambda x: x + torch.poisson(torch.sigmoid(x)),
    "multinomial": lambda x: x + torch.multinomial(torch.sigmoid(x), 4),
    "binomial": lambda x: torch.binomial(torch.full_like(x, 9.0), torch.sigmoid(x)),
    "exponential": lambda x: x + torch.empty(3, 4).exponential_(),
    "geometric": lambda x: x + torch.empty(3, 4).geometric_(0.5),
    "cauchy": lambda x: x + torch.empty(3, 4).cauchy_(),
    "log_normal": lambda x: x + torch.empty(3, 4).log_normal_(),
    "attention that drops": lambda x: functional.scaled_dot_product_attention(
        x[None, None], x[None, None], x[None, None], dropout_p=0.5
    ),
}


class _Calling(nn.Module):
    def __init__(self, call: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.call = call

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.call(x)


@pytest.mark.parametrize("name", _DRAWS)
def test_random_numbers_are_refused(tmp_path: Path, name: str) -> None:
    _save(tmp_path, _Calling(_DRAWS[name]).eval(), torch.rand(3, 4))
    assert "random numbers" in _refusal(tmp_path).message


def test_dropout_with_its_flag_left_open_is_training(tmp_path: Path) -> None:
    drops = _Calling(lambda x: torch.native_dropout(x, 0.5, None)[0])
    _save(tmp_path, drops.eval(), torch.rand(3, 4))
    assert "training mode" in _refusal(tmp_path).message


_SURE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "attention": lambda x: functional.scaled_dot_product_attention(
        x[None, None], x[None, None], x[None, None]
    ),
    "dropout": lambda x: functional.dropout(x, 0.5, training=False),
    "rrelu": lambda x: functional.rrelu(x, training=False),
}


@pytest.mark.parametrize("name", _SURE)
def test_what_draws_nothing_with_its_arguments_is_taken(tmp_path: Path, name: str) -> None:
    module = _save(tmp_path, _Calling(_SURE[name]).eval(), torch.rand(3, 4))
    value = torch.randn(3, 4)
    assert torch.allclose(_run(_take(tmp_path), value)[0], module(value), atol=1e-6)


class _Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)[0]  # type: ignore[no-any-return]


def test_a_recurrent_layer_without_dropout_is_the_same_in_training_mode(tmp_path: Path) -> None:
    module = _save(tmp_path, _Recurrent().train(), torch.rand(5, 1, 4))
    value = torch.rand(5, 1, 4)
    assert torch.allclose(_run(_take(tmp_path), value)[0], module(value), atol=1e-6)


class _NoGrad(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return torch.relu(x) + 1


def test_regions_without_gradients_are_inlined(tmp_path: Path) -> None:
    _save(tmp_path, _NoGrad(), torch.rand(3, requires_grad=True))
    program = _take(tmp_path)
    targets = [str(n.target) for n in program.exported.graph.nodes if n.op == "call_function"]
    assert targets == ["aten.relu.default", "aten.add.Tensor"]


class _InPlace(nn.Module):
    """Activations in place, a sum in place, and a tensor that is read again afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        made = self.norm(self.conv(x))
        shown = made * 2
        functional.relu(made, inplace=True)
        made += shown
        return made, shown, functional.hardswish(made + 1, inplace=True)


def test_operators_in_place_become_plain_ones(tmp_path: Path) -> None:
    module = _save(tmp_path, _InPlace().eval(), torch.rand(1, 3, 6, 6))
    program = _take(tmp_path)
    image = torch.randn(1, 3, 6, 6)
    for want, got in zip(module(image), _run(program, image), strict=True):
        assert torch.allclose(want, got, atol=1e-6)
    targets = [str(n.target) for n in program.exported.graph.nodes if n.op == "call_function"]
    assert "aten.batch_norm.default" in targets
    assert not any("_." in target for target in targets)


class _ThroughView(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = x * 1
        made[:, 0] = 0
        made.view(-1).relu_()
        return made


def test_a_view_changed_in_place_is_rewritten_and_said(tmp_path: Path) -> None:
    module = _save(tmp_path, _ThroughView(), torch.rand(2, 3))
    program = _take(tmp_path)
    value = torch.randn(2, 3)
    assert torch.equal(_run(program, value)[0], module(value))
    assert any("in place" in note for note in inspect_source(tmp_path).notes)
    for operator in program.exported.graph.nodes:
        schema = getattr(operator.target, "_schema", None)
        assert schema is None or not schema.is_mutable


class _ChangesInput(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x.add_(1)
        return x * 2


def test_an_input_changed_in_place_is_refused(tmp_path: Path) -> None:
    _save(tmp_path, _ChangesInput(), torch.rand(2, 3))
    error = _refusal(tmp_path)
    assert error.reason is Reason.OPERATOR_UNSUPPORTED
    assert "'x'" in error.message
