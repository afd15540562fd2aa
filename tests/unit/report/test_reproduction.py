"""The command that a report gives to make the artifacts again."""

from __future__ import annotations

import shlex
from itertools import pairwise

from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.cli.convert import convert
from edgeconv.cli.convert_request import parse_shapes
from edgeconv.report.html import render_html
from edgeconv.report.reproduction import command, data_words
from edgeconv.results.job import JobResult

_PLAIN = JobResult(name="conversions/c", model_version="models/m/versions/1", state="succeeded")
_A, _B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def test_without_shapes_and_data() -> None:
    assert command(_PLAIN) == "edgeconv convert MODEL --recipe recipe.yaml"
    assert data_words(_PLAIN) == ""


def test_open_axes_have_their_sizes_and_the_model_its_name() -> None:
    result = _PLAIN.model_copy(
        update={"source": "../my model (1).onnx", "shapes": {"x": "1,3,32,32", "in put": "1,4"}}
    )
    assert command(result) == (
        "edgeconv convert 'my model (1).onnx' --recipe recipe.yaml"
        " --shape 'in put=1,4' --shape x=1,3,32,32"
    )
    assert "--shape x=1,3,32,32" in render_html(result)


def test_one_file_of_data_is_an_option_and_two_are_the_recipes() -> None:
    roles = {"calibration": _A, "evaluation": _A}
    one = _PLAIN.model_copy(update={"data_digests": roles})
    assert command(one).endswith(" --data DATA.npz")
    assert "calibration and evaluation" in data_words(one)
    two = _PLAIN.model_copy(update={"data_digests": {**roles, "evaluation": _B}})
    assert "--data" not in command(two)
    assert f"evaluation {_B}" in data_words(two)
    # `--data` would be for calibration too.
    alone = _PLAIN.model_copy(update={"data_digests": {"evaluation": _A}})
    assert "--data" not in command(alone)
    assert f"evaluation {_A}" in data_words(alone)


@given(st.dictionaries(st.text(min_size=1), st.just("1,2"), max_size=3))
def test_a_shell_hands_the_command_line_the_same_shapes(shapes: dict[str, str]) -> None:
    words = shlex.split(command(_PLAIN.model_copy(update={"shapes": shapes})))
    given_shapes = [after for word, after in pairwise(words) if word == "--shape"]
    assert parse_shapes(given_shapes) == shapes


def test_the_command_line_knows_these_options() -> None:
    shown = CliRunner().invoke(convert, ["--help"]).output
    assert all(option in shown for option in ("--recipe", "--shape", "--data"))
