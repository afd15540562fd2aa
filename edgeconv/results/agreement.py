"""How far an artifact agrees with its source, as data. `analysis.agreement` computes it."""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict

from edgeconv.base.quantities import MOST_DB
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

    def miss(self) -> str:
        """What it reached and what was asked: "output 'y': 41.2 dB, asked ≥ 50 dB"."""
        if not self.bound:
            return f"output {self.output!r} misses its bound"
        return f"output {self.output!r}: {self._reached()}, asked {self.bound}"

    def _reached(self) -> str:
        """Rounded down: what misses a bound does not read as if it were reached."""
        if self.snr_db is not None:
            return f"{math.floor(10 * self.snr_db) / 10:.1f} dB"
        if self.equal_share is not None:
            return f"{math.floor(1e4 * self.equal_share) / 1e4:g} equal"
        if self.max_abs_error is None:
            return "no figure"
        of = "" if self.max_abs_reference is None else f" of at most {self.max_abs_reference:.3g}"
        return f"an error of {self.max_abs_error:.3g}{of}"

    def closeness_db(self) -> float | None:
        """How close the output is: its ratio, or where it has none, what its error is worth.

        Without a ratio it is the error as a share of the largest value; for integers the
        share of wrong elements. `MOST_DB` stands for equal. None when nothing is known.
        """
        if self.snr_db is not None:
            return self.snr_db
        if self.equal_share is not None:
            wrong = 1 - self.equal_share
            return MOST_DB if wrong <= 0 else min(-10 * math.log10(wrong), MOST_DB)
        if self.max_abs_error is None:
            return None
        if self.max_abs_error == 0:
            return MOST_DB
        share = self.max_abs_error / (self.max_abs_reference or self.max_abs_error)
        return min(-20 * math.log10(share), MOST_DB)


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
