"""What a benchmark's samples come to; the fields are those of the wire's messages."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Percentile(BaseModel):
    """A percentile of steady-state latency, absent when too few samples carry it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    percent: float
    value_ns: int | None = None
    low_ns: int | None = None
    high_ns: int | None = None
    samples: int = 0


class PhaseSummary(BaseModel):
    """One phase as a series of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    phase: str
    samples: int = 0
    median_ns: int = 0
    median_cpu_ns: int = 0
    peak_memory_bytes: int = 0
    peak_file_bytes: int = 0


class BenchmarkSummary(BaseModel):
    """Computed from the raw record by `bench.summary`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    percentiles: tuple[Percentile, ...] = ()
    phases: tuple[PhaseSummary, ...] = ()
    user_visible_ns: int = 0
    peak_memory_bytes: int = 0
    processes: int = 0
    samples: int = 0
    involuntary_switches: int = 0
    verdict: str = ""
    reasons: tuple[str, ...] = ()
    runtime: str = ""
    device_snr_db: float | None = None
    device_argmax_agreement: float | None = None
    delegate_parts: int | None = None
    device_doubts: tuple[str, ...] = ()

    def percentile(self, percent: float) -> Percentile | None:
        """That percentile, or None when it was not computed."""
        return next((each for each in self.percentiles if each.percent == percent), None)
