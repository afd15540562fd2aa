"""What a benchmark's samples come to; the fields are those of the wire's messages."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _whole(text: str) -> str:
    text.encode()
    return text


Text = Annotated[str, AfterValidator(_whole)]
"""Without half characters (unpaired surrogates), which JSON can escape and the wire can't hold."""
Count = Annotated[int, Field(ge=0, lt=2**63)]
"""What the wire's int64 holds. Agents send the raw figures: one beyond it could be stored,
and no message with it read again."""
SmallCount = Annotated[int, Field(ge=0, lt=2**31)]


class Percentile(BaseModel):
    """A percentile of steady-state latency, absent when too few samples carry it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    percent: float
    value_ns: Count | None = None
    low_ns: Count | None = None
    high_ns: Count | None = None
    samples: Count = 0


class PhaseSummary(BaseModel):
    """One phase as a series of its own; nothing is said of one that was not reached."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    phase: Text
    samples: Count = 0
    median_ns: Count | None = None
    median_cpu_ns: Count | None = None
    peak_memory_bytes: Count | None = None
    peak_file_bytes: Count | None = None


class BenchmarkSummary(BaseModel):
    """Computed from the raw record by `bench.summary`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    percentiles: tuple[Percentile, ...] = ()
    phases: tuple[PhaseSummary, ...] = ()
    user_visible_ns: Count = 0
    peak_memory_bytes: Count = 0
    processes: SmallCount = 0
    samples: Count = 0
    involuntary_switches: Count = 0
    verdict: Text = ""
    reasons: tuple[Text, ...] = ()
    runtime: Text = ""
    device_snr_db: float | None = None
    device_argmax_agreement: float | None = None
    delegate_parts: SmallCount | None = None
    device_doubts: tuple[Text, ...] = ()

    def percentile(self, percent: float) -> Percentile | None:
        """That percentile, or None when it was not computed."""
        return next((each for each in self.percentiles if each.percent == percent), None)
