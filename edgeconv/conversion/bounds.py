"""What an artifact is held to, and what is flagged where nothing holds it. Pure.

Full precision has a bound always: below 60 dB a converter's fault is likelier than
rounding, unless the error is at the noise of floats of the output's size. Lossy variants
are held to what the recipe says. Where it says nothing they are flagged, and held to one
thing only: an output that is no nearer to the source's than its mean is, and decides
otherwise, fails. An output that does not vary over the samples has no ratio: there its
largest error counts, as a share of its largest value, by the same number of dB. Masks and
slices of a small scale, which the figures of a whole output do not show, are judged for
themselves.
"""

from __future__ import annotations

from edgeconv.analysis.agreement import OutputComparison, share_of_peak
from edgeconv.analysis.masks import LOWEST
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
    LOSSY_LEAST_DB,
    LOSSY_MASK_SHARE,
    SLICE_FLAG_DB,
    SLICE_FLAG_SHARE,
)
from edgeconv.recipe.specs import VerifyOptions
from edgeconv.results.agreement import OutputAgreement
from edgeconv.results.effect import Note

_NO_LABELS = (
    "`max_drop` can't be held: there are no labels that fit the first output. Give evaluation"
    " data with labels, or take `max_drop` out of the recipe."
)


def judge_output(
    name: str, figures: OutputComparison, options: VerifyOptions, *, labelled: bool = False
) -> tuple[OutputAgreement, list[Note]]:
    """The agreement of one output with its bound, and what to flag.

    Args:
        labelled: Labels fit the output, so it holds scores whatever its shape.
    """
    passed, bound = _judge(figures, options)
    notes = _infinity_notes(name, figures)
    exact = _is_exact(options)
    if exact and passed and (hidden := _hidden_faults(name, figures)):
        passed, bound = False, f"{bound}; masks kept; slices on their own scale"
        notes += hidden
    elif not exact and figures.is_floating:
        lost = _mask_flags(name, figures, LOSSY_MASK_SHARE)
        if lost and bound:
            passed, bound = False, f"{bound}; masks kept"
        notes += lost
    if not figures.finite:
        passed = False
        notes.append(_flag(name, "NaN or infinity is not where the source has the same."))
    elif exact and passed:
        notes += _argmax_flags(name, figures)
    elif not exact and options.min_snr_db is not None:
        notes += _slice_flags(name, figures)
    elif not exact:
        notes += _flags(name, figures, options, labelled or figures.are_scores)
    agreement = OutputAgreement(
        output=name,
        snr_db=figures.snr_db,
        max_abs_error=figures.max_abs_error if figures.is_floating else None,
        max_abs_reference=figures.max_abs_reference if figures.is_floating else None,
        argmax_agreement=figures.argmax_agreement,
        equal_share=None if figures.is_floating else figures.equal_share,
        passed=passed,
        bound=bound,
    )
    return agreement, notes


def judge_metric(
    reference: float | None, value: float | None, options: VerifyOptions
) -> tuple[bool, list[Note]]:
    """Whether the task metric dropped by no more than the recipe allows.

    A bound that can't be judged for want of labels is not held.
    """
    if options.max_drop is None:
        return True, []
    if reference is None or value is None:
        return False, [_flag("max_drop", _NO_LABELS)]
    # Rounded, since a difference of two shares is not exact in binary.
    drop = round(reference - value, 9)
    if drop <= options.max_drop:
        return True, []
    words = f"It dropped from {reference:.4f} to {value:.4f}, more than {options.max_drop:g}."
    return False, [_flag("max_drop", words)]


def _is_exact(options: VerifyOptions) -> bool:
    return options.precision == "fp32" and not options.lossy


def _hidden_faults(name: str, figures: OutputComparison) -> list[Note]:
    """What the figures of a whole output in full precision do not show."""
    notes = _mask_flags(name, figures, FP32_SHARE_OF_PEAK)
    for each in figures.slices:
        wrong = each.wrong(
            FP32_SLICE_DB, FP32_SHARE_OF_PEAK, FP32_SLICE_FLOOR * figures.max_abs_reference
        )
        if wrong.size:
            words = (
                f"{wrong.size} of {each.size} slices of axis {each.axis} are wrong on their own"
                f" scale, the first at {wrong[0]}: below {FP32_SLICE_DB:g} dB and beyond rounding."
            )
            notes.append(_flag(name, words))
    return notes


def _mask_flags(name: str, figures: OutputComparison, share: float) -> list[Note]:
    if figures.mask_error <= share:
        return []
    words = (
        f"A value far beyond all others, as masks are, is off by {figures.mask_error:.2g} of"
        f" itself, more than {share:g}."
    )
    return [_flag(name, words)]


def _judge(figures: OutputComparison, options: VerifyOptions) -> tuple[bool, str]:
    exact = _is_exact(options)
    if not figures.is_floating:
        if exact:
            return figures.equal_share >= FP32_EQUAL_SHARE, f"≥ {FP32_EQUAL_SHARE:g} equal"
        return True, ""
    snr = figures.snr_db
    least = options.min_snr_db
    kept = least is None or figures.reaches(least)
    if exact:
        noise = FP32_SHARE_OF_PEAK * figures.max_abs_reference
        close = figures.max_abs_error <= noise or (snr is not None and snr >= FP32_SNR_DB)
        bound = f"≥ {FP32_SNR_DB:g} dB or error ≤ {FP32_SHARE_OF_PEAK:g} of the largest value"
        return close and kept, bound if least is None else f"{bound}, and {_bound(figures, least)}"
    if least is not None:
        return kept, _bound(figures, least)
    # A recipe that holds the task to a bound has said what counts.
    free = options.max_drop is None and not _decides_alike(figures)
    if free and snr is not None and snr < LOSSY_LEAST_DB:
        return False, f"≥ {LOSSY_LEAST_DB:g} dB or the same decisions"
    return True, ""


def _decides_alike(figures: OutputComparison) -> bool:
    argmax = figures.argmax_agreement
    return figures.are_scores and argmax is not None and argmax >= ARGMAX_FLAG


def _bound(figures: OutputComparison, least_db: float) -> str:
    if figures.snr_db is not None:
        return f"≥ {least_db:g} dB"
    share = share_of_peak(least_db)
    why = "there is one sample only" if figures.samples == 1 else "the output does not vary"
    return f"error ≤ {share:.3g} of the largest value ({least_db:g} dB; {why})"


def _infinity_notes(name: str, figures: OutputComparison) -> list[Note]:
    notes = []
    if figures.reference_nans:
        words = f"The source itself gives NaN, {figures.reference_nans} times: no figure tells it."
        notes.append(_flag(name, words))
    if figures.lowest_for_infinity:
        words = (
            f"{figures.lowest_for_infinity} values are -infinity in the source and a number"
            f" of at most {LOWEST:g} here, which counts as the same."
        )
        notes.append(Note(kind="info", subject=name, message=words))
    return notes


def _flags(
    name: str, figures: OutputComparison, options: VerifyOptions, scores: bool
) -> list[Note]:
    notes = []
    if not figures.is_floating:
        if figures.equal_share < LOSSY_EQUAL_SHARE:
            notes.append(_flag(name, f"Only {figures.equal_share:.1%} of the values are equal."))
        return notes
    least = FP16_FLAG_DB if options.precision == "fp16" else LOSSY_FLAG_DB
    # Scores of few bits are told by their decisions, unless next to nothing is left of them.
    few_bits = options.precision not in ("fp32", "fp16")
    if scores and few_bits and figures.snr_db is not None:
        least = DECISION_FLAG_DB
    if not figures.reaches(least):
        notes += _missed_flags(name, figures, least)
    else:
        notes += _slice_flags(name, figures)
    return [*notes, *_argmax_flags(name, figures)]


def _argmax_flags(name: str, figures: OutputComparison) -> list[Note]:
    argmax = figures.argmax_agreement
    if not figures.is_floating or argmax is None or argmax >= ARGMAX_FLAG:
        return []
    return [_flag(name, f"The largest element is the source's in {argmax:.1%} of the rows only.")]


def _slice_flags(name: str, figures: OutputComparison) -> list[Note]:
    notes = []
    for each in figures.slices:
        share = each.lost_share(SLICE_FLAG_DB)
        if share >= SLICE_FLAG_SHARE:
            words = (
                f"{share:.1%} of the slices of axis {each.axis} are lost on their own scale,"
                f" below {SLICE_FLAG_DB:g} dB."
            )
            notes.append(_flag(name, words))
    return notes


def _missed_flags(name: str, figures: OutputComparison, least: float) -> list[Note]:
    if figures.snr_db is None:
        varies = "does not vary over the samples"
        if figures.samples == 1:
            varies = "has one sample only, so it does not vary"
        words = (
            f"It {varies}, and its error of {figures.max_abs_error:.3g} is"
            f" above {share_of_peak(least):.3g} of its largest value,"
            f" {figures.max_abs_reference:.3g}."
        )
        return [_flag(name, words)]
    return [_flag(name, f"{figures.snr_db:.1f} dB against the source, below {least:g} dB.")]


def _flag(subject: str, message: str) -> Note:
    return Note(kind="flagged", subject=subject, message=message)
