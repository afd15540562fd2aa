"""Runs TFLite files in LiteRT. Only child processes import this module."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.recipe.signature import DType, TensorSpec
from edgeconv.runtimes.litert.spec import LITERT
from edgeconv.runtimes.session import DYNAMIC, Session, check_feeds, refuse

try:
    from ai_edge_litert.interpreter import Interpreter
except ModuleNotFoundError:
    # The one for 32-bit and older boards, where LiteRT has no wheel.
    from tflite_runtime.interpreter import Interpreter

_DELEGATE = "DELEGATE"
_IDENTIFIER = b"TFL3"
_FAILED_CHECKS = ("not a valid Flatbuffer", "is schema version")


def load(path: Path, *, threads: int = 1, spinning: bool = False) -> Session:
    """Loads a TFLite file with the default delegate, XNNPACK; see `Load`.

    Idle threads can't be told to spin or not: `spinning` has no effect.
    """
    try:
        interpreter = Interpreter(model_path=str(path), num_threads=threads)
        interpreter.allocate_tensors()
    except Exception as fault:
        # ValueError or RuntimeError; a version without an operator raises the same type as
        # one that was given no TFLite file.
        words = str(fault).replace(str(path), path.name)
        refuse(LITERT.title, path.name, "load", words, is_damaged=_is_damaged(path, words))
    return LiteRtSession(interpreter, path.name, threads=threads)


def _is_damaged(path: Path, words: str) -> bool:
    """Whether the file itself is at fault: it lacks the identifier, or fails the check."""
    if any(check in words for check in _FAILED_CHECKS):
        return True
    if not path.is_file() or not os.access(path, os.R_OK):
        return False
    with path.open("rb") as stream:
        return stream.read(8)[4:] != _IDENTIFIER


class LiteRtSession:
    """A model in LiteRT.

    Names are those of the signature of the primary subgraph where there is one, else
    those of the tensors.
    """

    def __init__(self, interpreter: Any, file: str, *, threads: int) -> None:
        self._interpreter = interpreter
        self._file = file
        self._threads = threads
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        given, made = _signature_names(interpreter, inputs, outputs)
        self.inputs = tuple(
            _spec(file, name, each) for name, each in zip(given, inputs, strict=True)
        )
        self.outputs = tuple(
            _spec(file, name, each) for name, each in zip(made, outputs, strict=True)
        )
        self._input_at = {name: each["index"] for name, each in zip(given, inputs, strict=True)}
        self._output_at = {name: each["index"] for name, each in zip(made, outputs, strict=True)}
        self._sizes = {name: tuple(each["shape"]) for name, each in zip(given, inputs, strict=True)}
        self.delegate_parts = _delegate_parts(interpreter)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """One inference; see `Session`."""
        interpreter = self._interpreter
        try:
            if self._differ_in_size(feeds):
                check_feeds(LITERT.title, self._file, self.inputs, feeds)
                self._resize(feeds)
            for name, index in self._input_at.items():
                interpreter.set_tensor(index, feeds[name])
            interpreter.invoke()
            return {name: interpreter.get_tensor(index) for name, index in self._output_at.items()}
        except (RuntimeError, ValueError) as fault:
            check_feeds(LITERT.title, self._file, self.inputs, feeds)
            refuse(LITERT.title, self._file, "run", fault)

    def describe(self) -> str:
        """Runtime, version, delegate, threads and spinning, in words."""
        threads = f"{self._threads} thread{'s' * (self._threads != 1)}"
        delegate = _delegate_words(self.delegate_parts)
        version = LITERT.installed_version()
        return f"{LITERT.title} {version}, {delegate}, {threads}, spinning not selectable"

    def close(self) -> None:
        """Lets go of the model."""
        self._interpreter = None

    def _differ_in_size(self, feeds: Mapping[str, NDArray[Any]]) -> bool:
        if len(feeds) != len(self._sizes):
            return True
        return any(
            name not in feeds or feeds[name].shape != size for name, size in self._sizes.items()
        )

    def _resize(self, feeds: Mapping[str, NDArray[Any]]) -> None:
        for name, index in self._input_at.items():
            self._interpreter.resize_tensor_input(index, feeds[name].shape)
            self._sizes[name] = feeds[name].shape
        self._interpreter.allocate_tensors()


def _signature_names(
    interpreter: Any, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]
) -> tuple[list[str], list[str]]:
    """The user's names in the order of the primary subgraph.

    Signatures list their names alphabetically; each names a tensor, and the tensors'
    order is the subgraph's.
    """
    for key in interpreter.get_signature_list():
        runner = interpreter.get_signature_runner(key)
        given = _by_tensor(runner.get_input_details())
        made = _by_tensor(runner.get_output_details())
        if sorted(given) == sorted({each["index"] for each in inputs}) and sorted(made) == sorted(
            {each["index"] for each in outputs}
        ):
            return (
                [_take(given, each) for each in inputs],
                [_take(made, each) for each in outputs],
            )
    return [each["name"] for each in inputs], [each["name"] for each in outputs]


def _by_tensor(details: Mapping[str, Mapping[str, Any]]) -> dict[int, list[str]]:
    names: dict[int, list[str]] = {}
    for name, each in details.items():
        names.setdefault(each["index"], []).append(name)
    return names


def _take(names: dict[int, list[str]], tensor: Mapping[str, Any]) -> str:
    # One tensor can be several outputs, each with a name of its own.
    left = names[tensor["index"]]
    return left.pop(0) if len(left) > 1 else left[0]


def _spec(file: str, name: str, described: Mapping[str, Any]) -> TensorSpec:
    dtype = np.dtype(described["dtype"]).name
    if dtype not in DType.__members__.values():
        refuse(LITERT.title, file, "take", f"{name!r} is of {dtype}, which is no number")
    signature = described.get("shape_signature", ())
    shape = signature if len(signature) else described["shape"]
    sizes = tuple(int(size) if size >= 0 else DYNAMIC for size in shape)
    return TensorSpec(name=name, dtype=DType(dtype), shape=sizes)


def _delegate_words(parts: int | None) -> str:
    if parts is None:
        return "XNNPACK"
    if parts == 0:
        return "no delegate"
    return f"XNNPACK in {parts} part{'s' * (parts != 1)}"


def _delegate_parts(interpreter: Any) -> int | None:
    # No public call tells it; where the private one is gone the answer is None.
    operators = getattr(interpreter, "_get_ops_details", None)
    if operators is None:
        return None
    return [each["op_name"] for each in operators()].count(_DELEGATE)
