"""Whether a device computed what the host did when it verified the variant. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from edgeconv.results.agreement import Agreement
from edgeconv.results.benchmark import BenchmarkSummary
from edgeconv.results.effect import Note
from edgeconv.server.records import BenchmarkRecord, VariantRecord

GOOD_SNR_DB = 60.0
"""From here on a device is not doubted: full precision is held to no more."""
MOST_LOST_DB = 10.0
"""The device runs fewer samples than the host, so a few dB are no difference."""
MOST_LOST_ARGMAX = 0.1


def doubts(variant: VariantRecord, benchmark: BenchmarkRecord) -> list[Note]:
    """Why the numbers that a device computed for a variant can't be relied on."""
    summary = benchmark.summary
    if summary is None or benchmark.samples is None or benchmark.outputs is None:
        return []
    if not benchmark.outputs_digest:
        words = "The device sent no outputs: what it computes was not checked."
        return [_flag(benchmark.device, words)]
    agreement = variant.agreement or Agreement()
    return [_flag(benchmark.device, words) for words in _losses(agreement, summary)]


def _losses(agreement: Agreement, summary: BenchmarkSummary) -> Iterator[str]:
    ratios = [each.snr_db for each in agreement.outputs if each.snr_db is not None]
    shares = [
        each.argmax_agreement for each in agreement.outputs if each.argmax_agreement is not None
    ]
    snr_db, share = summary.device_snr_db, summary.device_argmax_agreement
    if snr_db is not None and ratios:
        host_db = min(ratios)
        if snr_db < GOOD_SNR_DB and host_db - snr_db > MOST_LOST_DB:
            yield (
                f"The device's outputs agree with the source's to {snr_db:.1f} dB, the host's"
                f" to {host_db:.1f} dB: the device computes something else."
            )
    elif share is not None and shares and min(shares) - share > MOST_LOST_ARGMAX:
        yield (
            f"The device's largest element is the source's in {share:.1%} of the rows, the"
            f" host's in {min(shares):.1%}: the device computes something else."
        )


def _flag(device: str, words: str) -> Note:
    return Note(kind="flagged", subject=device, message=f"{device}: {words}")
