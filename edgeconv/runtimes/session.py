"""A model loaded in a runtime. The one Protocol that every runtime is used through."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.recipe.signature import TensorSpec

if TYPE_CHECKING:
    # Processes that start measurements read the catalogue, and never load numpy.
    from numpy.typing import NDArray

DYNAMIC = -1
"""The size of an axis that the file leaves open."""


class Session(Protocol):
    """A loaded model."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Inputs in the order of the file's main graph; an open axis has size -1."""
        ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Outputs in the order of the file's main graph; an open axis has size -1."""
        ...

    @property
    def delegate_parts(self) -> int | None:
        """Parts of the graph that delegates took; None where the runtime can't tell."""
        ...

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """One inference.

        Nothing is cast or reshaped to fit.

        Args:
            feeds: Input name → array of its dtype and shape; all inputs, nothing else.

        Returns:
            Output name → array, in the order of `outputs`. The arrays stay as they are
            when the session runs again.

        Raises:
            EdgeconvError: RUNTIME_REFUSED with the runtime's own sentence.
        """
        ...

    def describe(self) -> str:
        """Runtime, version, delegate, threads and spinning, in words."""
        ...

    def close(self) -> None:
        """Lets go of the model: memory is given back and no file stays mapped."""
        ...


class Load(Protocol):
    """What a runtime's child module offers as `load`."""

    def __call__(self, path: Path, *, threads: int = 1, spinning: bool = False) -> Session:
        """Loads a file.

        Args:
            threads: Threads that work on one operator, at least 1.
            spinning: Whether idle threads spin; without effect, and said in `describe`,
                where the runtime leaves no choice.

        Raises:
            EdgeconvError: RUNTIME_REFUSED with the runtime's own sentence; MODEL_UNREADABLE
                when the file is not whole.
        """
        ...


def refuse(
    title: str, file: str, doing: str, fault: object, *, is_damaged: bool = False
) -> NoReturn:
    """Raises RUNTIME_REFUSED with the first line of what the runtime said.

    Args:
        is_damaged: The file is not whole or of no such format: then it is MODEL_UNREADABLE.
    """
    words = str(fault).strip().splitlines()
    sentence = words[0][:500] if words else type(fault).__name__
    raise EdgeconvError(
        Reason.MODEL_UNREADABLE if is_damaged else Reason.RUNTIME_REFUSED,
        f"{title} can't {doing} {file!r}: {sentence}",
        fix="The file is damaged or cut short; make or copy it again." if is_damaged else "",
        runtime=title,
        file=file,
        doing=doing,
        said=sentence,
    )


def check_feeds(
    title: str, file: str, inputs: tuple[TensorSpec, ...], feeds: Mapping[str, NDArray[Any]]
) -> None:
    """Finds what is wrong with feeds, in better words than the runtimes have.

    Too slow for each inference of a measurement: sessions call it when the cheap checks
    on the way, theirs or the runtime's, say that something does not fit.

    Raises:
        EdgeconvError: RUNTIME_REFUSED naming the input.
    """
    if len(feeds) != len(inputs) or any(spec.name not in feeds for spec in inputs):
        wanted = ", ".join(spec.name for spec in inputs)
        refuse(title, file, "run", f"the inputs are {wanted}, not {', '.join(feeds) or 'none'}")
    for spec in inputs:
        array = feeds[spec.name]
        if array.dtype.name != spec.dtype.value:
            refuse(title, file, "run", f"input {spec.name!r} is {spec.dtype}, not {array.dtype}")
        if len(array.shape) != len(spec.shape) or any(
            want not in (DYNAMIC, have) for want, have in zip(spec.shape, array.shape, strict=True)
        ):
            sentence = f"input {spec.name!r} has shape {spec.shape}, not {array.shape}"
            refuse(title, file, "run", sentence)
