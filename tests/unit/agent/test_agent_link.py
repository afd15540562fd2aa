"""The agent's calls, apart from a server."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

from edgeconv.agent.link import Link
from edgeconv.agent.work import Lease

LIMIT_S = 5.0


def test_the_agent_is_heard_while_a_result_is_read(tmp_path: Path) -> None:
    path = tmp_path / "outputs.npz"
    os.mkfifo(path)

    async def scenario() -> bool:
        loop = asyncio.get_running_loop()
        reading, heard = asyncio.Event(), threading.Event()
        heard_meanwhile: list[bool] = []

        def write() -> None:
            # Opening waits for the reader, and the reader for the end of the writing.
            with path.open("wb") as stream:
                loop.call_soon_threadsafe(reading.set)
                heard_meanwhile.append(heard.wait(LIMIT_S))
                path.unlink()
                stream.write(b"x")

        writer = threading.Thread(target=write)
        writer.start()
        link = Link("127.0.0.1:1", "token")
        upload = asyncio.create_task(link.upload(Lease("benchmarks/b", 1), "outputs", path))
        await reading.wait()
        upload.cancel()
        heard.set()
        await asyncio.wait([upload])
        await asyncio.to_thread(writer.join)
        await link.close()
        return heard_meanwhile[0]

    assert asyncio.run(scenario())
