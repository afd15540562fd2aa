"""Every command: found by name, documented, and its JSON published."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason
from edgeconv.base.exit_codes import ExitCode
from edgeconv.cli.documents import DOCUMENTS, DoneDocument, ErrorDocument
from edgeconv.cli.main import COMMANDS, main
from edgeconv.cli.terminal import json_option, terminal_of
from edgeconv.runtimes.catalogue import RUNTIMES


def _leaves(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _leaves(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


_LEAVES = dict(_leaves(main))


def _options(command: click.Command) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_of_help_is_the_commands_own(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.name == name
    assert command.get_short_help_str(limit=200) == COMMANDS[name]


@pytest.mark.parametrize("path", _LEAVES)
def test_every_command_and_option_has_help(path: str) -> None:
    command = _LEAVES[path]
    assert command.help
    bare = [
        parameter.opts[0]
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.help
    ]
    assert bare == []


def test_the_help_of_bench_names_every_runtime() -> None:
    (option,) = (each for each in _LEAVES["bench"].params if each.name == "runtime")
    assert isinstance(option, click.Option)
    assert option.help is not None
    assert [spec.name for spec in RUNTIMES if spec.name not in option.help] == []


def test_what_prints_json_has_a_schema_and_the_other_way_round() -> None:
    with_json = {path for path, command in _LEAVES.items() if "--json" in _options(command)}
    assert with_json == set(DOCUMENTS) - {"error"}


def test_commands_without_json_print_something_that_has_a_form_of_its_own() -> None:
    without = {path for path, command in _LEAVES.items() if "--json" not in _options(command)}
    assert without == {"schema", "recipes schema", "recipes show", "jobs report",
                       "benchmarks record"}  # fmt: skip


def test_schemas_are_printed_one_and_all() -> None:
    runner = CliRunner()
    every = json.loads(runner.invoke(main, ["schema"]).stdout)
    assert set(every) == set(DOCUMENTS)
    one = json.loads(runner.invoke(main, ["schema", "jobs", "list"]).stdout)
    assert one == every["jobs list"]
    assert runner.invoke(main, ["schema", "nothing"]).exit_code == 2


def test_the_help_lists_every_exit_code() -> None:
    words = CliRunner().invoke(main, ["-h"]).stdout
    listed = words[words.index("Exit codes:") :].splitlines()[1 : 1 + len(ExitCode)]
    assert [line.split()[0] for line in listed] == [str(int(code)) for code in ExitCode]
    assert [line.split(maxsplit=1)[1] for line in listed] == [code.meaning for code in ExitCode]
    assert words == CliRunner().invoke(main, ["--help"]).stdout


def test_an_unknown_command_is_a_fault_of_usage() -> None:
    result = CliRunner().invoke(main, ["convrt"])
    assert result.exit_code == 2
    assert "convrt" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("words", "command", "field"),
    [
        ("convrt --json", "edgeconv", None),
        ("--colour --json", "edgeconv", "--colour"),
        ("convert --json", "edgeconv convert", "MODEL"),
        ("convert nothing.onnx --json", "edgeconv convert", "MODEL"),
        ("convert --limitt 3 --json m.onnx", "edgeconv convert", "--limitt"),
        ("jobs list --limit 0 --json", "edgeconv jobs list", "--limit"),
        ("jobs list --limit --json", "edgeconv jobs list", "--limit"),
        ("jobs list --json --server", "edgeconv", "--server"),
        ("bench README.md --device any --spinning --json", "edgeconv bench", None),
    ],
)
def test_a_fault_of_usage_is_json_too_where_that_was_asked_for(
    words: str, command: str, field: str | None
) -> None:
    result = CliRunner().invoke(main, words.split(), prog_name="edgeconv")
    assert result.exit_code == 2
    document = DOCUMENTS["error"].model_validate_json(result.stdout)
    assert isinstance(document, ErrorDocument)
    error = document.error
    assert error.reason == "USAGE_INVALID"
    assert [name for name, _ in error.violations] == ([field] if field else [])
    assert error.metadata == {"command": command}
    assert error.fix == f"`{command} --help` tells the usage."
    assert result.stderr.strip().endswith(f"Error: {error.message}")


def test_json_behind_two_dashes_is_a_file_and_no_wish() -> None:
    result = CliRunner().invoke(main, ["convert", "--", "--json"])
    assert (result.exit_code, result.stdout) == (2, "")


@click.command()
@json_option
def _fail() -> None:
    violations = [
        FieldViolation("shapes.x", "axis 2 is open"),
        FieldViolation("x", "in the\x1b[2J"),
    ]
    raise EdgeconvError(
        Reason.SHAPE_INVALID, "Bad [red]shape\x1b[31m of 'x': in the\x1b[2J.",
        fix="Give --shape.", violations=violations, input="x",
    )  # fmt: skip


@click.command()
@json_option
def _stumble() -> None:
    raise ZeroDivisionError("one by nothing")


@click.command()
@click.option("--late", is_flag=True)
@json_option
def _stop(late: bool) -> None:
    if late:
        terminal_of().print_document(DoneDocument(name="x", done="ready"))
    raise KeyboardInterrupt


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """A runner for the real group, with a command in it that fails."""
    found = main.get_command
    ours = {"fail": _fail, "stumble": _stumble, "stop": _stop}
    monkeypatch.setattr(main, "get_command", lambda ctx, name: ours.get(name) or found(ctx, name))
    return CliRunner()


def test_an_error_says_what_which_fields_and_what_to_do(failing: CliRunner) -> None:
    result = failing.invoke(main, ["fail"])
    assert result.exit_code == 3
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        r"Error  Bad [red]shape\x1b[31m of 'x': in the\x1b[2J.",
        "  shapes.x: axis 2 is open",
        "Give --shape.",
    ]


def test_an_error_is_json_too_where_that_was_asked_for(failing: CliRunner) -> None:
    result = failing.invoke(main, ["fail", "--json"])
    assert result.exit_code == 3
    document = json.loads(result.stdout)
    DOCUMENTS["error"].model_validate(document)
    assert document["error"]["reason"] == "SHAPE_INVALID"
    assert document["error"]["metadata"] == {"input": "x"}
    assert result.stdout.isascii()
    assert result.stderr.startswith("Error")


def test_a_fault_of_our_own_is_told_as_json_and_keeps_its_traceback(failing: CliRunner) -> None:
    result = failing.invoke(main, ["stumble", "--json"])
    assert result.exit_code == 1
    assert isinstance(result.exception, ZeroDivisionError)
    error = json.loads(result.stdout)["error"]
    assert (error["reason"], error["message"]) == ("INTERNAL", "ZeroDivisionError: one by nothing")
    assert failing.invoke(main, ["stumble"]).stdout == ""


def test_an_interrupt_is_told_as_json_unless_the_answer_was_given(failing: CliRunner) -> None:
    result = failing.invoke(main, ["stop", "--json"])
    assert result.exit_code == 130
    assert json.loads(result.stdout)["error"]["reason"] == "CANCELLED"
    late = failing.invoke(main, ["stop", "--late", "--json"])
    assert late.exit_code == 130
    assert json.loads(late.stdout) == {"name": "x", "done": "ready"}
    assert failing.invoke(main, ["stop"]).stdout == ""
