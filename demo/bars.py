"""What the demo promises, checked on the results it prints. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgeconv.report.rows import Row, rows
from edgeconv.results.job import JobResult, VariantResult


@dataclass(frozen=True)
class Promise:
    """The accuracy that a model's variants keep.

    Attributes:
        title: How the demo calls the model.
        source_range: Least and largest accuracy of the fp32 variants, as shares; None
            leaves it open.
        drops: Variant of the recipe → largest loss of accuracy against fp32, in points.
    """

    title: str
    source_range: tuple[float, float] | None
    drops: dict[str, float]


TEXT_DIRECTION = Promise("text direction", (0.95, 0.99), {"int8": 1.5, "prune20-int8": 3.0})
DIGITS = Promise("digits", None, {"prune50-int8": 2.0})
MAX_INT8_TFLITE_RATIO = 0.4
SLOWER_FROM = 1.05


@dataclass(frozen=True)
class Bar:
    """One promise and whether it held; `held` is None where it was not judged."""

    words: str
    held: bool | None


def bars(result: JobResult, promise: Promise, *, judge_accuracy: bool) -> list[Bar]:
    """Every promise about a result, in the order they are printed.

    Args:
        judge_accuracy: False prints accuracies without judging them, for test sets that
            are too small to carry a point.
    """
    table = rows(result)
    accuracy = [*_source_bars(table, promise), *_drop_bars(table, promise)]
    if not judge_accuracy:
        accuracy = [Bar(f"{bar.words} (too few samples to judge)", None) for bar in accuracy]
    made = Bar(
        f"{len(result.variants)} variants made and verified",
        result.state == "succeeded" and all(v.state == "verified" for v in result.variants),
    )
    return [made, *accuracy, *_removed_bars(table), *_size_bars(result), _slower_bar(result)]


def is_clearly_slower(variant: VariantResult, parent: VariantResult) -> bool:
    """Whether the median and its interval lie above the parent's on the same device.

    By 5 % at least: the two were measured one after another, so less tells nothing.
    """
    for mine in variant.benchmarks:
        for other in parent.benchmarks:
            if mine.device != other.device or not mine.summary or not other.summary:
                continue
            own, base = mine.summary.percentile(50), other.summary.percentile(50)
            if not (own and base and own.value_ns and base.value_ns):
                continue
            is_apart = bool(own.low_ns and base.high_ns and own.low_ns > base.high_ns)
            if is_apart and own.value_ns / base.value_ns >= SLOWER_FROM:
                return True
    return False


def _accuracy(row: Row) -> float | None:
    agreement = row.variant.agreement
    return agreement.metric_value if agreement and agreement.metric == "accuracy" else None


def _source_bars(table: list[Row], promise: Promise) -> Iterator[Bar]:
    for row in _of(table, "fp32"):
        accuracy = _accuracy(row)
        words = f"{promise.title}, {row.variant.name}: accuracy {_percent(accuracy)}"
        if promise.source_range is None:
            yield Bar(words, accuracy is not None)
        else:
            least, most = promise.source_range
            held = accuracy is not None and least <= accuracy <= most
            yield Bar(f"{words}, between {least:.0%} and {most:.0%}", held)


def _drop_bars(table: list[Row], promise: Promise) -> Iterator[Bar]:
    base = {row.variant.target: _accuracy(row) for row in _of(table, "fp32")}
    for name, points in promise.drops.items():
        found = _of(table, name)
        if not found:
            yield Bar(f"{promise.title}: there is no variant {name}", False)
        for row in found:
            own, whole = _accuracy(row), base.get(row.variant.target)
            words = f"{promise.title}, {row.variant.name}: accuracy {_percent(own)}"
            if own is None or whole is None:
                yield Bar(f"{words}, and nothing to compare it with", False)
                continue
            drop = (whole - own) * 100
            # One sample of a thousand is 0.1 points; the slack is for the float sum only.
            words = f"{words}, {drop:+.1f} points lost, at most {points} allowed"
            yield Bar(words, drop <= points + 1e-9)


def _removed_bars(table: list[Row]) -> Iterator[Bar]:
    for row in table:
        if not row.variant.recipe_variant.startswith("prune"):
            continue
        removed = row.removed
        if removed is None or not removed.macs_before or removed.macs_after is None:
            yield Bar(f"{row.variant.name}: what was removed is not known", False)
            continue
        share = 1 - removed.macs_after / removed.macs_before
        words = (
            f"{row.variant.name}: {removed.channels_removed or 0:.0f} of"
            f" {removed.channels_before or 0:.0f} channels removed; MACs"
            f" {removed.macs_before / 1e6:.2f} M → {removed.macs_after / 1e6:.2f} M ({-share:.0%})"
        )
        yield Bar(words, bool(removed.channels_removed) and share > 0)


def _size_bars(result: JobResult) -> Iterator[Bar]:
    sizes = {variant.name: variant.size_bytes for variant in result.variants}
    whole, small = sizes.get("fp32.tflite", 0), sizes.get("int8.tflite", 0)
    if not whole or not small:
        yield Bar("int8.tflite: no size to compare", False)
        return
    words = f"int8.tflite: {small / whole:.2f} × the size of fp32.tflite"
    yield Bar(f"{words}, less than {MAX_INT8_TFLITE_RATIO}", small / whole < MAX_INT8_TFLITE_RATIO)


def _slower_bar(result: JobResult) -> Bar:
    by_name = {variant.name: variant for variant in result.variants}
    flagged = [v.name for v in result.variants if any(n.kind == "slower" for n in v.notes)]
    silent = [
        variant.name
        for variant in result.variants
        if variant.parent in by_name
        and variant.name not in flagged
        and is_clearly_slower(variant, by_name[variant.parent])
    ]
    if silent:
        return Bar(f"slower than their parent without being flagged: {', '.join(silent)}", False)
    return Bar(f"flagged as slower than their parent: {', '.join(flagged) or 'none'}", True)


def _of(table: list[Row], recipe_variant: str) -> list[Row]:
    """One row for each target of a variant, however many devices measured it."""
    found = {row.variant.name: row for row in table if row.variant.recipe_variant == recipe_variant}
    return list(found.values())


def _percent(share: float | None) -> str:
    return "n/a" if share is None else f"{share:.1%}"
