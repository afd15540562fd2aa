"""Equal keys, equal results."""

from __future__ import annotations

from typing import Any

import pytest

from edgeconv.recipe.specs import StepKind, StepSpec, spec_of
from edgeconv.server.jobs.keys import KeyInput, step_key

_PRUNE = spec_of(StepKind.PASS, "prune")


def _key(spec: StepSpec = _PRUNE, **changed: Any) -> str:
    given: dict[str, Any] = {
        "options": {"ratio": 0.5},
        "inputs": {"program": KeyInput("sha256:1", {"signature": 1})},
        "model": "sha256:9",
        "seed": 0,
        "toolchain": {"torch": "2"},
        "cpu_class": "x86_64-1",
    }
    given |= changed
    return step_key(
        spec, given["options"], given["inputs"], model=given["model"], seed=given["seed"],
        toolchain=given["toolchain"], cpu_class=given["cpu_class"],
    )  # fmt: skip


@pytest.mark.parametrize(
    "changed",
    [
        {"options": {"ratio": 0.4}},
        {"inputs": {"program": KeyInput("sha256:2", {"signature": 1})}},
        {"inputs": {"program": KeyInput("sha256:1", {"signature": 2})}},
        {"inputs": {"other": KeyInput("sha256:1", {"signature": 1})}},
        {"model": "sha256:8"},
        {"seed": 1},
        {"toolchain": {"torch": "3"}},
        {"cpu_class": "x86_64-2"},
    ],
)
def test_all_that_a_result_depends_on_changes_the_key(changed: dict[str, Any]) -> None:
    assert _key(**changed) != _key()


def test_a_raised_revision_and_another_step_change_the_key() -> None:
    raised = StepSpec(_PRUNE.kind, _PRUNE.name, "other words", 99, _PRUNE.options)
    reworded = StepSpec(_PRUNE.kind, _PRUNE.name, "other words", _PRUNE.revision, _PRUNE.options)
    assert _key(raised) != _key()
    assert _key(reworded) == _key()
    assert _key(spec_of(StepKind.LOWERING, "onnx")) != _key(spec_of(StepKind.LOWERING, "tflite"))


def test_order_does_not_change_the_key() -> None:
    one = {"a": KeyInput("sha256:1", {"x": 1, "y": 2}), "b": KeyInput("sha256:2", {})}
    other = {"b": KeyInput("sha256:2", {}), "a": KeyInput("sha256:1", {"y": 2, "x": 1})}
    assert _key(inputs=one) == _key(inputs=other)


def test_a_step_that_gets_no_seed_does_not_depend_on_it() -> None:
    intake = spec_of(StepKind.INTAKE, "intake")
    assert _key(intake, seed=1) == _key(intake, seed=2)
