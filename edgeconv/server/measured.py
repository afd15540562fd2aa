"""What a device sends back: its samples summed up, its outputs held against the source's
and against those of the server's own run of the same file."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.bench.record import decode
from edgeconv.bench.summary import summarize
from edgeconv.recipe.plan import Plan
from edgeconv.recipe.specs import VerifyOptions
from edgeconv.results.benchmark import BenchmarkSummary
from edgeconv.server.blobs.blobs import Blobs
from edgeconv.server.device_numbers import compare_with_host
from edgeconv.server.records import BenchmarkRecord, FailureOwner, FileRecord
from edgeconv.server.result_arrays import MAX_RESULT_BYTES as MAX_RESULT_BYTES
from edgeconv.server.result_arrays import count_samples, read_arrays
from edgeconv.server.store.store import Store

_LOG = logging.getLogger(__name__)

R = TypeVar("R")

_COMES_AGAIN = frozenset(
    {
        Reason.DATABASE_UNAVAILABLE, Reason.STATE_UNWRITABLE, Reason.DISK_FULL,
        Reason.DISK_FAILED,
    }
)  # fmt: skip
"""Troubles of the server that pass; the agent keeps its result until it is taken."""

OUTPUTS_FILE = "outputs.npz"
"""What the reference writes for the source, and each verification for its artifact."""


_NOT_KEPT = (
    "The outputs of the server's own run of this file are not kept: the device's were compared"
    " with the source's only."
)


@dataclass(frozen=True)
class HostRun:
    """What verifying a variant here gave, and what the variant is held to."""

    outputs: FileRecord
    options: VerifyOptions


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
    """Ends a benchmark, or gives it back to the queue; False when its lease was lost.

    Raises:
        EdgeconvError: DATABASE_UNAVAILABLE, STATE_UNWRITABLE, DISK_FULL, DISK_FAILED: the lease
            stands, and the agent is to come again with what it measured.
    """
    try:
        record = await store.fleet.check_lease(benchmark, token)
    except EdgeconvError as error:
        if error.reason is not Reason.LEASE_LOST:
            raise
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
        host = await _host_run(store, record)
        summary = await asyncio.to_thread(_sum_up, blobs, samples, outputs, host, record)
    except EdgeconvError as error:
        if error.reason in _COMES_AGAIN:
            raise
        owner: FailureOwner = "device" if error.reason is Reason.DEVICE_FAILED else "infrastructure"
        return await store.fleet.fail(benchmark, token, owner, error)
    except Exception:
        # What the device sent is not at fault here, see `_judged`. It ends this attempt, not
        # the agent's call: that would come again with the same for ever.
        _LOG.exception("the result of benchmarks/%s could not be summed up", benchmark)
        fault = EdgeconvError(Reason.INTERNAL, "The server could not sum up the result.")
        return await store.fleet.fail(benchmark, token, "infrastructure", fault)
    return await store.fleet.succeed(
        benchmark, token, summary,
        record_digest=outcome.record_digest,
        outputs_digest=outcome.outputs_digest if outputs else "",
    )  # fmt: skip


async def _host_run(store: Store, benchmark: BenchmarkRecord) -> HostRun | None:
    """None when the result of the step that verified the variant is not known any more."""
    view = await store.conversions.view(benchmark.conversion)
    plan = Plan.model_validate(view.conversion.plan) if view and view.conversion.plan else None
    variants = plan.variants if plan else ()
    verify = next((each.verify for each in variants if each.name == benchmark.variant), "")
    key = next((step.key for step in view.steps if step.id == verify), "") if view else ""
    output = await store.steps.output(key) if key else None
    files = output.files if output else ()
    found = next((file for file in files if file.name == OUTPUTS_FILE), None)
    if plan is None or found is None:
        return None
    step = next(each for each in plan.steps if each.id == verify)
    return HostRun(found, VerifyOptions.model_validate(step.options))


def _sum_up(
    blobs: Blobs,
    record: FileRecord,
    outputs: FileRecord | None,
    host: HostRun | None,
    benchmark: BenchmarkRecord,
) -> BenchmarkSummary:
    """The summary; outputs that were not sent leave it without the device's agreement.

    Raises:
        EdgeconvError: DEVICE_FAILED, LIMIT_EXCEEDED; BLOB_DAMAGED.
    """
    data = blobs.read_whole(record)
    summary = _judged(lambda: summarize(decode(data)))
    if outputs is None or benchmark.samples is None or benchmark.outputs is None:
        return summary
    got = blobs.read_whole(outputs)
    source = blobs.read_whole(benchmark.outputs)
    sent = count_samples(blobs.read_whole(benchmark.samples))
    snr_db, argmax = _judged(lambda: compare_outputs(source, got, sent))
    told: tuple[str, ...] = (_NOT_KEPT,)
    if host is not None:
        options, own = host.options, blobs.read_whole(host.outputs)
        told = _judged(
            lambda: compare_with_host(
                read_arrays(own, rows=count_samples(got)), dict(read_arrays(got)), options
            )
        )
    return summary.model_copy(
        update={
            "device_snr_db": snr_db,
            "device_argmax_agreement": argmax,
            "device_doubts": told,
        }
    )


def _judged(judge: Callable[[], R]) -> R:
    """What is found of bytes that a device sent; those of the server were held against a digest.

    Raises:
        EdgeconvError: as `judge`; DEVICE_FAILED when the bytes can't be read.
    """
    try:
        return judge()
    except (EdgeconvError, OSError, MemoryError):
        raise
    except Exception as fault:
        # A record or an npz can be malformed in ways that no check foresees.
        _LOG.warning("what a device sent can't be read", exc_info=fault)
        raise EdgeconvError(Reason.DEVICE_FAILED, "The device's result can't be read.") from fault


def compare_outputs(
    reference: bytes, got: bytes, samples: int
) -> tuple[float | None, float | None]:
    """Agreement of a device's outputs with the source's: the worst over all outputs.

    Args:
        reference: An npz, output name → [at least `samples`, …].
        got: Likewise, for the first samples of those: all that were sent, or as many as
            256 MiB hold.
        samples: How many were sent.

    Returns:
        Signal-to-noise ratio in dB, and the share of samples with the same argmax; None
        where no output tells.

    Raises:
        EdgeconvError: DEVICE_FAILED when an output is missing, has another shape, type or
            count than asked for, or holds NaN or infinity where the source has a number;
            LIMIT_EXCEEDED.
    """
    from edgeconv.analysis.agreement import compare

    found = dict(read_arrays(got))
    count = _check_count(found, samples)
    snr: list[float] = []
    argmax: list[float] = []
    for name, expected in read_arrays(reference, rows=count):
        array = found.get(name)
        if array is None or array.shape != expected.shape:
            raise _fault(name, "is missing or has another shape than the source's")
        if array.dtype.name != expected.dtype.name:
            raise _fault(name, f"is {array.dtype.name}, and {expected.dtype.name} in the source")
        comparison = compare(expected, array)
        if not comparison.finite:
            raise _fault(name, "holds NaN or infinity where the source has a number")
        if comparison.snr_db is not None:
            snr.append(comparison.snr_db)
        if comparison.argmax_agreement is not None:
            argmax.append(comparison.argmax_agreement)
    return min(snr, default=None), min(argmax, default=None)


def _check_count(found: Mapping[str, Any], samples: int) -> int:
    """For how many samples there are outputs; fewer than sent only where no more fit."""
    counts = {len(array) if array.ndim else 0 for array in found.values()}
    count = min(counts, default=0)
    if len(counts) == 1 and count == samples:
        return count
    held = sum(array.nbytes for array in found.values())
    if len(counts) == 1 and 0 < count < samples:
        one_more = held // count * (count + 1)
        if one_more > MAX_RESULT_BYTES:
            return count
    raise EdgeconvError(
        Reason.DEVICE_FAILED,
        f"The device sent outputs of {', '.join(map(str, sorted(counts))) or 'no'} samples,"
        f" not of the {samples} that it was given.",
        samples=samples,
    )


def _fault(output: str, words: str) -> EdgeconvError:
    return EdgeconvError(
        Reason.DEVICE_FAILED, f"The device's output {output!r} {words}.", output=output
    )
