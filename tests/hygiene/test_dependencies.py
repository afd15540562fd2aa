"""What the code imports is what the package asks for, not what something else happens to bring."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_ELSEWHERE = {"tflite_runtime": ["tflite-runtime"]}
"""Not installed on every machine."""
_PARTS = {"markupsafe": "jinja2", "pydantic-core": "pydantic"}
"""What one can't be had without the other, and is used together with it."""


def _imported() -> Iterator[str]:
    for path in (_ROOT / "edgeconv").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_what_is_imported_is_named_in_the_package_or_an_extra() -> None:
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    asked_for = {_plain(re.split(r"[^\w.-]", each)[0]) for each in named}
    brought_by = {**packages_distributions(), **_ELSEWHERE}
    modules = {name.partition(".")[0] for name in _imported()}
    missing = {}
    for module in modules - set(sys.stdlib_module_names) - {"edgeconv"}:
        brought = {_plain(name) for name in brought_by.get(module, [module])}
        if not {_PARTS.get(name, name) for name in brought} & asked_for:
            missing[module] = brought
    assert not missing
