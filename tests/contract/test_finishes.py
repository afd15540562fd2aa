"""What every finish promises, on every small net and both formats, in the real runtime."""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeconv.base.digests import digest_file
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.program import Artifact
from edgeconv.conversion.verify import open_session
from edgeconv.recipe.signature import Signature
from edgeconv.recipe.specs import StepKind, specs_of
from edgeconv.results.effect import Effect
from edgeconv.testing.conversions import (
    FORMATS,
    NETS,
    Format,
    finish,
    lowered,
    net,
    samples_for,
    snr_db,
)

FINISHES = tuple(spec.name for spec in specs_of(StepKind.FINISH))
# Random weights: outputs are mostly bias, so that the centred ratio is hard on all of it.
LEAST_DB = {"fp16": 40.0, "int8-static": 15.0, "int8-dynamic": 20.0, "int8-weights": 25.0}
CASES = [(name, net, target) for name in FINISHES for net in NETS for target in FORMATS]


@functools.cache
def _work() -> Path:
    """Made when it is first needed: a module is imported without its tests being run."""
    return Path(tempfile.mkdtemp(prefix="edgeconv-finished-"))


@pytest.fixture(scope="module", autouse=True)
def _sweep() -> Iterator[None]:
    yield
    if _work.cache_info().currsize:
        shutil.rmtree(_work())
    _work.cache_clear()
    finished.cache_clear()


@functools.cache
def finished(name: str, of: str, target: Format) -> tuple[Artifact, Effect]:
    samples = samples_for(net(of), count=32)
    return finish(lowered(of, target)[0], name, _work() / f"{name}-{of}-{target}", samples=samples)


@pytest.fixture(params=CASES, ids="-".join)
def case(request: pytest.FixtureRequest) -> tuple[str, str, Format]:
    chosen: tuple[str, str, Format] = request.param
    return chosen


def test_the_signature_is_the_users_still(case: tuple[str, str, Format]) -> None:
    artifact, _ = finished(*case)
    session = open_session(artifact)
    shown = Signature(inputs=session.inputs, outputs=session.outputs)
    assert net(case[1]).signature.differences(shown) == []


def test_it_computes_about_the_same(case: tuple[str, str, Format]) -> None:
    assert snr_db(net(case[1]), finished(*case)[0]) >= LEAST_DB[case[0]]


def test_the_effect_says_what_changed_and_how_large_it_is(case: tuple[str, str, Format]) -> None:
    artifact, effect = finished(*case)
    assert effect.step == case[0]
    assert effect.changed > 0
    assert effect.figures["size_bytes"] == artifact.path.stat().st_size
    before = lowered(case[1], case[2])[0]
    assert effect.figures["size_before_bytes"] == before.path.stat().st_size
    assert [step.name for step in artifact.lineage.steps] == [case[2], case[0]]


def test_only_the_file_is_left_behind(case: tuple[str, str, Format]) -> None:
    artifact, _ = finished(*case)
    assert [path.name for path in artifact.folder.iterdir()] == [f"model.{case[2]}"]


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("name", FINISHES)
def test_the_given_file_stays_and_equal_calls_give_equal_bytes(
    name: str, target: Format, tmp_path: Path
) -> None:
    given = lowered("cnn", target)[0]
    before = digest_file(given.path)
    samples = samples_for(net("cnn"), count=32)
    again, _ = finish(given, name, tmp_path, samples=samples)
    assert digest_file(given.path) == before
    assert digest_file(again.path) == digest_file(finished(name, "cnn", target)[0].path)


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("second", FINISHES)
@pytest.mark.parametrize("first", FINISHES)
def test_a_file_that_was_finished_before_is_refused(
    first: str, second: str, target: Format, tmp_path: Path
) -> None:
    given = finished(first, "cnn", target)[0]
    with pytest.raises(EdgeconvError) as caught:
        finish(given, second, tmp_path, samples=samples_for(net("cnn")))
    assert caught.value.reason is Reason.NOT_APPLICABLE
    assert "already" in caught.value.message


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("name", FINISHES)
def test_weights_of_a_convolutional_net_take_less_space(name: str, target: Format) -> None:
    figures = finished(name, "cnn", target)[1].figures
    limit = 0.6 if name == "fp16" else 0.4
    assert figures["size_bytes"] < limit * figures["size_before_bytes"]


@pytest.mark.parametrize("target", FORMATS)
def test_static_int8_without_data_says_what_it_needs(target: Format, tmp_path: Path) -> None:
    with pytest.raises(EdgeconvError) as caught:
        finish(lowered("cnn", target)[0], "int8-static", tmp_path)
    assert caught.value.reason is Reason.DATA_NEEDED
