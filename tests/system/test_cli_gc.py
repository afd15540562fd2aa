"""`edgeconv gc`: with a running server, without one, and killed in the middle."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from edgeconv.base.clock import SystemClock
from edgeconv.base.state_folder import StateFolder
from edgeconv.server.blobs.blobs import Blobs
from edgeconv.server.records import StepOutput
from edgeconv.server.retention.alone import check_alone
from edgeconv.server.store.requests import Request
from edgeconv.server.store.steps import StepClaim
from edgeconv.server.store.store import Store
from edgeconv.testing.running_server import quick_service

ONE = "version: 1\ntargets: [onnx]\nvariants: {fp32: {}}"


def _command(state: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "edgeconv", "gc", *words, "--state", str(state)]


def _gc(state: Path, *words: str, code: int = 0) -> Any:
    done = subprocess.run(
        _command(state, "--json", *words), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def _words(state: Path, *words: str, code: int = 0) -> str:
    done = subprocess.run(_command(state, *words), capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def _blobs(state: Path) -> list[Path]:
    return [path for path in (StateFolder(state).blobs / "sha256").rglob("*") if path.is_file()]


def test_a_running_server_does_it_and_a_stopped_one_leaves_it_to_the_command(
    tmp_path: Path,
) -> None:
    state = tmp_path / "state"

    async def fill() -> None:
        async with quick_service(tmp_path) as service:
            await service.convert(await service.model(), ONE)
            # All of it was used just now, and the server may be about to use it again.
            told = await asyncio.to_thread(_gc, state, "--older-than", "0s", "--cap", "0")
            assert told["removed"] == []
            assert told["over_cap_bytes"] == told["kept_bytes"] > 0

    asyncio.run(fill())
    before = len(_blobs(state))
    told_in_words = _words(state, "--older-than", "0s", "--dry-run")
    for words in ("step result", "not used for longer than asked", "would free", "model versions"):
        assert words in told_in_words
    would = _gc(state, "--older-than", "0s", "--dry-run")
    assert len(_blobs(state)) == before
    did = _gc(state, "--older-than", "0s")
    assert {**would, "dry_run": False, "free_bytes": 0} == {**did, "free_bytes": 0}
    assert {line["kind"] for line in did["removed"]} == {"conversion", "step result"}
    assert did["freed_bytes"] == sum(line["size_bytes"] for line in did["removed"]) > 0
    (left,) = _blobs(state)
    assert did["held_bytes"] == {"model version": left.stat().st_size}
    assert not list(StateFolder(state).scratch.iterdir())


def test_a_check_tells_what_is_damaged_and_what_needs_it(tmp_path: Path) -> None:
    state = tmp_path / "state"

    async def fill() -> str:
        async with quick_service(tmp_path) as service:
            return await service.model()

    model = asyncio.run(fill())
    assert _gc(state, "--check")["damaged"] == []
    (blob,) = _blobs(state)
    blob.write_bytes(b"rotten")
    told = _words(state, "--check", code=4)
    assert "it has 6 bytes" in told
    assert model in told


_RESULTS, _SHARED = 600, 50


async def _fill_with_results(state: Path) -> None:
    """Results of steps, some of whose blobs a model refers to as well."""
    folder = StateFolder(state)
    store = await Store.open(
        f"sqlite:///{folder.database}", clock=SystemClock(), touch=lambda topics: None
    )
    blobs = Blobs.local(folder.blobs, store.retention.toucher())
    files = [
        await asyncio.to_thread(
            blobs.put_file, io.BytesIO(f"{n}".encode() * 1000), f"f{n}", max_bytes=10**5
        )
        for n in range(_RESULTS)
    ]
    await store.models.create("m", tuple(files[:_SHARED]), Request("local", "", ""))
    await store.executors.enter("me")
    for n, file in enumerate(files):
        claim = await store.steps.claim(f"key{n}", "step", "me")
        assert isinstance(claim, StepClaim)
        await store.steps.finish(f"key{n}", "me", claim.token, StepOutput(files=(file,)))
    await store.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_broken_off_at_any_moment_it_leaves_nothing_half_removed(
    number: signal.Signals, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    asyncio.run(_fill_with_results(state))
    cut_off = 0
    for part in (0.9, 0.5):
        process = subprocess.Popen(
            _command(state, "--older-than", "0s"),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        with process:
            while process.poll() is None and len(_blobs(state)) > part * _RESULTS:
                time.sleep(0)
            if process.poll() is None:
                os.kill(process.pid, number)
            process.communicate(timeout=60)
        cut_off += process.returncode in (-signal.SIGKILL, 130)
        assert not asyncio.run(check_alone(state, None)).damaged
    assert cut_off
    _gc(state, "--older-than", "0s")
    assert len(_blobs(state)) == _SHARED
