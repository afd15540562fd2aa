"""How this command starts others of its own kind."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from pathlib import Path


def own_command(*words: str) -> list[str]:
    """The command line of `edgeconv WORDS` with this interpreter.

    With -P: a file such as `html.py` in the user's folder must not stand in for a module.
    """
    return [sys.executable, "-P", "-m", "edgeconv", *words]


def own_environment(*, without: Collection[str] = ()) -> dict[str, str]:
    """This process's environment, in which the child finds the same edgeconv."""
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    kept = {name: value for name, value in os.environ.items() if name not in without}
    return {**kept, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
