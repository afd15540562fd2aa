"""A conversion as it comes over the wire becomes the result that is printed."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import BaseModel, ValidationError

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.results.agreement import Agreement, OutputAgreement
from edgeconv.results.benchmark import BenchmarkSummary, Percentile, PhaseSummary
from edgeconv.results.effect import Effect, Note
from edgeconv.results.job import Failure, JobResult
from edgeconv.results.status import to_status
from edgeconv.results.wire import benchmark_result, enum_word, job_result, variant_result
from edgeconv.v1 import benchmarks_pb2, conversions_pb2

DIGEST = "sha256:" + "a" * 64


def whole_variant() -> conversions_pb2.Variant:
    variant = conversions_pb2.Variant(
        name="int8.tflite",
        recipe_variant="int8",
        target="tflite",
        precision="int8",
        state=conversions_pb2.VARIANT_STATE_VERIFIED,
        digest=DIGEST,
        size_bytes=5 << 40,
        road="program",
        parent="fp32.tflite",
        on_pareto_front=True,
    )
    variant.files.add(name="model.tflite", digest=DIGEST, size_bytes=1234)
    effect = variant.effects.add(step="int8-static", summary="3 tensors", changed=3)
    effect.figures["macs_before"] = 1e9
    effect.notes.add(kind="stayed_float", subject="Gemm_1", message="It stayed float.")
    output = variant.agreement.outputs.add(output="y", passed=True, bound="≥ 60 dB")
    output.snr_db = 0.0
    variant.agreement.samples = 16
    variant.agreement.metric_value = 0.0
    variant.notes.add(kind="slower", message="It is slower.")
    variant.benchmarks.append(whole_benchmark())
    return variant


def whole_benchmark() -> benchmarks_pb2.Benchmark:
    benchmark = benchmarks_pb2.Benchmark(
        name="benchmarks/b",
        device="devices/d",
        device_selector="any",
        state=benchmarks_pb2.BENCHMARK_STATE_SUCCEEDED,
        attempts=2,
        request=benchmarks_pb2.BenchmarkRequest(effort="quick"),
    )
    summary = benchmark.summary
    summary.percentiles.add(percent=50, value_ns=1_000_000, low_ns=1, high_ns=2, samples=300)
    summary.percentiles.add(percent=99, samples=300)
    summary.phases.add(phase="steady", samples=300, median_ns=7, peak_memory_bytes=1 << 33)
    summary.verdict = "stable"
    summary.delegate_parts = 0
    return benchmark


def test_a_variant_keeps_everything() -> None:
    variant = variant_result(whole_variant())
    assert variant.state == "verified"
    assert variant.size_bytes == 5 << 40
    assert variant.files[0].size_bytes == 1234
    assert variant.effects[0].figures == {"macs_before": 1e9}
    assert variant.effects[0].notes[0].kind == "stayed_float"
    assert variant.notes[0].message == "It is slower."
    assert variant.on_pareto_front
    assert variant.error is None


def test_zero_is_a_value_and_absence_is_none() -> None:
    variant = variant_result(whole_variant())
    assert variant.agreement is not None
    assert variant.agreement.outputs[0].snr_db == 0.0
    assert variant.agreement.outputs[0].max_abs_error is None
    assert variant.agreement.metric_value == 0.0
    assert variant.agreement.metric_reference is None
    summary = variant.benchmarks[0].summary
    assert summary is not None
    assert summary.delegate_parts == 0
    assert summary.device_snr_db is None


def test_a_percentile_that_too_few_samples_carry_has_no_value() -> None:
    summary = benchmark_result(whole_benchmark()).summary
    assert summary is not None
    assert summary.percentile(50) == Percentile(
        percent=50, value_ns=1_000_000, low_ns=1, high_ns=2, samples=300
    )
    assert summary.percentile(99) == Percentile(percent=99, samples=300)
    assert summary.phases[0].peak_memory_bytes == 1 << 33


def test_nothing_measured_and_nothing_compared_is_none() -> None:
    bare = conversions_pb2.Variant(state=conversions_pb2.VARIANT_STATE_PENDING)
    assert variant_result(bare).agreement is None
    queued = benchmarks_pb2.Benchmark(state=benchmarks_pb2.BENCHMARK_STATE_QUEUED)
    assert benchmark_result(queued).summary is None
    assert benchmark_result(queued).failure_owner == ""


def test_a_failure_keeps_its_reason_and_fix() -> None:
    error = EdgeconvError(Reason.DATA_NEEDED, "int8 needs data.", fix="Give --data.", x=1)
    benchmark = benchmarks_pb2.Benchmark(
        state=benchmarks_pb2.BENCHMARK_STATE_FAILED,
        error=to_status(error),
        failure_owner=benchmarks_pb2.FAILURE_OWNER_DEVICE,
    )
    result = benchmark_result(benchmark)
    assert result.error == Failure(
        reason="DATA_NEEDED", message="int8 needs data.", fix="Give --data."
    )
    assert result.failure_owner == "device"


def test_a_job_has_its_times_in_nanoseconds() -> None:
    conversion = conversions_pb2.Conversion(
        name="conversions/c",
        model_version="models/m/versions/1",
        state=conversions_pb2.CONVERSION_STATE_PARTLY_SUCCEEDED,
        recipe="version: 1\n",
        create_time=Timestamp(seconds=1_700_000_000, nanos=1),
        end_time=Timestamp(seconds=1_700_000_010),
        toolchain={"torch": "2.13.0"},
        variants=[whole_variant()],
    )
    conversion.steps.add(
        id="prune20/prune",
        key="k",
        wall_time=Duration(seconds=2, nanos=500),
        peak_memory_bytes=7 << 30,
        reused=True,
    )
    job = job_result(conversion)
    assert job.state == "partly_succeeded"
    assert (job.created_ns, job.ended_ns) == (1_700_000_000_000_000_001, 1_700_000_010 * 10**9)
    assert job.steps[0].wall_ns == 2_000_000_500
    assert job.steps[0].reused
    assert job.toolchain == {"torch": "2.13.0"}
    assert JobResult.model_validate_json(job.model_dump_json()) == job


def test_a_job_that_runs_has_no_end() -> None:
    conversion = conversions_pb2.Conversion(state=conversions_pb2.CONVERSION_STATE_CONVERTING)
    assert job_result(conversion).ended_ns == 0


def test_an_infinite_agreement_survives() -> None:
    variant = whole_variant()
    variant.agreement.outputs[0].snr_db = float("inf")
    agreement = variant_result(variant).agreement
    assert agreement is not None
    assert agreement.outputs[0].snr_db == float("inf")


def test_what_breaks_a_promise_is_refused_and_not_passed_on() -> None:
    with pytest.raises(ValidationError, match="state"):
        job_result(conversions_pb2.Conversion())
    variant = whole_variant()
    variant.effects[0].changed = 0
    with pytest.raises(ValidationError, match="changed"):
        variant_result(variant)


def test_a_state_of_a_newer_server_is_its_number() -> None:
    conversion = conversions_pb2.Conversion()
    conversion.state = 99  # type: ignore[assignment]
    assert enum_word(conversion, "state") == "99"


@pytest.mark.parametrize(
    ("message", "field", "words"),
    [
        (conversions_pb2.Conversion, "state", "queued converting benchmarking succeeded"),
        (conversions_pb2.Variant, "state", "pending verified failed refused cancelled"),
        (benchmarks_pb2.Benchmark, "state", "queued leased succeeded failed cancelled"),
        (benchmarks_pb2.Benchmark, "failure_owner", "model device infrastructure"),
    ],
)
def test_states_lose_their_prefix(message: type, field: str, words: str) -> None:
    made = message()
    got = []
    for number in range(1, len(words.split()) + 1):
        setattr(made, field, number)
        got.append(enum_word(made, field))
    assert " ".join(got) == words


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Note, conversions_pb2.Note),
        (Effect, conversions_pb2.Effect),
        (Agreement, conversions_pb2.Agreement),
        (OutputAgreement, conversions_pb2.OutputAgreement),
        (BenchmarkSummary, benchmarks_pb2.BenchmarkSummary),
        (Percentile, benchmarks_pb2.Percentile),
        (PhaseSummary, benchmarks_pb2.PhaseSummary),
    ],
)
def test_models_and_messages_have_the_same_fields(
    model: type[BaseModel], message: type[conversions_pb2.Note]
) -> None:
    """These pass by name; a field on one side only would be refused or lost."""
    descriptor: Descriptor = message.DESCRIPTOR
    assert set(model.model_fields) == set(descriptor.fields_by_name)
    for field in descriptor.fields:
        absent = model.model_fields[field.name].default is None
        # An optional field of proto3 stands in a oneof of its own.
        assert absent == (field.containing_oneof is not None), field.name
