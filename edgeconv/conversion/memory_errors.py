"""Tells a want of memory from other faults, whatever a library made of it."""

from __future__ import annotations

import errno
import resource
from collections.abc import Iterator

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.quantities import format_bytes
from edgeconv.recipe.doing import doing
from edgeconv.recipe.specs import StepKind

_WORDS = (
    # torch, C++, ONNX Runtime, the C library.
    "can't allocate memory", "std::bad_alloc", "Failed to allocate memory",
    "Cannot allocate memory",
)  # fmt: skip


def wants_memory(fault: BaseException) -> bool:
    """Whether the fault, or what it came of, is a refusal of memory."""
    return any(
        isinstance(each, MemoryError)
        or (isinstance(each, OSError) and each.errno == errno.ENOMEM)
        or (isinstance(each, RuntimeError) and any(word in str(each) for word in _WORDS))
        for each in _chain(fault)
    )


def needed_more_memory(kind: StepKind, name: str) -> EdgeconvError:
    """The error of a step that this process's limit of memory was too small for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    without = soft == resource.RLIM_INFINITY
    limit = "more memory than there is" if without else f"more than {format_bytes(soft)}"
    return EdgeconvError(
        Reason.LIMIT_EXCEEDED,
        f"It needed {limit} in {doing(kind, name)}.",
        fix="Start the server with a higher --step-memory, where the machine has more, or choose"
        " smaller shapes.",
        step=name,
        limit_bytes=soft,
    )


def _chain(fault: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    each: BaseException | None = fault
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__
