"""All runtimes, by name and by the format they run. Loads none of them."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason
from edgeconv.runtimes.litert.spec import LITERT
from edgeconv.runtimes.onnxruntime.spec import ONNXRUNTIME
from edgeconv.runtimes.session import Load
from edgeconv.runtimes.spec import RuntimeSpec

RUNTIMES: tuple[RuntimeSpec, ...] = (ONNXRUNTIME, LITERT)


def runtime_by_name(name: str) -> RuntimeSpec:
    """The runtime of that name.

    Raises:
        EdgeconvError: FIELD_INVALID.
    """
    return _find("runtime", name, {spec.name: spec for spec in RUNTIMES})


def runtime_by_format(format_name: str) -> RuntimeSpec:
    """The runtime that runs files of a format, "onnx" or "tflite".

    Raises:
        EdgeconvError: FIELD_INVALID.
    """
    return _find("format", format_name, {spec.format: spec for spec in RUNTIMES})


def check_format(spec: RuntimeSpec, file: str) -> None:
    """Refuses a file whose name says that another runtime runs it.

    Raises:
        EdgeconvError: FIELD_INVALID.
    """
    ending = file.rpartition(".")[2]
    other = next((each for each in RUNTIMES if each.format == ending), spec)
    if other.format != spec.format:
        raise EdgeconvError(
            Reason.FIELD_INVALID,
            f"{spec.name} runs .{spec.format} files, and {file!r} is none.",
            fix=f"Use {other.name}.",
            violations=[FieldViolation("runtime", f"runs .{spec.format} files")],
            runtime=spec.name,
            file=file,
        )


def loader(spec: RuntimeSpec) -> Load:
    """Imports the runtime and gives its `load`. For child processes only.

    Raises:
        EdgeconvError: EXTRA_MISSING with the line that installs it.
    """
    spec.require()
    return cast(Load, import_module(spec.child_module).load)


def _find(field: str, value: str, known: dict[str, RuntimeSpec]) -> RuntimeSpec:
    if value in known:
        return known[value]
    raise EdgeconvError(
        Reason.FIELD_INVALID,
        f"There is no {field} {value!r}.",
        fix=f"Use one of: {', '.join(known)}.",
        violations=[FieldViolation(field, f"not one of {', '.join(known)}")],
        value=value,
    )
