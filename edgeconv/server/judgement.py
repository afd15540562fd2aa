"""How a conversion and its variants are to be judged when all has ended. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from edgeconv.analysis.pareto import pareto_front
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.results.benchmark import BenchmarkSummary
from edgeconv.results.effect import Note
from edgeconv.results.job import JobState
from edgeconv.server.device_numbers import doubts
from edgeconv.server.pace import pace_note
from edgeconv.server.records import BenchmarkRecord, VariantRecord

Measured = Mapping[tuple[str, str], BenchmarkSummary]
"""(variant, device) → what was measured last."""


def judge(
    variants: Sequence[VariantRecord], benchmarks: Sequence[BenchmarkRecord]
) -> list[VariantRecord]:
    """The variants with their notes and their place on the Pareto front.

    A variant that a device computed wrongly, or whose numbers there were not checked, has
    no place on it.
    """
    measured = {
        (benchmark.variant, benchmark.device): benchmark.summary
        for benchmark in benchmarks
        if benchmark.summary is not None
    }
    doubted = {variant.name: _doubts(variant, benchmarks) for variant in variants}
    front = _front([variant for variant in variants if not doubted[variant.name]], measured)
    return [
        variant.model_copy(
            update={
                "notes": (*_notes(variant, measured), *doubted[variant.name]),
                "on_pareto_front": variant.name in front,
            }
        )
        for variant in variants
    ]


def judge_late(variant: VariantRecord, benchmark: BenchmarkRecord) -> VariantRecord:
    """A variant after one more benchmark, which was asked for when the job had ended.

    What the device computed is judged as it would have been in the job: the doubts about it
    replace earlier ones about that device, and a variant in doubt has no place on the front.
    Pace and the rest of the front stay: they compare what was measured together.
    """
    told = doubts(benchmark)
    kept = [note for note in variant.notes if not _is_doubt_of(note, benchmark.device)]
    return variant.model_copy(
        update={
            "notes": (*kept, *told),
            "on_pareto_front": variant.on_pareto_front and not told,
        }
    )


def final_state(
    variants: Sequence[VariantRecord], benchmarks: Sequence[BenchmarkRecord], *, cancelled: bool
) -> tuple[JobState, EdgeconvError | None]:
    """The terminal state, and why it failed as a whole.

    A benchmark that failed leaves its variant as it is and makes the job a partial success.
    """
    if cancelled:
        return "cancelled", None
    counts = Counter(variant.state for variant in variants)
    if not counts["verified"]:
        alone = len(variants) == 1
        return "failed", EdgeconvError(
            Reason.NO_VARIANT,
            "The one variant could not be made."
            if alone
            else f"None of {len(variants)} variants could be made.",
            fix=f"The reason {'' if alone else 'of each '}stands with the variant.",
            variants=len(variants),
        )
    unmeasured = any(benchmark.state != "succeeded" for benchmark in benchmarks)
    if counts["verified"] < len(variants) or unmeasured:
        return "partly_succeeded", None
    return "succeeded", None


def _doubts(variant: VariantRecord, benchmarks: Sequence[BenchmarkRecord]) -> list[Note]:
    last = {
        benchmark.device: benchmark
        for benchmark in benchmarks
        if benchmark.variant == variant.name and benchmark.summary is not None
    }
    return [note for benchmark in last.values() for note in doubts(benchmark)]


def _is_doubt_of(note: Note, device: str) -> bool:
    return (note.kind, note.subject) == ("flagged", device)


def _notes(variant: VariantRecord, measured: Measured) -> list[Note]:
    notes = []
    parent = variant.plan.parent if variant.plan else ""
    for (name, device), summary in measured.items():
        if name != variant.name:
            continue
        if summary.verdict == "unstable":
            reasons = "; ".join(reason.rstrip(".") for reason in summary.reasons)
            message = f"The measurement on {device} is unstable: {reasons}."
            notes.append(Note(kind="unstable", subject=device, message=message))
        before = measured.get((parent, device))
        if before is not None and (note := pace_note(device, parent, before, summary)):
            notes.append(note)
    return notes


def _front(variants: Sequence[VariantRecord], measured: Measured) -> set[str]:
    """Names on the front of quality, p50 and size.

    Latency counts when something was measured: on the device that measured most of the
    variants; what was not measured there has no place on the front.
    """
    made = [variant for variant in variants if variant.state == "verified"]
    by_metric = bool(made) and all(
        variant.agreement is not None and variant.agreement.metric_value is not None
        for variant in made
    )
    devices = Counter(device for _, device in measured).most_common(1)
    names: list[str] = []
    points: list[tuple[float, ...]] = []
    for variant in made:
        point = [_quality(variant, by_metric), float(sum(f.size_bytes for f in variant.files))]
        if devices:
            summary = measured.get((variant.name, devices[0][0]))
            median = summary.percentile(50) if summary else None
            if median is None or median.value_ns is None:
                continue
            point.append(float(median.value_ns))
        names.append(variant.name)
        points.append(tuple(point))
    better = (True, False, False)[: 3 if devices else 2]
    return {names[place] for place in pareto_front(points, better)}


def _quality(variant: VariantRecord, by_metric: bool) -> float:
    agreement = variant.agreement
    if agreement is None:
        return -math.inf
    if by_metric and agreement.metric_value is not None:
        return agreement.metric_value
    known = [figure for each in agreement.outputs if (figure := each.closeness_db()) is not None]
    return min(known, default=-math.inf)
