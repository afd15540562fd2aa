"""A source that runs in its own framework: the reference for everything made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.recipe.signature import Signature, TensorSpec


class Source(Protocol):
    """A source, loaded."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Inputs in the user's order, with the static shapes asked for."""
        ...

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Outputs of one sample by name, in the user's order."""
        ...

    def describe(self) -> str:
        """Framework, version and processor, as "onnxruntime 1.31.1 cpu"."""
        ...


def open_source(folder: Path, shapes: Mapping[str, Sequence[int]]) -> Source:
    """The model whose files stand in a folder.

    Args:
        shapes: The static shape of every input.

    Raises:
        EdgeconvError: MODEL_UNREADABLE, MODEL_UNSAFE.
    """
    if any(folder.glob("*.onnx")):
        return OnnxSource(onnx_file(folder), shapes)
    from edgeconv.conversion.torch_source import TorchSource

    return TorchSource(folder, shapes)


def onnx_file(folder: Path) -> Path:
    """The one ONNX file of a bundle; its weights may stand beside it.

    Raises:
        EdgeconvError: MODEL_UNREADABLE when there is none or more than one.
    """
    files = sorted(folder.glob("*.onnx"))
    if len(files) != 1:
        raise EdgeconvError(
            Reason.MODEL_UNREADABLE,
            f"A model is one .onnx file and its weights, not {len(files)} of them.",
            files=", ".join(file.name for file in files),
        )
    return files[0]


class OnnxSource:
    """An ONNX model in ONNX Runtime on the CPU."""

    def __init__(self, path: Path, shapes: Mapping[str, Sequence[int]]) -> None:
        from edgeconv.runtimes.onnxruntime.child import load

        self._session = load(path)
        self.inputs = tuple(
            spec.model_copy(update={"shape": tuple(shapes.get(spec.name, spec.shape))})
            for spec in self._session.inputs
        )

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """See `Source`."""
        return self._session.run(feeds)

    def describe(self) -> str:
        """See `Source`."""
        from edgeconv.runtimes.onnxruntime.spec import ONNXRUNTIME

        return f"onnxruntime {ONNXRUNTIME.installed_version()} cpu"


def signature_of(source: Source, outputs: Mapping[str, NDArray[Any]]) -> Signature:
    """The source's signature, its outputs as one run gave them."""
    return Signature(
        inputs=source.inputs,
        outputs=tuple(
            TensorSpec.model_validate(
                {"name": name, "dtype": array.dtype.name, "shape": array.shape}
            )
            for name, array in outputs.items()
        ),
    )
