"""Results on standard output, everything else on standard error."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgeconv.base.errors import EdgeconvError

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console

_META = "edgeconv.terminal"
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass
class Terminal:
    """Where a command prints, and in which form.

    Attributes:
        json: One JSON document on standard output instead of words.
        answered: Whether a document was printed.
    """

    json: bool = False
    answered: bool = False

    @cached_property
    def out(self) -> Console:
        """Standard output, without markup: text is printed as it is."""
        return _console(stderr=False)

    @cached_property
    def err(self) -> Console:
        """Standard error, likewise."""
        return _console(stderr=True)

    def say(self, words: str, *, style: str = "") -> None:
        """A line about what is going on, on standard error."""
        from rich.text import Text

        from edgeconv.report.printable import printable

        self.err.print(Text(printable(words), style=style), soft_wrap=True)

    def print(self, words: str, *, style: str = "") -> None:
        """A line of the result, on standard output."""
        from rich.text import Text

        from edgeconv.report.printable import printable

        self.out.print(Text(printable(words), style=style), soft_wrap=True)

    def print_document(self, document: BaseModel) -> None:
        """The result as JSON. ASCII only: no name of a model can reach the terminal raw."""
        click.echo(json.dumps(document.model_dump(mode="json"), indent=2))
        self.answered = True

    def print_rows(self, headings: Sequence[str], table: Sequence[Sequence[str]]) -> None:
        """A plain table on standard output."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        from edgeconv.report.printable import printable
        from edgeconv.report.uncut import print_uncut

        drawn = Table(box=SIMPLE_HEAD, pad_edge=False)
        for heading in headings:
            drawn.add_column(heading, no_wrap=True)
        for row in table:
            drawn.add_row(*(Text(printable(cell)) for cell in row))
        print_uncut(self.out, drawn)

    def print_error(self, error: EdgeconvError) -> None:
        """What went wrong, the fields that are wrong, and what to do."""
        from rich.text import Text

        self.print_error_document(error)
        self.err.print(Text("Error", style="bold red"), end="  ")
        self.say(error.message)
        for violation in error.violations:
            if violation.message not in error.message:
                self.say(f"  {violation.field}: {violation.message}")
        if error.fix:
            self.say(error.fix)

    def print_error_document(self, error: EdgeconvError) -> None:
        """The error as JSON on standard output, where JSON was asked for; else nothing."""
        if self.json:
            click.echo(json.dumps({"error": error.to_json()}, indent=2))
            self.answered = True


def terminal_of(context: click.Context | None = None) -> Terminal:
    """The terminal of the running command; one for all of its contexts."""
    context = context or click.get_current_context()
    terminal = context.meta.setdefault(_META, Terminal())
    assert isinstance(terminal, Terminal)
    return terminal


def json_option(function: Function) -> Function:
    """Adds `--json`; the command asks `terminal_of().json`."""

    def note(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        # Never back to False: where its own word was wrong, `main` has seen it already.
        terminal_of(context).json |= value

    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=note,
        help="Print one JSON document; `edgeconv schema` tells its form.",
    )(function)


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)
