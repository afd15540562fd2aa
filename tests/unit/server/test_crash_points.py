"""Where a server can be told to die: each name at one place, and dead means dead."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import edgeconv.server
from edgeconv.server.crash_points import ANY, VARIABLE, CrashPoint, arm, reached

SERVER = Path(edgeconv.server.__file__).parent
PROGRAM = """
from edgeconv.server.crash_points import CrashPoint, reached
for point in (CrashPoint.STEP_CLAIMED, CrashPoint.STEP_TOLD, CrashPoint.STEP_CLAIMED):
    print(point.value, flush=True)
    reached(point)
print("lived")
"""


def _named(call: ast.AST) -> str | None:
    """The point that `reached(CrashPoint.X)` names; "" when it names none so."""
    if not isinstance(call, ast.Call) or getattr(call.func, "id", "") != "reached":
        return None
    (argument,) = call.args
    if isinstance(argument, ast.Attribute) and getattr(argument.value, "id", "") == "CrashPoint":
        return argument.attr
    return ""


def test_each_point_is_reached_at_exactly_one_place() -> None:
    found = Counter(
        name
        for path in SERVER.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (name := _named(node)) is not None
    )
    assert found == Counter(point.name for point in CrashPoint)


def _run(said: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], env={VARIABLE: said}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("said", "came_to"),
    [
        ("step claimed:1", ["step claimed"]),
        ("step claimed:2", ["step claimed", "step told", "step claimed"]),
        ("step told:1", ["step claimed", "step told"]),
        (f"{ANY}:2", ["step claimed", "step told"]),
    ],
)
def test_a_process_dies_where_it_is_told_to_and_says_where(said: str, came_to: list[str]) -> None:
    done = _run(said)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.split("\n")[:-1] == came_to
    assert done.stderr.endswith(f" crash point reached: {came_to[-1]}\n")


@pytest.mark.parametrize("said", ["", "step claimed:3", "step told:2", f"{ANY}:4"])
def test_a_process_that_does_not_come_there_lives(said: str) -> None:
    done = _run(said)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("lived\n")


def test_a_process_that_may_not_die_there_lives_on(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[tuple[int, int]] = []
    asked: list[str] = []

    def no() -> bool:
        asked.append("no")
        return False

    monkeypatch.setattr(os, "kill", lambda *words: killed.append(words))
    arm("step claimed:2", may_die=no)
    for _ in range(4):
        reached(CrashPoint.STEP_CLAIMED)
    assert (asked, killed) == (["no"], [])
    arm("step claimed:1")
    reached(CrashPoint.STEP_CLAIMED)
    assert killed == [(os.getpid(), signal.SIGKILL)]
    arm("")


@pytest.mark.parametrize("said", ["nowhere:1", "step told", "step told:0", "step told:x", ":1"])
def test_what_names_no_point_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match=VARIABLE):
        arm(said)
    for point in CrashPoint:
        reached(point)
