"""Whose fault a failure is."""

from __future__ import annotations

import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.bench.failure import FailureOwner, owner_of
from edgeconv.bench.record import PHASES
from edgeconv.sandbox.child import OUT_OF_MEMORY


def _death(how: str, phase: str) -> EdgeconvError:
    return EdgeconvError(Reason.CHILD_DIED, "It died.", ended_by=how, phase=phase)


@pytest.mark.parametrize("phase", [phase for phase in PHASES if phase != "import"])
@pytest.mark.parametrize("how", ["signal SIGSEGV", "signal SIGABRT", "signal SIGILL", "status 1"])
def test_a_crash_with_the_model_in_hand_is_the_models(how: str, phase: str) -> None:
    assert owner_of(_death(how, phase)) is FailureOwner.MODEL


def test_a_crash_for_the_outputs_is_the_models() -> None:
    assert owner_of(_death("signal SIGSEGV", "outputs")) is FailureOwner.MODEL


def test_a_crash_of_the_import_is_the_devices() -> None:
    assert owner_of(_death("signal SIGILL", "import")) is FailureOwner.DEVICE


@pytest.mark.parametrize("phase", ["start", "import", "steady", "waiting"])
def test_a_kill_from_outside_is_the_devices(phase: str) -> None:
    assert owner_of(_death("signal SIGKILL", phase)) is FailureOwner.DEVICE


def test_a_device_short_of_memory_is_not_laid_at_the_models_door() -> None:
    error = EdgeconvError(Reason.LIMIT_EXCEEDED, "Memory ran out.", ended_by=OUT_OF_MEMORY)
    assert owner_of(error) is FailureOwner.DEVICE


@pytest.mark.parametrize("phase", ["start", "waiting"])
def test_a_death_before_anything_was_loaded_is_nobodys_model(phase: str) -> None:
    assert owner_of(_death("status 1", phase)) is FailureOwner.INFRASTRUCTURE


@pytest.mark.parametrize(
    ("reason", "owner"),
    [
        (Reason.RUNTIME_REFUSED, FailureOwner.MODEL),
        (Reason.LIMIT_EXCEEDED, FailureOwner.MODEL),
        (Reason.DATASET_MISMATCH, FailureOwner.MODEL),
        (Reason.DIMENSION_UNKNOWN, FailureOwner.MODEL),
        (Reason.EXTRA_MISSING, FailureOwner.DEVICE),
        (Reason.DEVICE_FAILED, FailureOwner.DEVICE),
        (Reason.INTERNAL, FailureOwner.INFRASTRUCTURE),
        (Reason.BLOB_DAMAGED, FailureOwner.INFRASTRUCTURE),
        (Reason.CHILD_DIED, FailureOwner.INFRASTRUCTURE),
    ],
)
def test_reasons(reason: Reason, owner: FailureOwner) -> None:
    assert owner_of(EdgeconvError(reason, "It failed.")) is owner
