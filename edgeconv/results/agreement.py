"""How far an artifact agrees with its source, as data. `analysis.agreement` computes it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from edgeconv.results.effect import Note


class OutputAgreement(BaseModel):
    """Agreement of one output; the fields are those of the wire's message."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    output: str
    snr_db: float | None = None
    max_abs_error: float | None = None
    max_abs_reference: float | None = None
    argmax_agreement: float | None = None
    equal_share: float | None = None
    passed: bool = False
    bound: str = ""


class Agreement(BaseModel):
    """Agreement of an artifact with its source; the fields are those of the wire's message."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    outputs: tuple[OutputAgreement, ...] = ()
    samples: int = 0
    samples_origin: str = ""
    reference: str = ""
    runtime: str = ""
    metric: str = ""
    metric_reference: float | None = None
    metric_value: float | None = None
    passed: bool = False
    notes: tuple[Note, ...] = ()
