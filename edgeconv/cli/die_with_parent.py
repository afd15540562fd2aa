"""Ends a process together with the one that started it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

_PR_SET_PDEATHSIG = 1
Function = TypeVar("Function", bound=Callable[..., Any])


def die_with_parent_option(function: Function) -> Function:
    """Adds `--die-with-parent PID`, obeyed before the command begins."""

    def obey(context: click.Context, parameter: click.Parameter, value: int | None) -> None:
        if value is not None:
            die_with(value)

    return click.option(
        "--die-with-parent",
        type=int,
        metavar="PID",
        expose_value=False,
        callback=obey,
        help="End when process PID, which started this one, ends (Linux).",
    )(function)


def die_with(parent: int) -> None:
    """Asks the kernel for SIGTERM when the parent ends; exits at once if it has already."""
    if sys.platform != "linux":
        click.echo("--die-with-parent works on Linux only.", err=True)
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # The parent may have died before the kernel was told to watch it.
    if os.getppid() != parent:
        sys.exit(0)
