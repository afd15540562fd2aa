"""A source that runs in its own framework: the reference for everything made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from edgeconv.conversion.intake.formats import recognise
from edgeconv.recipe.signature import DeclaredTensor, Signature, TensorSpec, resolve_shapes
from edgeconv.runtimes.session import DYNAMIC


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
    source = recognise(folder)
    if source.format == "onnx":
        return OnnxSource(source.path, shapes)
    from edgeconv.conversion.torch_source import TorchSource

    return TorchSource(source.path, shapes)


class OnnxSource:
    """An ONNX model in ONNX Runtime on the CPU."""

    def __init__(self, path: Path, shapes: Mapping[str, Sequence[int]]) -> None:
        from edgeconv.runtimes.onnxruntime.child import load

        self._session = load(path)
        declared = [
            DeclaredTensor(
                name=spec.name,
                dtype=spec.dtype,
                shape=tuple("?" if size == DYNAMIC else size for size in spec.shape),
            )
            for spec in self._session.inputs
        ]
        resolved = resolve_shapes(declared, shapes)
        self.inputs = tuple(
            spec.model_copy(update={"shape": resolved[spec.name]}) for spec in self._session.inputs
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
