"""What is asked of a measurement."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.analysis.order_statistics import samples_to_carry
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.bench.request import EFFORTS, MeasureRequest


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("runtime", {"runtime": "coreml"}),
        ("effort", {"runtime": "litert", "effort": "lazy"}),
        ("threads", {"runtime": "litert", "threads": -1}),
        ("threads", {"runtime": "litert", "threads": 1000}),
    ],
)
def test_a_bad_value_is_refused_by_its_field(field: str, values: dict[str, object]) -> None:
    with pytest.raises(EdgeconvError) as caught:
        MeasureRequest(**values)  # type: ignore[arg-type]
    assert caught.value.reason is Reason.FIELD_INVALID
    assert [violation.field for violation in caught.value.violations] == [field]


def test_it_travels_as_json() -> None:
    request = MeasureRequest("onnxruntime", "thorough", 3, True, {"x": (1, 3)})
    assert MeasureRequest.from_json(json.loads(json.dumps(request.to_json()))) == request


@pytest.mark.parametrize(
    ("asked", "cores", "used"), [(0, 1, 1), (0, 2, 2), (0, 64, 4), (0, 0, 1), (8, 2, 8)]
)
def test_threads(asked: int, cores: int, used: int) -> None:
    assert MeasureRequest("litert", threads=asked).threads_on(cores) == used


def test_what_the_efforts_promise() -> None:
    quick, standard, thorough = (EFFORTS[name] for name in ("quick", "standard", "thorough"))
    assert quick.processes == 3
    assert quick.limit_s <= 1
    assert standard.processes == 5
    assert (standard.settle_within, standard.limit_s) == (0.01, 3.0)
    assert thorough.processes * thorough.least_samples >= 1024
    assert thorough.processes * thorough.least_s >= 60
    for effort in (quick, standard):
        assert effort.processes * effort.settle_samples >= samples_to_carry(99)
        # Even a model that takes seconds has a median.
        assert effort.processes * effort.least_samples >= samples_to_carry(50)


@pytest.mark.parametrize("name", list(EFFORTS))
@given(samples=st.integers(0, 2_000_000), elapsed_s=st.floats(0, 100), settled=st.booleans())
def test_when_a_process_ends(name: str, samples: int, elapsed_s: float, settled: bool) -> None:
    effort = EFFORTS[name]
    done = effort.is_done(samples, elapsed_s, lambda: settled)
    full = samples >= effort.most_samples
    enough = samples >= effort.least_samples and elapsed_s >= effort.least_s
    if full:
        assert done
    elif not enough:
        assert not done
    elif elapsed_s >= effort.limit_s:
        assert done
    else:
        assert done is (
            settled and effort.settle_within is not None and samples >= effort.settle_samples
        )


def test_the_median_is_looked_at_only_when_it_matters() -> None:
    EFFORTS["quick"].is_done(10, 0.5, lambda: pytest.fail("too few samples"))
    EFFORTS["quick"].is_done(500, 1.5, lambda: pytest.fail("the time is over anyway"))
