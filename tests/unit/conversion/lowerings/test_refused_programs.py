"""What can't be lowered is refused in words that name the operator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.testing.conversions import Format, lower
from edgeconv.testing.programs import as_program


class Body(nn.Module):
    """A function as a module."""

    def __init__(self, body: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def refusal(body: Callable[[Tensor], Tensor], target: Format, folder: Path) -> EdgeconvError:
    program = as_program(Body(body), [torch.randn(1, 3, 10, 10)])
    with pytest.raises(EdgeconvError) as caught:
        lower(program, target, folder)
    assert caught.value.reason is Reason.LOWERING_FAILED
    return caught.value


def test_an_operator_that_onnx_has_no_words_for_is_named(tmp_path: Path) -> None:
    error = refusal(lambda x: functional.adaptive_max_pool2d(x, (3, 4)), "onnx", tmp_path)
    assert error.metadata["operator"] == "aten.adaptive_max_pool2d"
    assert "at aten.adaptive_max_pool2d: No ONNX function found" in error.message
    assert "aten.adaptive_max_pool2d" in error.fix
    assert "\x1b" not in str(error.to_json())
    assert "Next steps" not in error.message


def test_a_file_of_our_own_that_litert_refuses_is_no_damaged_file(tmp_path: Path) -> None:
    error = refusal(lambda x: torch.sort(x, -1)[0], "tflite", tmp_path)
    assert "SORT" in error.message
    assert "damaged" not in error.fix
