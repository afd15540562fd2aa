"""Prints a table in full, however narrow the console is."""

from __future__ import annotations

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

_WIDEST = 400


def print_uncut(console: Console, table: Table) -> None:
    """Prints a table; where the console is narrower, lines are longer than it."""
    width = console.width
    try:
        console.width = max(width, _WIDEST)
        console.width = max(width, Measurement.get(console, console.options, table).maximum)
        console.print(table)
    finally:
        console.width = width
