"""Whether a device computes what the server's own run of the same file gave. Pure.

Another processor adds up in another order, and rounds values of few bits to a neighbour
now and then. So full precision is held to the bound that it is held to against its source.
What is lossy is held to the bound of its recipe, or where there is none to that from which
its agreement with the source would be flagged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from numpy.typing import NDArray

from edgeconv.analysis.agreement import OutputComparison, compare
from edgeconv.recipe.bounds import (
    ARGMAX_FLAG,
    DECISION_FLAG_DB,
    FP16_FLAG_DB,
    FP32_EQUAL_SHARE,
    FP32_SHARE_OF_PEAK,
    FP32_SLICE_DB,
    FP32_SLICE_FLOOR,
    FP32_SNR_DB,
    LOSSY_EQUAL_SHARE,
    LOSSY_FLAG_DB,
    LOSSY_MASK_SHARE,
)
from edgeconv.recipe.specs import VerifyOptions
from edgeconv.results.effect import Note
from edgeconv.server.records import BenchmarkRecord


def doubts(benchmark: BenchmarkRecord) -> list[Note]:
    """Why the numbers that a device computed for a variant can't be relied on."""
    summary = benchmark.summary
    if summary is None or benchmark.samples is None or benchmark.outputs is None:
        return []
    if not benchmark.outputs_digest:
        words = "The device sent no outputs: what it computes was not checked."
        return [_flag(benchmark.device, words)]
    return [_flag(benchmark.device, words) for words in summary.device_doubts]


def compare_with_host(
    host: Iterable[tuple[str, NDArray[Any]]],
    device: Mapping[str, NDArray[Any]],
    options: VerifyOptions,
) -> tuple[str, ...]:
    """Why a device's outputs are not the host's, a sentence for each output that is not.

    Args:
        host: Output name → [samples, …].
        device: Likewise, at least as many samples and the same shapes.
        options: What the variant is held to.
    """
    words = []
    for name, expected in host:
        figures = compare(expected, device[name][: len(expected)])
        if told := _doubt(figures, options):
            words.append(f"Output {name!r} {told}: the device computes something else.")
    return tuple(words)


def _doubt(figures: OutputComparison, options: VerifyOptions) -> str:
    """What is wrong with an output, to be said after its name; empty for nothing."""
    if not figures.finite:
        return "holds NaN or infinity where the server's run of the same file does not"
    if not figures.is_floating:
        return _doubt_of_integers(figures.equal_share, options)
    least_db = _least_db(options)
    if _is_near(figures, least_db) or _decides_alike(figures, options):
        return _hidden_doubt(figures, options)
    if figures.snr_db is None:
        return (
            f"does not vary and is {figures.max_abs_error:.3g} off that of the server's run of"
            f" the same file, whose largest value is {figures.max_abs_reference:.3g}"
        )
    return (
        f"agrees with that of the server's run of the same file to {figures.snr_db:.1f} dB, and"
        f" {least_db:g} dB are asked for"
    )


def _hidden_doubt(figures: OutputComparison, options: VerifyOptions) -> str:
    """What the figures of the whole output do not show: masks, slices of a small scale."""
    room = FP32_SHARE_OF_PEAK if options.precision == "fp32" else LOSSY_MASK_SHARE
    if figures.mask_error > room:
        return (
            f"differs from that of the server's run of the same file by {figures.mask_error:.2g}"
            " of a value far beyond all others, as masks are"
        )
    if options.precision != "fp32":
        return ""
    floor = FP32_SLICE_FLOOR * figures.max_abs_reference
    for each in figures.slices:
        wrong = each.wrong(FP32_SLICE_DB, FP32_SHARE_OF_PEAK, floor)
        if wrong.size:
            return (
                f"differs from that of the server's run of the same file in {wrong.size} of"
                f" {each.size} slices of axis {each.axis}, on their own scale"
            )
    return ""


def _doubt_of_integers(equal_share: float, options: VerifyOptions) -> str:
    least = FP32_EQUAL_SHARE if options.precision == "fp32" else LOSSY_EQUAL_SHARE
    if equal_share >= least:
        return ""
    return (
        f"equals that of the server's run of the same file in {equal_share:.1%} of the values,"
        f" and {least:.1%} are asked for"
    )


def _least_db(options: VerifyOptions) -> float:
    if options.precision == "fp32":
        return FP32_SNR_DB
    if options.min_snr_db is not None:
        return options.min_snr_db
    return FP16_FLAG_DB if options.precision == "fp16" else LOSSY_FLAG_DB


def _is_near(figures: OutputComparison, least_db: float) -> bool:
    if figures.max_abs_error <= FP32_SHARE_OF_PEAK * figures.max_abs_reference:
        return True
    return figures.reaches(least_db)


def _decides_alike(figures: OutputComparison, options: VerifyOptions) -> bool:
    """Whether scores of 8 bits, held to nothing else, make the same decisions."""
    if (
        not figures.are_scores
        or options.precision in ("fp32", "fp16")
        or options.min_snr_db is not None
    ):
        return False
    argmax = figures.argmax_agreement
    snr = figures.snr_db
    kept = snr is not None and snr >= DECISION_FLAG_DB
    return kept and argmax is not None and argmax >= ARGMAX_FLAG


def _flag(device: str, words: str) -> Note:
    return Note(kind="flagged", subject=device, message=f"{device}: {words}")
