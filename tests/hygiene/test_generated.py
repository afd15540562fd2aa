"""What is generated is current, and what it is generated from is complete."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from edgeconv.conversion.registry import IMPLEMENTATIONS, implementation
from edgeconv.recipe.specs import StepKind, StepSpec, specs_of
from edgeconv.recipe.toolchain import ARTIFACT_PACKAGES
from tools.describe_wire import uncommented
from tools.generate_reference import TARGET, pages
from tools.generate_stubs import TARGET as STUBS
from tools.generate_stubs import generate

ROOT = Path(__file__).resolve().parents[2]
IMPLEMENTED = [
    spec for kind in (StepKind.PASS, StepKind.LOWERING, StepKind.FINISH) for spec in specs_of(kind)
]


@pytest.mark.parametrize("spec", IMPLEMENTED, ids=lambda spec: spec.name)
def test_every_spec_has_an_implementation_that_names_it(spec: StepSpec) -> None:
    assert implementation(spec.kind, spec.name).spec is spec


def test_nothing_is_registered_without_a_spec() -> None:
    assert set(IMPLEMENTATIONS) == {(spec.kind, spec.name) for spec in IMPLEMENTED}


def test_everything_on_the_wire_has_a_comment() -> None:
    assert uncommented() == []


def test_stubs_are_current(tmp_path: Path) -> None:
    fresh = {path.name: path.read_bytes() for path in generate(tmp_path)}
    committed = {path.name: path.read_bytes() for path in STUBS.glob("*_pb2*")}
    assert fresh == committed


def test_reference_pages_are_current() -> None:
    committed = {path.name: path.read_text() for path in TARGET.glob("*")}
    assert committed == pages(), "run `make reference`"


def test_constraints_hold_the_pins_of_the_server_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    server = project["optional-dependencies"]["server"]
    pinned = {line for line in server if "==" in line}
    constrained = set((ROOT / "constraints.txt").read_text().splitlines())
    assert pinned <= constrained
    assert {line.partition("==")[0] for line in pinned} >= set(ARTIFACT_PACKAGES)
