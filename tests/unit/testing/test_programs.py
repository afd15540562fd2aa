"""The tiny programs: seeded, named, and computing what their modules compute."""

from __future__ import annotations

import pytest
import torch

from edgeconv.recipe.signature import DType
from edgeconv.testing.programs import NETWORKS, as_program, network, program


@pytest.mark.parametrize("name", NETWORKS)
def test_a_program_computes_what_its_module_does(name: str) -> None:
    module, inputs = network(name)
    made = program(name)
    with torch.no_grad():
        want = module(*inputs)
        got = made.exported.module(check_guards=False)(*inputs)
    wanted = want if isinstance(want, tuple) else (want,)
    assert isinstance(got, tuple)
    for left, right in zip(got, wanted, strict=True):
        torch.testing.assert_close(left, right)
    shapes = [spec.shape for spec in made.signature.outputs]
    assert shapes == [tuple(tensor.shape) for tensor in wanted]


def test_a_seed_gives_the_same_weights_and_another_seed_others() -> None:
    one, same, other = (network("resnet", seed)[0].state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["stem.0.weight"], other["stem.0.weight"])


def test_making_a_network_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    want = torch.randn(4)
    torch.manual_seed(3)
    network("mobilenet")
    assert torch.equal(torch.randn(4), want)


def test_the_names_given_are_the_signature() -> None:
    made = as_program(torch.nn.Linear(3, 2), (torch.zeros(1, 3),), names=["x"], outputs=["y"])
    (given,), (result,) = made.signature.inputs, made.signature.outputs
    assert (given.name, given.dtype, given.shape) == ("x", DType.FLOAT32, (1, 3))
    assert (result.name, result.shape) == ("y", (1, 2))


def test_an_unknown_network_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        network("alexnet")
