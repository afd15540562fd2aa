"""Cases in real job children, many in each until it dies."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.sandbox.child import Child
from edgeconv.sandbox.limits import Limits
from edgeconv.server.jobs.children import DEFAULT_ENTRY
from fuzzing.cases import Case, honest
from fuzzing.messages import complaint_of, is_of_memory
from fuzzing.outcomes import ACCEPTED, CRASH, FIRST_STAGE, INTERNAL, MEMORY, TIME_OUT, Outcome

CASES_A_CHILD = 250
_FIRST_S = 120.0
_OPEN_SIZE = 3


class Children:
    """Does cases one after another, in a child that is started again when it has died.

    Args:
        folder: For the children and what they read and write.
        time_limit_s: For one step of a case, without waiting for the machine.
    """

    def __init__(self, folder: Path, limits: Limits, time_limit_s: float) -> None:
        self._folder = folder
        self._limits = limits
        self._time_limit_s = time_limit_s
        self._child: Child | None = None
        self._done = 0
        self._started = 0

    async def run(self, case: Case) -> Outcome:
        """Inspects a model and takes it in.

        What ends in a fault or a limit is done again in a fresh child: the cause may be the
        load of the machine, or a case before it.

        Raises:
            RuntimeError: a fresh child does not take an honest model.
        """
        outcome = await self._run(case)
        if not outcome.is_fault:
            return outcome
        await self.close()
        return replace(await self._run(case), before=outcome.what)

    async def _run(self, case: Case) -> Outcome:
        child = self._child
        if child is None or not child.alive or self._done >= CASES_A_CHILD:
            child = await self._fresh(case.kind)
        self._done += 1
        began = time.monotonic()
        resident = _memory(child.pid, "VmRSS")
        with contextlib.suppress(OSError):
            Path(f"/proc/{child.pid}/clear_refs").write_text("5")
        outcome = await self._steps(child, case, self._time_limit_s)
        peak = max(0, _memory(child.pid, "VmHWM") - resident) if child.alive else 0
        return replace(outcome, peak_bytes=peak, seconds=time.monotonic() - began)

    async def close(self) -> None:
        """Ends the child and removes its folder."""
        if self._child is not None:
            await self._child.kill()
            self._child = None
        shutil.rmtree(self._folder / f"child{self._started}", ignore_errors=True)

    async def _fresh(self, kind: str) -> Child:
        """A child that has its libraries loaded, for it took an honest model."""
        await self.close()
        self._started += 1
        self._done = 0
        folder = self._folder / f"child{self._started}"
        folder.mkdir(parents=True)
        child = self._child = await Child.start(DEFAULT_ENTRY, folder=folder, limits=self._limits)
        outcome = await self._steps(child, _warming(kind), _FIRST_S)
        if outcome.what != ACCEPTED:
            raise RuntimeError(f"an honest model was not taken: {outcome}")
        return child

    async def _steps(self, child: Child, case: Case, limit_s: float) -> Outcome:
        folder = self._folder / f"child{self._started}" / "case"
        shutil.rmtree(folder, ignore_errors=True)
        source = folder / "source"
        source.mkdir(parents=True)
        for name, data in case.files.items():
            (source / name).write_bytes(data)
        stage, options = FIRST_STAGE, dict[str, Any]()
        try:
            told = await self._step(child, folder, "inspect", options, limit_s)
            inspection = told["facts"]["inspection"]
            least = {axis: sizes["least"] for axis, sizes in inspection["ranges"].items()}
            options = {"shapes": closed_shapes(inspection["inputs"], least)}
            stage = "intake"
            await self._step(child, folder, "intake", options, limit_s)
        except TimeoutError:
            await child.kill()
            return Outcome(TIME_OUT, stage, f"more than {limit_s:.0f} s")
        except EdgeconvError as error:
            outcome = refused(error, stage)
            tail = "" if child.alive else f" {child.stderr_tail[-300:]}"
            return replace(outcome, words=outcome.words + tail)
        return Outcome(ACCEPTED, stage)

    async def _step(
        self, child: Child, folder: Path, kind: str, options: dict[str, Any], limit_s: float
    ) -> dict[str, Any]:
        made, scratch = folder / kind, folder / f"{kind}-scratch"
        made.mkdir()
        scratch.mkdir()
        source = {"folder": str(folder / "source"), "digest": "sha256:" + "0" * 64, "facts": {}}
        await child.send(
            {
                "do": "step", "kind": kind, "name": kind, "options": options, "seed": 0,
                "inputs": {"source": source}, "folder": str(made), "scratch": str(scratch),
            }
        )  # fmt: skip
        while True:
            async with asyncio.timeout(limit_s):
                message = await child.receive()
            if "done" in message:
                return dict(message["done"])
            if "failed" in message:
                raise EdgeconvError.from_json(message["failed"])


def _warming(kind: str) -> Case:
    """An honest model that loads the libraries which a kind needs."""
    wanted = "json" if kind in ("archive", "json") else "onnx"
    return next(each for each in honest(programs=("in_place",)) if each.kind == wanted)


def refused(error: EdgeconvError, stage: str) -> Outcome:
    """The outcome that an error means."""
    if error.reason is Reason.INTERNAL:
        what = INTERNAL
    elif error.reason is Reason.LIMIT_EXCEEDED or is_of_memory(error):
        what = MEMORY
    elif error.reason is Reason.CHILD_DIED:
        what = CRASH
    else:
        return Outcome(f"refused {error.reason.name}", stage, error.message, complaint_of(error))
    return Outcome(what, stage, error.message)


def closed_shapes(inputs: list[dict[str, Any]], least: Mapping[str, int]) -> dict[str, list[int]]:
    """Whole shapes of the inputs that have open axes: a small size for each.

    Args:
        least: The smallest size by the name of an axis, where the file says one.
    """
    return {
        each["name"]: [
            size if isinstance(size, int) else least.get(size, 1 if axis == 0 else _OPEN_SIZE)
            for axis, size in enumerate(each["shape"])
        ]
        for each in inputs
        if any(isinstance(size, str) for size in each["shape"])
    }


def _memory(pid: int, key: str) -> int:
    """Resident memory of a process, in bytes; 0 when it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * 1024
    return 0
