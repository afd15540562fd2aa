"""Runs ONNX files in ONNX Runtime. Only child processes import this module.

ONNX Runtime sends telemetry from Linux unless ORT_DISABLE_TELEMETRY is set before its
library is loaded: it writes a device id and a database below the user's cache folder,
starts a thread and looks up a host. Calls and other variables come too late.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.recipe.signature import DType, TensorSpec
from edgeconv.runtimes.onnxruntime.spec import ONNXRUNTIME
from edgeconv.runtimes.session import DYNAMIC, Session, check_feeds, refuse

_TELEMETRY_OFF = "ORT_DISABLE_TELEMETRY"

if "onnxruntime" in sys.modules and os.environ.get(_TELEMETRY_OFF) != "1":
    raise EdgeconvError(
        Reason.INTERNAL,
        f"onnxruntime was imported before {_TELEMETRY_OFF}=1 was set: its telemetry runs.",
        variable=_TELEMETRY_OFF,
    )
os.environ[_TELEMETRY_OFF] = "1"

import onnxruntime  # noqa: E402  (the variable must stand before)
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidProtobuf  # noqa: E402

_LOG_ERRORS_ONLY = 3
_PLACE_IN_CODE = re.compile(r"/onnxruntime_src/\S+:\d+ (?:[\w:<>,&*~ ]+\([^()]*\)(?: const)?\s*)?")
_DTYPES = {
    "tensor(float)": DType.FLOAT32,
    "tensor(float16)": DType.FLOAT16,
    "tensor(double)": DType.FLOAT64,
    "tensor(bfloat16)": DType.BFLOAT16,
    "tensor(int8)": DType.INT8,
    "tensor(int16)": DType.INT16,
    "tensor(int32)": DType.INT32,
    "tensor(int64)": DType.INT64,
    "tensor(uint8)": DType.UINT8,
    "tensor(uint16)": DType.UINT16,
    "tensor(uint32)": DType.UINT32,
    "tensor(uint64)": DType.UINT64,
    "tensor(bool)": DType.BOOL,
}


def load(path: Path, *, threads: int = 1, spinning: bool = False) -> Session:
    """Loads an ONNX file on the CPU; see `Load`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _LOG_ERRORS_ONLY
    for kind in ("intra_op", "inter_op"):
        options.add_session_config_entry(f"session.{kind}.allow_spinning", str(int(spinning)))
    try:
        inner = onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as fault:
        # The library has a type of its own for each status, with no common base.
        words = str(fault).replace(str(path), path.name)
        # An empty file is a valid message, without a graph.
        is_empty = path.is_file() and not path.stat().st_size
        damaged = isinstance(fault, InvalidProtobuf) or is_empty
        refuse(ONNXRUNTIME.title, path.name, "load", _without_places(words), is_damaged=damaged)
    return OnnxRuntimeSession(inner, path.name, threads=threads, spinning=spinning)


class OnnxRuntimeSession:
    """A model in ONNX Runtime."""

    delegate_parts: int | None = None

    def __init__(self, inner: Any, file: str, *, threads: int, spinning: bool) -> None:
        self._inner = inner
        self._file = file
        self._threads = threads
        self._spinning = spinning
        self.inputs = tuple(_spec(file, each) for each in inner.get_inputs())
        self.outputs = tuple(_spec(file, each) for each in inner.get_outputs())
        self._output_names = [spec.name for spec in self.outputs]

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """One inference; see `Session`."""
        try:
            values = self._inner.run(self._output_names, feeds)
        except Exception as fault:
            # The library has a type of its own for each status, with no common base.
            check_feeds(ONNXRUNTIME.title, self._file, self.inputs, feeds)
            refuse(ONNXRUNTIME.title, self._file, "run", _without_places(str(fault)))
        return dict(zip(self._output_names, values, strict=True))

    def describe(self) -> str:
        """Runtime, version, provider, threads and spinning, in words."""
        providers = ", ".join(self._inner.get_providers()) if self._inner else "closed"
        threads = f"{self._threads} thread{'s' * (self._threads != 1)}"
        spinning = "on" if self._spinning else "off"
        version = onnxruntime.__version__
        return f"{ONNXRUNTIME.title} {version}, {providers}, {threads}, spinning {spinning}"

    def close(self) -> None:
        """Lets go of the model."""
        self._inner = None


def _without_places(words: str) -> str:
    """What the library says, without the places in its own code."""
    return _PLACE_IN_CODE.sub("", words)


def _spec(file: str, described: Any) -> TensorSpec:
    dtype = _DTYPES.get(described.type)
    if dtype is None:
        refuse(
            ONNXRUNTIME.title, file, "take", f"{described.name!r} is a {described.type}, no tensor"
        )
    shape = tuple(size if isinstance(size, int) else DYNAMIC for size in described.shape)
    return TensorSpec(name=described.name, dtype=dtype, shape=shape)
