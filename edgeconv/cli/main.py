"""The command `edgeconv`: finds commands without importing them, and ends every one alike."""

from __future__ import annotations

import signal
from importlib import import_module
from types import FrameType
from typing import NoReturn

import click

from edgeconv import __version__
from edgeconv.base.exit_codes import ExitCode
from edgeconv.cli.failures import asks_for_json, failures_told
from edgeconv.cli.terminal import terminal_of

COMMANDS: dict[str, str] = {
    "convert": "Converts a model, verifies and measures what comes out.",
    "inspect": "Reads a model: inputs, outputs, operators, weights.",
    "bench": "Measures a file, here and now or on a device.",
    "up": "Runs a server and an agent for this machine.",
    "serve": "Runs a server.",
    "agent": "Runs an agent that measures on this machine.",
    "models": "Models on the server.",
    "datasets": "Datasets on the server.",
    "jobs": "Conversions on the server.",
    "benchmarks": "Benchmarks on the server.",
    "devices": "Devices that agents have registered.",
    "gc": "Removes from the disk what nobody needs.",
    "recipes": "Recipes: check one, print the schema.",
    "schema": "JSON schemas of what --json prints.",
    "doctor": "Checks this installation and this machine.",
}
"""Name → one line of help. The command `x` is `x` in `edgeconv.cli.x`."""

_EPILOG = """\b
Completion: eval "$(_EDGECONV_COMPLETE=bash_source edgeconv)" for bash,
zsh_source for zsh; _EDGECONV_COMPLETE=fish_source edgeconv | source for fish.
"""


class _Commands(click.Group):
    """A group that imports a command when it is called, and prints errors as edgeconv does."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = getattr(import_module(f"edgeconv.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(int(code)), code.meaning) for code in ExitCode])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # Before anything is parsed: a word that is wrong is told as JSON, too.
        terminal_of(ctx).json = asks_for_json(args)
        with failures_told(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        # A service manager's SIGTERM ends a command as Ctrl-C does: it cleans up.
        signal.signal(signal.SIGTERM, _interrupt)
        with failures_told(ctx):
            return super().invoke(ctx)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


@click.group(
    cls=_Commands,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": None},
)
@click.version_option(__version__, prog_name="edgeconv")
def main() -> None:
    """From a trained model to an on-device release that can be defended."""
