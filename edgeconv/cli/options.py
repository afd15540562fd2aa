"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from edgeconv.base.quantities import parse_bytes, parse_seconds

Function = TypeVar("Function", bound=Callable[..., Any])

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class _Written(click.ParamType):  # type: ignore[type-arg]
    """A value with a unit."""

    def __init__(self, name: str, parse: Callable[[str], float]) -> None:
        self.name = name
        self._parse = parse

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if not isinstance(value, str):
            return float(value)
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


DURATION = _Written("duration", parse_seconds)
"""Handed over in seconds."""
SIZE = _Written("size", parse_bytes)
"""Handed over in bytes."""


def limit_option(function: Function) -> Function:
    """Adds `--limit`, handed over as `limit: int`."""
    return click.option(
        "--limit", type=click.IntRange(1), default=50, show_default=True, help="How many at most."
    )(function)


def folder_option(function: Function) -> Function:
    """Adds `--out`, the folder to write into, handed over as `out: Path`."""
    return click.option(
        "--out",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path(),
        metavar="DIR",
        help="Folder to write into.  [the current one]",
    )(function)


def shape_option(function: Function) -> Function:
    """Adds `--shape`, handed over as `shapes: tuple[str, ...]`."""
    return click.option(
        "--shape",
        "shapes",
        multiple=True,
        metavar="NAME=1,3,224,224",
        help="Whole shape of an input with open axes; may be repeated.",
    )(function)


def more_files_option(function: Function) -> Function:
    """Adds `--file`, handed over as `more: tuple[Path, ...]`."""
    return click.option(
        "--file",
        "more",
        type=FILE,
        multiple=True,
        help="Another file of the model; data files that it names beside it come by themselves.",
    )(function)


def measuring_options(function: Function) -> Function:
    """Adds `--effort` and `--threads`, handed over as `effort: str, threads: int`."""
    threads = click.option(
        "--threads",
        type=click.IntRange(0, 256),
        default=0,
        help="Threads of the runtime.  [physical cores, at most 4]",
    )(function)
    return click.option(
        "--effort",
        type=click.Choice(["quick", "standard", "thorough"]),
        default="quick",
        show_default=True,
        help="How long to measure.",
    )(threads)


def variant_options(function: Function) -> Function:
    """Adds what makes a recipe: `target`, `precision`, `prune`, `data`; None where not given."""
    for option in (
        click.option(
            "--data",
            type=FILE,
            metavar="FILE.npz",
            help="One array per input, samples first; `label` if there are labels.",
        ),
        click.option(
            "--prune",
            type=float,
            metavar="RATIO",
            help="Also remove this share of channels, 0 to 1; fewer where kept ones are rounded up"
            " to a multiple of 8. With --data what is left is refitted.",
        ),
        click.option(
            "--precision",
            metavar="fp32,fp16,int8,…",
            help="Any of fp32, fp16, int8, int8-dynamic, int8-weights.  "
            "[fp32,fp16,int8-weights; with --data int8 too]",
        ),
        click.option("--target", metavar="onnx,tflite", help="Formats to make.  [both]"),
    ):
        function = option(function)
    return function


blobs_option = click.option(
    "--blobs",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    envvar="EDGECONV_BLOBS",
    show_envvar=True,
    help="Folder for files, which all servers of one database share; in the state folder"
    " without one.",
)
"""Adds `--blobs`, handed over as `blobs: Path | None`."""
