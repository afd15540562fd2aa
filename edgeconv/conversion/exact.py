"""Whether two forms of a model compute the same, in full precision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from edgeconv.analysis.agreement import compare
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.bounds import judge_output
from edgeconv.recipe.bounds import FP16_FLAG_DB
from edgeconv.recipe.specs import VerifyOptions
from edgeconv.results.agreement import OutputAgreement

PROOF_SAMPLES = 4

Outputs = Mapping[str, NDArray[Any]]
"""Output name → [samples, *shape]."""


def agreement_db(step: str, expected: Outputs, got: Outputs) -> float | None:
    """How close the outputs are, the lowest of all; None where there is no figure.

    Outputs in half precision are held to what half precision can do.

    Raises:
        EdgeconvError: AGREEMENT_LOST naming the output, its figure and the bound;
            SIGNATURE_CHANGED when an output is missing or has another shape.
    """
    lowest = []
    for name, want in expected.items():
        made = got.get(name)
        if made is None or made.shape != want.shape:
            shape = "missing" if made is None else f"{list(made.shape[1:])}"
            raise EdgeconvError(
                Reason.SIGNATURE_CHANGED,
                f"Step {step!r} changed output {name!r}: {list(want.shape[1:])} is {shape}.",
                step=step,
            )
        agreement, notes = judge_output(name, compare(want, made), _bound_for(want))
        if not agreement.passed:
            raise _lost(step, agreement, [note.message for note in notes])
        if (figure := agreement.closeness_db()) is not None:
            lowest.append(figure)
    return min(lowest, default=None)


def _bound_for(reference: NDArray[Any]) -> VerifyOptions:
    if reference.dtype.itemsize < 4 and reference.dtype.kind not in "iub":
        return VerifyOptions(precision="fp16", min_snr_db=FP16_FLAG_DB)
    return VerifyOptions(precision="fp32")


def _lost(step: str, agreement: OutputAgreement, words: list[str]) -> EdgeconvError:
    if agreement.snr_db is not None:
        figure = f"{agreement.snr_db:.1f} dB"
    elif agreement.max_abs_error is not None:
        figure = f"an error of {agreement.max_abs_error:.3g}"
    else:
        figure = f"{agreement.equal_share or 0:.1%} equal"
    said = " ".join(["", *words])
    return EdgeconvError(
        Reason.AGREEMENT_LOST,
        f"Step {step!r} does not compute what it was given, in full precision: output"
        f" {agreement.output!r} has {figure}, and {agreement.bound} is asked for.{said}",
        fix="This is a fault of the conversion, not of the model: please report it.",
        step=step,
        output=agreement.output,
    )
