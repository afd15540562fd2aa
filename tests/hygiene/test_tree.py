"""The tracked files: nothing of one machine, links that lead somewhere, code of modest size."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_FUNCTION_LINES = 80
MAX_FILE_LINES = 800

# Written in pieces, so that this file does not find itself.
MACHINE_PATHS = "|".join(("wor" + "k", "opt/whe" + "els", "opt/py" + "pi", "home/[a-z]+", "Users"))
REGISTRY_HOSTS = "|".join(("pythonhos" + "ted", r"npm" + r"js\.", r"debian\.o" + "rg"))
FORBIDDEN = re.compile(rf"(^|[^A-Za-z0-9_./{{}}-])/({MACHINE_PATHS})/|{REGISTRY_HOSTS}")
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return [path for path in paths if path.is_file()]


def texts() -> Iterator[tuple[Path, str]]:
    for path in tracked():
        content = path.read_bytes()
        if b"\0" not in content:
            yield path, content.decode()


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Each function's name and its lines without its docstring."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            first = node.body[0]
            if ast.get_docstring(node) is not None:
                lines -= (first.end_lineno or 0) - first.lineno + 1
            yield node.name, lines


def product_files() -> list[Path]:
    return [
        path
        for path in tracked()
        if path.suffix == ".py"
        and path.relative_to(ROOT).parts[0] != "tests"
        and not re.search(r"_pb2(_grpc)?\.py$", path.name)
    ]


@pytest.mark.parametrize(
    "line",
    ["see /" + "home/anna/models/", "pip --index https://files.pythonhos" + "ted.org/simple"],
)
def test_pattern_of_machine_paths_finds_them(line: str) -> None:
    assert FORBIDDEN.search(line)


def test_no_paths_of_one_machine_and_no_registry_hosts() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if FORBIDDEN.search(line)
    ]
    assert found == []


def test_links_between_pages_lead_to_files() -> None:
    broken = [
        f"{path.relative_to(ROOT)}: {target}"
        for path, text in texts()
        if path.suffix == ".md"
        for target in LINK.findall(text)
        if "://" not in target and not (path.parent / target).exists()
    ]
    assert broken == []


def test_no_function_and_no_file_is_too_long() -> None:
    files = product_files()
    long_files = [
        str(path) for path in files if len(path.read_text().splitlines()) > MAX_FILE_LINES
    ]
    lengths = [(path, name, lines) for path in files for name, lines in functions(path)]
    long_functions = [f"{p}: {n} {c}" for p, n, c in lengths if c > MAX_FUNCTION_LINES]
    assert (long_files, long_functions) == ([], [])
    deciles = statistics.quantiles([lines for *_, lines in lengths], n=10)
    assert deciles[-1] <= 30
