"""What a device sends back: its samples summed up, its outputs held against the source's."""

from __future__ import annotations

import asyncio
import io
import logging
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.bench.record import decode
from edgeconv.bench.summary import summarize
from edgeconv.results.benchmark import BenchmarkSummary
from edgeconv.server.blobs.blobs import Blobs
from edgeconv.server.records import FailureOwner, FileRecord
from edgeconv.server.store.store import Store

_LOG = logging.getLogger(__name__)

MAX_RESULT_BYTES = 256 * 1024 * 1024
_MAX_ARRAYS = 1024


@dataclass(frozen=True)
class LeaseOutcome:
    """How a benchmark ended on a device: digests of what was sent, or an error."""

    record_digest: str
    outputs_digest: str
    error: EdgeconvError | None
    owner: FailureOwner


async def take_outcome(
    store: Store, blobs: Blobs, benchmark: str, token: int, outcome: LeaseOutcome
) -> bool:
    """Ends a benchmark, or gives it back to the queue; False when its lease was lost."""
    try:
        record = await store.fleet.check_lease(benchmark, token)
    except EdgeconvError:
        return False
    if outcome.error is not None:
        return await store.fleet.fail(benchmark, token, outcome.owner, outcome.error)
    samples = await store.fleet.file(benchmark, outcome.record_digest)
    outputs = await store.fleet.file(benchmark, outcome.outputs_digest)
    try:
        if samples is None:
            raise EdgeconvError(
                Reason.FIELD_INVALID, f"The record of 'benchmarks/{benchmark}' was not sent."
            )
        summary = await asyncio.to_thread(_sum_up, blobs, samples, outputs, record.outputs)
    except EdgeconvError as error:
        return await store.fleet.fail(benchmark, token, "infrastructure", error)
    except Exception:
        # A record or an npz can be malformed in ways that no check foresees; that ends
        # this attempt, not the agent's call.
        _LOG.exception("the result of benchmarks/%s can't be read", benchmark)
        fault = EdgeconvError(Reason.DEVICE_FAILED, "The device's result can't be read.")
        return await store.fleet.fail(benchmark, token, "device", fault)
    return await store.fleet.succeed(
        benchmark, token, summary,
        record_digest=outcome.record_digest,
        outputs_digest=outcome.outputs_digest if outputs else "",
    )  # fmt: skip


def _sum_up(
    blobs: Blobs, samples: FileRecord, outputs: FileRecord | None, reference: FileRecord | None
) -> BenchmarkSummary:
    summary = summarize(decode(blobs.read_whole(samples)))
    if outputs is None or reference is None:
        return summary
    snr_db, argmax = compare_outputs(blobs.read_whole(reference), blobs.read_whole(outputs))
    return summary.model_copy(update={"device_snr_db": snr_db, "device_argmax_agreement": argmax})


def compare_outputs(reference: bytes, got: bytes) -> tuple[float | None, float | None]:
    """Agreement of a device's outputs with the source's: the worst over all outputs.

    Args:
        reference: An npz, output name → [samples, …].
        got: Likewise, for the first samples of those.

    Returns:
        Signal-to-noise ratio in dB, and the share of samples with the same argmax; None
        where no output tells.

    Raises:
        EdgeconvError: DEVICE_FAILED when an output is missing or has another shape.
    """
    from edgeconv.analysis.agreement import compare

    found = dict(_arrays(got))
    snr: list[float] = []
    argmax: list[float] = []
    for name, expected in _arrays(reference):
        array = found.get(name)
        if array is None or array.shape[1:] != expected.shape[1:] or len(array) > len(expected):
            raise EdgeconvError(
                Reason.DEVICE_FAILED,
                f"The device's output {name!r} is missing or has another shape than the source's.",
                output=name,
            )
        comparison = compare(expected[: len(array)], array)
        if comparison.snr_db is not None:
            snr.append(comparison.snr_db)
        if comparison.argmax_agreement is not None:
            argmax.append(comparison.argmax_agreement)
    return min(snr, default=None), min(argmax, default=None)


def _arrays(data: bytes) -> Iterator[tuple[str, Any]]:
    """The arrays of an npz, each read when it is asked for; never unpickles."""
    import numpy as np

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        if len(members) > _MAX_ARRAYS or sum(m.file_size for m in members) > MAX_RESULT_BYTES:
            raise EdgeconvError(Reason.LIMIT_EXCEEDED, "The device's outputs are too large.")
        for member in members:
            with archive.open(member) as stream:
                array = np.lib.format.read_array(stream, allow_pickle=False)
            yield member.filename.removesuffix(".npy"), array
