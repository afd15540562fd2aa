"""Recipes that come with edgeconv, and recipes written from command-line flags."""

from __future__ import annotations

from collections.abc import Sequence

from edgeconv.recipe.schema import DataSpec, PassUse, Precision, Recipe, Target, VariantSpec

DEFAULT_PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8-weights")
DEFAULT_PRECISIONS_WITH_DATA: tuple[Precision, ...] = ("fp32", "fp16", "int8-weights", "int8")


def recipe_from_flags(
    *,
    targets: Sequence[Target] = ("onnx", "tflite"),
    precisions: Sequence[Precision] | None = None,
    prune_ratio: float | None = None,
    data: str | None = None,
) -> Recipe:
    """The recipe that the flags of `edgeconv convert` stand for.

    Args:
        targets: Formats to make.
        precisions: Precisions to make; None takes the defaults, of which int8 needs data.
        prune_ratio: Adds a pruned variant of each precision, beside the unpruned ones.
        data: A dataset or file for calibration and evaluation.
    """
    if precisions is None:
        precisions = DEFAULT_PRECISIONS_WITH_DATA if data else DEFAULT_PRECISIONS
    variants: dict[str, VariantSpec] = {
        str(precision): VariantSpec(precision=precision) for precision in precisions
    }
    if prune_ratio is not None:
        options = {"ratio": prune_ratio, "recover": "least-squares" if data else "none"}
        prune = PassUse(name="prune", options=options)
        percent = f"{prune_ratio * 100:g}".replace(".", "-")
        for precision in precisions:
            name = f"prune{percent}-{precision}"
            variants[name] = VariantSpec(precision=precision, passes=(prune,))
    return Recipe(
        targets=tuple(targets),
        data=DataSpec(calibration=data, evaluation=data),
        variants=variants,
    )
