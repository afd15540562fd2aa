"""A want of memory is told as such, whatever a library or a step made of it."""

from __future__ import annotations

import errno
import subprocess
import sys

import numpy as np
import pytest
import torch

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.calls import as_error
from edgeconv.conversion.memory_errors import wants_memory
from edgeconv.recipe.specs import StepKind

FAULTS = {
    "MemoryError": MemoryError(),
    "C++": RuntimeError("std::bad_alloc"),
    "ONNX Runtime": RuntimeError("[ONNXRuntimeError] : Failed to allocate memory for requested"),
    "the system": OSError(errno.ENOMEM, "Cannot allocate memory"),
}


@pytest.mark.parametrize("named", FAULTS)
def test_a_want_of_memory_is_found_behind_what_was_made_of_it(named: str) -> None:
    made = EdgeconvError(Reason.MODEL_UNREADABLE, "torch can't read it.")
    made.__cause__ = RuntimeError("somewhere between")
    made.__cause__.__context__ = FAULTS[named]
    error = as_error(StepKind.LOWERING, "tflite", made)
    assert error.reason is Reason.LIMIT_EXCEEDED
    assert "in lowering to TFLite" in error.message
    assert "--step-memory" in error.fix


def test_what_numpy_and_torch_raise_is_found() -> None:
    for allocate in (lambda: np.ones(2**58), lambda: torch.ones(2**58)):
        with pytest.raises((MemoryError, RuntimeError)) as caught:
            allocate()
        assert wants_memory(caught.value)


@pytest.mark.parametrize(
    "fault",
    [ValueError("std::bad_alloc of a name"), RuntimeError("no kernel"), OSError(errno.ENOENT, "x")],
)
def test_another_fault_is_none(fault: Exception) -> None:
    assert not wants_memory(fault)


def test_a_fault_that_came_of_itself_is_read_once() -> None:
    first, second = RuntimeError("first"), RuntimeError("second")
    first.__context__, second.__context__ = second, first
    assert not wants_memory(first)


@pytest.mark.parametrize(
    ("limit", "said"), [("8 << 30", "more than 8 GiB in"), ("-1", "more memory than there is in")]
)
def test_the_limit_is_named(limit: str, said: str) -> None:
    program = f"""
import resource
resource.setrlimit(resource.RLIMIT_AS, ({limit}, -1))
from edgeconv.conversion.calls import as_error
from edgeconv.recipe.specs import StepKind
print(as_error(StepKind.LOWERING, "tflite", MemoryError()).message)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"It needed {said} lowering to TFLite.\n"
