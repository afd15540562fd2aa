"""Cases through a real server: sent by a client, read and converted in its children."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmarks.server_process import ServerProcess, running_server
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.client.aio import AsyncClient
from edgeconv.results.status import from_status
from edgeconv.v1 import conversions_pb2, models_pb2
from fuzzing.cases import Case
from fuzzing.children import closed_shapes, refusal
from fuzzing.outcomes import ACCEPTED, SERVER, TIME_OUT, Outcome

_RECIPE = "version: 1\ntargets: [onnx]\nvariants: {fp32: {}}\n"
_LOST = (Reason.SERVER_UNREACHABLE,)


def through_server(cases: Iterable[Case], time_limit_s: float) -> Iterator[tuple[Case, Outcome]]:
    """Does cases one after another; a server that dies or hangs is followed by another.

    Args:
        time_limit_s: For the inspection of a case, and for its conversion.
    """
    waiting = iter(cases)
    ended = False
    while not ended:
        with (
            tempfile.TemporaryDirectory(prefix="fuzzing-") as folder,
            running_server(Path(folder) / "state") as server,
        ):
            ended = True
            for case in waiting:
                outcome = _run(server, case, Path(folder), time_limit_s)
                yield case, outcome
                if outcome.what in (SERVER, TIME_OUT):
                    ended = False
                    break


def _run(server: ServerProcess, case: Case, folder: Path, limit_s: float) -> Outcome:
    source = folder / case.name.replace(":", "-")
    source.mkdir()
    paths = []
    for name, data in case.files.items():
        (source / name).write_bytes(data)
        paths.append(source / name)
    began = time.monotonic()
    what, stage, words = asyncio.run(_send(server, paths, limit_s))
    if server.process.poll() is not None:
        what, words = SERVER, f"it ended with {server.process.returncode}; {words}"
    return Outcome(what, stage, words, seconds=time.monotonic() - began)


async def _send(server: ServerProcess, paths: list[Path], limit_s: float) -> tuple[str, str, str]:
    stage = "connect"
    try:
        address, token = server.endpoint.address, server.endpoint.token
        async with await AsyncClient.connect(address, token) as client:
            stage = "inspection"
            sent = await client.create_model_version("models/hostile", paths)
            async with asyncio.timeout(limit_s):
                version = await client.wait_model_version(sent.name)
            stage = "conversion"
            async with asyncio.timeout(limit_s):
                conversion = await _convert(client, version)
            for variant in conversion.variants:
                if variant.HasField("error"):
                    raise from_status(variant.error)
    except TimeoutError:
        return TIME_OUT, stage, f"more than {limit_s:.0f} s"
    except EdgeconvError as error:
        return SERVER if error.reason in _LOST else refusal(error), stage, error.message
    return ACCEPTED, stage, ""


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
    shapes = {
        name: ",".join(str(size) for size in sizes) for name, sizes in closed_shapes(inputs).items()
    }
    made = await client.create_conversion(version.name, recipe=_RECIPE, shapes=shapes)
    async for _ in client.watch_conversion(made.name):
        pass
    return await client.get_conversion(made.name)
