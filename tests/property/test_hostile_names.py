"""Names out of files in what commands print, and names of files: text that does nothing."""

from __future__ import annotations

import io
import json
import unicodedata
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from rich.console import Console

from edgeconv.base.bundle import check_file_name
from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason
from edgeconv.cli.describe import print_inspection
from edgeconv.cli.documents import InspectionDocument
from edgeconv.cli.main import main
from edgeconv.cli.names import slug
from edgeconv.cli.terminal import Terminal
from edgeconv.recipe.inspection import Inspection
from edgeconv.recipe.schema import parse_recipe
from edgeconv.recipe.signature import DeclaredTensor, DType

HARM = [
    "\x1b[2J\x1b[31m", "\x9b31m", "\r\n\x07", "\u202egnp.exe", "\u2066", "\u2028", "../../x",
    "/etc/passwd", "a/b\\c", "<script>alert(1)</script>", "[red]x[/red]", ":smile:", "%s%n", "\0",
    "-rf", "~", "con", "n" * 10_000, "\ufeff", "\U000e0041", "..", ".",
]  # fmt: skip
NAMES = st.one_of(st.sampled_from(HARM), st.text(st.characters(exclude_categories=["Cs"])))
ACTING = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


def check_nothing_acts(shown: str) -> None:
    assert {char for char in shown if unicodedata.category(char) in ACTING} <= {"\n"}


def printed_by(terminal: Terminal) -> io.StringIO:
    """What the terminal prints from now on, as if it were one with colours."""
    stream = io.StringIO()
    console = Console(
        file=stream, markup=False, highlight=False, emoji=False, width=100, no_color=True
    )
    terminal.out = terminal.err = console
    return stream


@settings(max_examples=50)
@given(st.lists(NAMES, min_size=6, max_size=6))
@example(HARM[:6])
@example(["".join(HARM)] * 6)
def test_no_name_acts_in_what_inspect_prints(names: list[str]) -> None:
    given_, made, axis, operator, note, path = names
    inspection = Inspection(
        format="onnx",
        inputs=(DeclaredTensor(name=given_, dtype=DType.FLOAT32, shape=(axis, 4, axis)),),
        outputs=(DeclaredTensor(name=made, dtype=DType.FLOAT32, shape=(axis,)),),
        parameters=1,
        weights_bytes=4,
        operators={operator: 3},
        notes=(note,),
    )
    terminal = Terminal()
    stream = printed_by(terminal)
    print_inspection(inspection, terminal)
    terminal.print_error(
        EdgeconvError(
            Reason.MODEL_UNREADABLE, given_, fix=made, violations=[FieldViolation(axis, note)]
        )
    )
    check_nothing_acts(stream.getvalue())
    document = InspectionDocument(path=path, inspection=inspection)
    text = json.dumps(document.model_dump(mode="json"), indent=2)
    assert text.isascii()
    check_nothing_acts(text)


@given(NAMES)
def test_a_file_name_that_is_taken_stays_in_its_folder(name: str) -> None:
    try:
        check_file_name(name)
    except EdgeconvError as error:
        check_nothing_acts(ascii(error.message))
        return
    path = Path("/folder", name)
    assert (path.parent, path.name) == (Path("/folder"), name)
    check_nothing_acts(name)


@given(NAMES)
def test_a_variant_that_is_taken_names_a_file(name: str) -> None:
    recipe = json.dumps({"version": 1, "targets": ["onnx"], "variants": {name: {}}})
    try:
        parse_recipe(recipe)
    except EdgeconvError:
        return
    assert check_file_name(f"{name}.onnx")


@given(NAMES)
def test_a_model_is_named_after_any_file(name: str) -> None:
    assert check_file_name(slug(Path(name)))


def _write(path: Path, names: list[str]) -> None:
    given_, made, axis = names
    graph = helper.make_graph(
        [helper.make_node("Relu", [given_], [made], name=made)],
        "graph",
        [helper.make_tensor_value_info(given_, TensorProto.FLOAT, [axis, 4])],
        [helper.make_tensor_value_info(made, TensorProto.FLOAT, [axis, 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_real_model_with_harmful_names_is_shown(tmp_path: Path, flags: list[str]) -> None:
    path = tmp_path / "model.onnx"
    harm = "\x1b[2J\x9b31m\u202e../<script>"
    _write(path, [f"{harm}1", f"{harm}2", f"{harm}3"])
    done = CliRunner().invoke(main, ["inspect", str(path), *flags])
    assert done.exit_code == 0, done.output
    check_nothing_acts(done.stdout)
    assert r"../<script>1" in done.stdout
