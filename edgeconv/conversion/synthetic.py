"""Synthetic samples that a source can run: integers are taken from smaller and smaller ranges."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.sentences import clause
from edgeconv.conversion.samples import Samples, synthesize
from edgeconv.conversion.sources import Source

TOKEN_RANGES = (100, 32, 8, 2)
"""How many integers from 0 on are tried, one after another."""

_Made = TypeVar("_Made")


def run_synthetic(
    source: Source, run: Callable[[Samples], _Made], *, count: int, seed: int
) -> tuple[Samples, _Made, list[str]]:
    """Runs samples of the largest range of integers that the source takes.

    A table of 32 rows, for one, refuses 99.

    Args:
        run: Called with samples until it raises nothing.

    Returns:
        The samples, what `run` made of them, and a sentence when the range is not the usual.

    Raises:
        EdgeconvError: RUNTIME_REFUSED, with the first error, when the source runs none of
            them; any other error of `run`.
    """
    first: Exception | None = None
    for tokens in TOKEN_RANGES:
        samples = synthesize(source.inputs, count=count, seed=seed, tokens=tokens)
        try:
            made = run(samples)
        except Exception as fault:
            # torch raises IndexError, RuntimeError and others for values out of range.
            if not _may_depend_on_values(fault, source, count, seed):
                raise
            first = first or fault
            continue
        if first is None:
            return samples, made, []
        words = (
            f"Synthetic integers lie in 0…{tokens - 1}, as the source does not run with"
            f" 0…{TOKEN_RANGES[0] - 1}: {clause(_said(first))}. Data of your own tell more."
        )
        return samples, made, [words]
    raise EdgeconvError(
        Reason.RUNTIME_REFUSED,
        f"The source runs with no synthetic inputs: {clause(_said(first))}.",
        fix="Give data of your own with --data FILE.npz, one array per input.",
    ) from first


def _may_depend_on_values(fault: Exception, source: Source, count: int, seed: int) -> bool:
    if isinstance(fault, EdgeconvError) and fault.reason is not Reason.RUNTIME_REFUSED:
        return False
    if isinstance(fault, MemoryError):
        return False
    most, least = (
        synthesize(source.inputs, count=count, seed=seed, tokens=tokens).inputs
        for tokens in (TOKEN_RANGES[0], TOKEN_RANGES[-1])
    )
    return any(not np.array_equal(most[name], least[name]) for name in most)


def _said(fault: Exception | None) -> str:
    words = fault.message if isinstance(fault, EdgeconvError) else str(fault)
    lines = words.strip().splitlines()
    return lines[0][:300] if lines else type(fault).__name__
