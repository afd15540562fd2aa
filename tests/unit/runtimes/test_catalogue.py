"""Finding a runtime, and saying what installs one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.runtimes.catalogue import RUNTIMES, loader, runtime_by_format, runtime_by_name
from edgeconv.runtimes.litert.spec import LITERT


def test_names_and_formats_are_unique() -> None:
    assert len({spec.name for spec in RUNTIMES}) == len(RUNTIMES)
    assert len({spec.format for spec in RUNTIMES}) == len(RUNTIMES)


@pytest.mark.parametrize(
    ("find", "field", "known"),
    [(runtime_by_name, "runtime", "onnxruntime, litert"), (runtime_by_format, "format", "tflite")],
)
def test_an_unknown_one_is_refused_with_the_known_ones(
    find: object, field: str, known: str
) -> None:
    with pytest.raises(EdgeconvError) as caught:
        find("coreml")  # type: ignore[operator]
    error = caught.value
    assert error.reason is Reason.FIELD_INVALID
    assert error.violations[0].field == field
    assert known in error.fix
    assert "'coreml'" in error.message


def test_a_runtime_that_is_absent_names_the_line_that_installs_it() -> None:
    absent = replace(LITERT, packages=("no-such-runtime-package",))
    assert absent.installed_version() is None
    with pytest.raises(EdgeconvError) as caught:
        loader(absent)
    assert caught.value.reason is Reason.EXTRA_MISSING
    assert caught.value.fix == "Install it with: pip install 'edgeconv[tflite]'"


def test_the_first_installed_package_counts() -> None:
    both = replace(LITERT, packages=("no-such-runtime-package", "ai-edge-litert"))
    assert both.require() == LITERT.require()
