"""The specs of passes, lowerings and finishes: name, options, needs.

The single source for the recipe's schema, the command line's help and the reference
pages. `edgeconv.conversion` registers an implementation for each.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Options(BaseModel):
    """Base of all options: unknown keys, NaN and infinity are refused, values can't change."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Need(StrEnum):
    """What a step can't do without, besides its input."""

    CALIBRATION = "calibration"


class StepKind(StrEnum):
    """What a step takes and gives."""

    INSPECT = "inspect"
    INSPECT_DATASET = "inspect-dataset"
    INTAKE = "intake"
    REFERENCE = "reference"
    PASS = "pass"
    LOWERING = "lowering"
    DIRECT = "direct"
    FINISH = "finish"
    VERIFY = "verify"


@dataclass(frozen=True)
class StepSpec:
    """One step as a recipe names it.

    Attributes:
        kind: What it takes and gives.
        name: Its name in recipes.
        summary: One sentence for help and reference pages.
        revision: Raised by hand when its result changes for the same input.
        options: Its options.
        formats: For finishes, the artifact formats it takes.
    """

    kind: StepKind
    name: str
    summary: str
    revision: int
    options: type[Options]
    formats: tuple[str, ...] = ()

    def needs(self, options: Options) -> frozenset[Need]:
        """What the step needs with these options."""
        if isinstance(options, PruneOptions):
            return frozenset() if options.recover == "none" else frozenset({Need.CALIBRATION})
        if isinstance(options, Int8StaticOptions):
            return frozenset({Need.CALIBRATION})
        return frozenset()


class InspectOptions(Options):
    """No options."""


class ShapeOptions(Options):
    """The static shape of every input, by name."""

    shapes: dict[str, tuple[int, ...]]


class ReferenceOptions(ShapeOptions):
    """How the reference outputs are made."""

    samples: int = Field(
        default=16, ge=1, description="Synthetic samples when there is no evaluation data."
    )
    split: Literal["all", "held-out"] = Field(
        default="all",
        description="held-out leaves out the quarter of shared data that calibrates.",
    )
    seed: int = 0


class PruneOptions(Options):
    """Structured channel pruning."""

    ratio: float = Field(
        gt=0, lt=1, description="Share of channels removed per prunable group, 0 to 1."
    )
    importance: Literal["l1", "l2"] = Field(
        default="l1",
        description="Norm by which a channel's weights are ranked; with calibration data also"
        " by how far the channel varies.",
    )
    recover: Literal["none", "batchnorm", "least-squares"] = Field(
        default="least-squares",
        description="Refit without labels: none, re-estimated BatchNorm statistics, or these"
        " and a least-squares refit of each consumer.",
    )
    round_to: int = Field(
        default=8, ge=1, description="Kept channels are rounded up to a multiple of this."
    )
    split: Literal["all", "calibration"] = Field(
        default="all", description="calibration takes a quarter of shared data, by class."
    )


class OnnxOptions(Options):
    """Lowering to ONNX."""

    opset: int = Field(default=18, ge=18, le=22, description="Operator-set version.")


class TfliteOptions(Options):
    """Lowering to TFLite; no options."""


class Fp16Options(Options):
    """Weights in half precision; inputs and outputs keep their dtypes."""


class Int8StaticOptions(Options):
    """Weights and activations in 8 bits with ranges from calibration data."""

    method: Literal["minmax", "percentile"] = Field(
        default="minmax", description="How a tensor's range is taken from its samples."
    )
    percentile: float = Field(
        default=99.99, gt=50, le=100, description="Share of values inside the range, in percent."
    )
    split: Literal["all", "calibration"] = Field(
        default="all", description="calibration takes a quarter of shared data, by class."
    )


class Int8DynamicOptions(Options):
    """Weights in 8 bits, activations quantized as they come."""


class Int8WeightsOptions(Options):
    """Weights in 8 bits, computed in float."""


class VerifyOptions(Options):
    """The bounds an artifact is held to."""

    precision: str
    split: Literal["all", "held-out"] = Field(
        default="all", description="As in the reference it is compared with."
    )
    lossy: bool = Field(default=False, description="A pass changed what is computed.")
    min_snr_db: float | None = None
    max_drop: float | None = Field(
        default=None, description="Largest loss of the task metric, as a share."
    )


_BOTH = ("onnx", "tflite")

SPECS: tuple[StepSpec, ...] = (
    StepSpec(StepKind.INSPECT, "inspect", "Reads a model's files.", 6, InspectOptions),
    StepSpec(
        StepKind.INSPECT_DATASET, "inspect-dataset", "Reads and checks a dataset.", 1,
        InspectOptions,
    ),
    StepSpec(StepKind.INTAKE, "intake", "Turns a model into a Program.", 5, ShapeOptions),
    StepSpec(
        StepKind.REFERENCE, "reference", "Runs the source in its own framework.", 5,
        ReferenceOptions,
    ),
    StepSpec(
        StepKind.DIRECT, "direct", "Takes the user's own ONNX graph as it is.", 3, ShapeOptions
    ),
    StepSpec(
        StepKind.PASS, "prune", "Removes whole channels and, with data, refits what is left.", 5,
        PruneOptions,
    ),
    StepSpec(StepKind.LOWERING, "onnx", "Writes an ONNX file.", 2, OnnxOptions),
    StepSpec(StepKind.LOWERING, "tflite", "Writes a TFLite file.", 4, TfliteOptions),
    StepSpec(StepKind.FINISH, "fp16", "Half-precision weights.", 5, Fp16Options, _BOTH),
    StepSpec(
        StepKind.FINISH, "int8-static", "8-bit weights and activations from calibration.", 9,
        Int8StaticOptions, _BOTH,
    ),
    StepSpec(
        StepKind.FINISH, "int8-dynamic", "8-bit weights, activations quantized as they come.", 5,
        Int8DynamicOptions, _BOTH,
    ),
    StepSpec(
        StepKind.FINISH, "int8-weights", "8-bit weights, computed in float.", 5,
        Int8WeightsOptions, _BOTH,
    ),
    StepSpec(StepKind.VERIFY, "verify", "Compares an artifact with the source.", 7, VerifyOptions),
)  # fmt: skip

_BY_NAME = {(spec.kind, spec.name): spec for spec in SPECS}


def spec_of(kind: StepKind, name: str) -> StepSpec:
    """The spec of that kind and name.

    Raises:
        KeyError: there is none.
    """
    return _BY_NAME[kind, name]


def specs_of(kind: StepKind) -> tuple[StepSpec, ...]:
    """All specs of a kind, in the catalogue's order."""
    return tuple(spec for spec in SPECS if spec.kind is kind)
