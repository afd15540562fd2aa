"""How a failed command ends: words on standard error, a document too where JSON was asked for."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason
from edgeconv.base.exit_codes import ExitCode
from edgeconv.cli.terminal import terminal_of


def asks_for_json(words: Sequence[str]) -> bool:
    """Whether `--json` stands among a command line's options, even if another word is wrong."""
    options = words[: words.index("--")] if "--" in words else words
    return "--json" in options


@contextmanager
def failures_told(context: click.Context) -> Iterator[None]:
    """Tells of whatever the block raises, and ends the command with its exit code.

    Raises:
        click.UsageError: for click to print with the command's usage.
        click.exceptions.Exit: with the exit code of an EdgeconvError or an interrupt.
        Exception: a fault of edgeconv itself, for its traceback.
    """
    terminal = terminal_of(context)
    try:
        yield
    except EdgeconvError as error:
        terminal.print_error(error)
        context.exit(error.exit_code)
    except click.UsageError as error:
        terminal.print_error_document(_usage(error))
        raise
    except KeyboardInterrupt:
        if not terminal.answered:
            terminal.print_error_document(EdgeconvError(Reason.CANCELLED, "Interrupted."))
        click.echo("Interrupted.", err=True)
        sys.stdout.flush()
        context.exit(ExitCode.INTERRUPTED)
    except (click.exceptions.Exit, click.ClickException, click.Abort, BrokenPipeError):
        raise
    except Exception as error:  # Whatever it is, a program that reads the output is told.
        if not terminal.answered:
            message = f"{type(error).__name__}: {error}"
            terminal.print_error_document(EdgeconvError(Reason.INTERNAL, message))
        raise


def _usage(error: click.UsageError) -> EdgeconvError:
    message = error.format_message()
    field = _field(error)
    command = error.ctx.command_path if error.ctx else "edgeconv"
    return EdgeconvError(
        Reason.USAGE_INVALID,
        message,
        fix=f"`{command} --help` tells the usage.",
        violations=[FieldViolation(field, message)] if field else [],
        command=command,
    )


def _field(error: click.UsageError) -> str:
    """The option or argument that is wrong, as a user writes it; "" when it is not one alone."""
    if isinstance(error, click.BadOptionUsage | click.NoSuchOption):
        return error.option_name
    if isinstance(error, click.BadParameter) and error.param is not None:
        is_option = isinstance(error.param, click.Option)
        return error.param.opts[0] if is_option else error.param.human_readable_name
    return ""
