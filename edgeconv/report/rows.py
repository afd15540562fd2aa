"""What every form of the report shows of a variant: one row, figures still as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgeconv.results.agreement import Agreement
from edgeconv.results.benchmark import BenchmarkSummary, Percentile
from edgeconv.results.effect import Note
from edgeconv.results.job import BenchmarkResult, JobResult, VariantResult


@dataclass(frozen=True)
class Quality:
    """How good a variant computes, by the best figure at hand.

    Attributes:
        name: Of the figure: a task metric such as "accuracy", or "SNR", or "equal".
        value: A share for metrics and "equal", dB for "SNR". For each, more is better.
        reference: The source's value; None when the figure is itself a comparison.
    """

    name: str
    value: float
    reference: float | None = None

    @property
    def is_share(self) -> bool:
        """Whether `value` is between 0 and 1."""
        return self.name != "SNR"


@dataclass(frozen=True)
class Removed:
    """What passes took out of a variant, in multiply-accumulates and channels."""

    macs_before: float | None = None
    macs_after: float | None = None
    channels_removed: float | None = None
    channels_before: float | None = None


@dataclass(frozen=True)
class Row:
    """A variant on one device, or a variant that was not measured.

    Attributes:
        size_ratio: Size against the variant at the end of the chain of parents, the
            unpruned fp32 one as a rule; None for that one itself.
        latency_ratio: Median latency against the parent's last on the same device.
    """

    variant: VariantResult
    benchmark: BenchmarkResult | None
    quality: Quality | None
    argmax_agreement: float | None
    size_ratio: float | None
    latency_ratio: float | None
    removed: Removed | None

    @property
    def summary(self) -> BenchmarkSummary | None:
        """What the benchmark's samples came to."""
        return self.benchmark.summary if self.benchmark else None

    @property
    def is_slower(self) -> bool:
        """Whether the variant is flagged as slower than its parent on this device."""
        device = self.benchmark.device if self.benchmark else None
        return any(note.kind == "slower" and note.subject == device for note in self.variant.notes)

    def percentile(self, percent: float) -> Percentile | None:
        """A percentile of the steady latency; None when it was not measured."""
        return self.summary.percentile(percent) if self.summary else None


def rows(result: JobResult) -> list[Row]:
    """The rows of a result in its own order; one for each variant and benchmark."""
    by_name = {variant.name: variant for variant in result.variants}
    return [
        _row(variant, benchmark, by_name)
        for variant in result.variants
        for benchmark in variant.benchmarks or (None,)
    ]


def devices(result: JobResult) -> list[str]:
    """The devices that measured something, each once, in the order they appear."""
    found = (each.device for variant in result.variants for each in variant.benchmarks)
    return list(dict.fromkeys(device for device in found if device))


def variant_notes(variant: VariantResult) -> list[Note]:
    """Everything a user should know of a variant, each once, the whole first."""
    notes = [*variant.notes]
    for effect in variant.effects:
        notes += effect.notes
    if variant.agreement:
        notes += variant.agreement.notes
    return list(dict.fromkeys(notes))


def is_flagged(variant: VariantResult) -> bool:
    """Whether a note asks for a look at how the variant computes."""
    return any(note.kind == "flagged" for note in variant_notes(variant))


def root_of(variant: VariantResult, by_name: Mapping[str, VariantResult]) -> VariantResult:
    """The variant at the end of the chain of parents."""
    seen = {variant.name}
    while variant.parent in by_name and variant.parent not in seen:
        seen.add(variant.parent)
        variant = by_name[variant.parent]
    return variant


def quality_of(agreement: Agreement | None) -> Quality | None:
    """The task metric when there is one, else the worst output's SNR or share of equals."""
    if agreement is None:
        return None
    if agreement.metric and agreement.metric_value is not None:
        return Quality(agreement.metric, agreement.metric_value, agreement.metric_reference)
    ratios = [each.snr_db for each in agreement.outputs if each.snr_db is not None]
    if ratios:
        return Quality("SNR", min(ratios))
    shares = [each.equal_share for each in agreement.outputs if each.equal_share is not None]
    return Quality("equal", min(shares)) if shares else None


def _row(
    variant: VariantResult, benchmark: BenchmarkResult | None, by_name: Mapping[str, VariantResult]
) -> Row:
    root = root_of(variant, by_name)
    parent = by_name.get(variant.parent)
    agreement = variant.agreement
    shares = [
        each.argmax_agreement
        for each in (agreement.outputs if agreement else ())
        if each.argmax_agreement is not None
    ]
    return Row(
        variant=variant,
        benchmark=benchmark,
        quality=quality_of(agreement),
        argmax_agreement=min(shares) if shares else None,
        size_ratio=_ratio(variant.size_bytes, root.size_bytes) if root is not variant else None,
        latency_ratio=_latency_ratio(benchmark, parent),
        removed=_removed(variant),
    )


def _ratio(value: float, base: float) -> float | None:
    return value / base if value and base else None


def _latency_ratio(benchmark: BenchmarkResult | None, parent: VariantResult | None) -> float | None:
    if benchmark is None or parent is None:
        return None
    # Of several the last, as where the notes come from.
    measured = [each for each in parent.benchmarks if each.device == benchmark.device]
    summaries = [each.summary for each in measured if each.summary is not None]
    return _ratio(_median_ns(benchmark.summary), _median_ns(summaries[-1] if summaries else None))


def _median_ns(summary: BenchmarkSummary | None) -> float:
    percentile = summary.percentile(50) if summary else None
    return (percentile.value_ns or 0) if percentile else 0


def _removed(variant: VariantResult) -> Removed | None:
    figures = [effect.figures for effect in variant.effects if "channels_removed" in effect.figures]
    if not figures:
        return None
    return Removed(
        macs_before=figures[0].get("macs_before"),
        macs_after=figures[-1].get("macs_after"),
        channels_removed=sum(each["channels_removed"] for each in figures),
        channels_before=figures[0].get("channels_before"),
    )
