"""Cases through a real server: sent by a client, read and converted in its children."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.server_process import START_S, ServerProcess
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.state_folder import read_endpoint
from edgeconv.client.aio import AsyncClient
from edgeconv.results.status import from_status
from edgeconv.v1 import conversions_pb2, models_pb2
from fuzzing.cases import Case
from fuzzing.children import closed_shapes, refused
from fuzzing.outcomes import ACCEPTED, FIRST_STAGE, SERVER, TIME_OUT, Outcome, Served

_RECIPE = "version: 1\ntargets: [onnx]\nvariants: {fp32: {}}\n"
_STOP_S = 60.0
_POLL_S = 0.02
_FAULT = re.compile(r"Traceback|\bERROR\b|\bCRITICAL\b|never retrieved|Segmentation", re.I)
_MOST_LINES = 20


Tell = Callable[[Case, Outcome], None]


async def through_server(
    cases: Iterable[Case], time_limit_s: float, tell: Tell, see: Callable[[Served], None],
    *, at_once: int = 1,
) -> None:  # fmt: skip
    """Does cases; a server that dies or hangs is followed by another.

    What takes too long is done once more by the next server: the cause may be the load of the
    machine, or a case before it.

    Args:
        time_limit_s: For the inspection of a case, and for its conversion.
        see: Gets what was seen of each server process, when it has ended.
        at_once: Cases that are with the server at a time.
    """
    waiting = _Waiting(cases)
    while True:
        with (
            tempfile.TemporaryDirectory(prefix="fuzzing-") as folder,
            _server(Path(folder), see) as (server, count),
        ):
            broken = asyncio.Event()

            def done(case: Case, outcome: Outcome, count: Callable[[], None] = count) -> None:
                count()
                tell(case, outcome)

            lanes = (
                _lane(server, waiting, Path(folder), time_limit_s, done, broken)
                for _ in range(at_once)
            )
            await asyncio.gather(*lanes)
        if not broken.is_set():
            return


class _Waiting:
    """The cases to be done; one that took too long comes a second time, before all others."""

    def __init__(self, cases: Iterable[Case]) -> None:
        self._cases = iter(cases)
        self._back: list[Case] = []
        self._slow: set[str] = set()

    def __iter__(self) -> Iterator[Case]:
        while True:
            try:
                yield self._back.pop() if self._back else next(self._cases)
            except StopIteration:
                return

    def take_back(self, case: Case) -> bool:
        """Whether it took too long for the first time, and so comes again."""
        if case.name in self._slow:
            return False
        self._slow.add(case.name)
        self._back.append(case)
        return True

    def before(self, case: Case) -> str:
        """What became of it the first time, where it was done twice."""
        return TIME_OUT if case.name in self._slow else ""


async def _lane(
    server: ServerProcess, waiting: _Waiting, folder: Path, limit_s: float, done: Tell,
    broken: asyncio.Event,
) -> None:  # fmt: skip
    """Takes case after case, until there is none or the server is of no more use."""
    for case in waiting:
        outcome = await _run(server, case, folder, limit_s)
        if outcome.what == TIME_OUT and waiting.take_back(case):
            broken.set()
            return
        done(case, replace(outcome, before=waiting.before(case)))
        if outcome.what in (SERVER, TIME_OUT):
            broken.set()
        if broken.is_set():
            return


@contextlib.contextmanager
def _server(
    folder: Path, see: Callable[[Served], None]
) -> Iterator[tuple[ServerProcess, Callable[[], None]]]:
    """A server, and what is to be called for each case that it gets."""
    state, log, cases, peak = folder / "state", folder / "log", 0, 0
    command = [sys.executable, "-m", "edgeconv", "serve", "--state", str(state)]

    def count() -> None:
        nonlocal cases
        cases += 1

    with (
        log.open("wb") as stream,
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stream) as process,
    ):
        try:
            server = _started(process, state)
            try:
                yield server, count
            finally:
                # Of a server that has ended nothing can be read.
                with contextlib.suppress(OSError, RuntimeError):
                    peak = server.peak_bytes()
        finally:
            process.terminate()
            status = process.wait(timeout=_STOP_S)
            see(Served(cases, status, peak, _faults(log)))


def _started(process: subprocess.Popen[bytes], state: Path) -> ServerProcess:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        endpoint = read_endpoint(state)
        if endpoint is not None:
            return ServerProcess(process, state, endpoint)
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        time.sleep(_POLL_S)
    raise RuntimeError(f"the server did not answer in {START_S:.0f} s")


def _faults(log: Path) -> tuple[str, ...]:
    lines = log.read_text(errors="replace").splitlines()
    return tuple(line[:300] for line in lines if _FAULT.search(line))[:_MOST_LINES]


async def _run(server: ServerProcess, case: Case, folder: Path, limit_s: float) -> Outcome:
    source = folder / case.name.replace(":", "-")
    source.mkdir()
    paths = []
    for name, data in case.files.items():
        (source / name).write_bytes(data)
        paths.append(source / name)
    began = time.monotonic()
    outcome = replace(await _send(server, paths, limit_s), seconds=time.monotonic() - began)
    if server.process.poll() is not None:
        words = f"it ended with {server.process.returncode}; {outcome.words}"
        outcome = replace(outcome, what=SERVER, words=words)
    return outcome


async def _send(server: ServerProcess, paths: list[Path], limit_s: float) -> Outcome:
    stage = FIRST_STAGE
    try:
        address, token = server.endpoint.address, server.endpoint.token
        async with await AsyncClient.connect(address, token) as client:
            async with asyncio.timeout(limit_s):
                sent = await client.create_model_version("models/hostile", paths)
                version = await client.wait_model_version(sent.name)
            stage = "conversion"
            async with asyncio.timeout(limit_s):
                conversion = await _convert(client, version)
            for variant in conversion.variants:
                if variant.HasField("error"):
                    raise from_status(variant.error)
    except TimeoutError:
        return Outcome(TIME_OUT, stage, f"more than {limit_s:.0f} s")
    except EdgeconvError as error:
        if error.reason is Reason.SERVER_UNREACHABLE:
            return Outcome(SERVER, stage, error.message)
        return refused(error, stage)
    return Outcome(ACCEPTED, stage)


async def _convert(
    client: AsyncClient, version: models_pb2.ModelVersion
) -> conversions_pb2.Conversion:
    inputs = [
        {
            "name": each.name,
            "shape": [int(axis) if axis.isdecimal() else axis for axis in each.shape],
        }
        for each in version.inspection.inputs
    ]
    least = {axis: sizes.least for axis, sizes in version.inspection.ranges.items()}
    closed = closed_shapes(inputs, least)
    shapes = {name: ",".join(str(size) for size in sizes) for name, sizes in closed.items()}
    made = await client.create_conversion(version.name, recipe=_RECIPE, shapes=shapes)
    async for _ in client.watch_conversion(made.name):
        pass
    return await client.get_conversion(made.name)
