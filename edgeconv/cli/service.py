"""Runs the server in this process until a signal, with or without an agent beside it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from asyncio.subprocess import Process
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.cli.attached import Users
from edgeconv.cli.documents import ReadyDocument
from edgeconv.cli.own_process import own_command, own_environment
from edgeconv.cli.service_log import log_kept

if TYPE_CHECKING:
    from edgeconv.base.state_folder import Endpoint
    from edgeconv.cli.terminal import Terminal
    from edgeconv.server.app import ServerSettings

LOCAL_DEVICE = "local"
_AGENT_STARTS = 5
_AGENT_PAUSE_S = 1.0
_AGENT_STOP_S = 15.0
_LOOK_S = 0.2
_START_END_S = 1.0


async def run_service(
    settings: ServerSettings, terminal: Terminal, *, with_agent: bool, while_used: bool = False
) -> None:
    """Serves until SIGTERM or SIGINT; says on standard output when it is ready.

    Args:
        while_used: Serves no longer than a command uses it, either.

    Raises:
        EdgeconvError: STATE_LOCKED; DEVICE_FAILED when the agent ended again and again.
    """
    from edgeconv.server.app import serve

    asked, stop = asyncio.Event(), asyncio.Event()
    listening: asyncio.Future[Endpoint] = asyncio.get_running_loop().create_future()

    async def accompany() -> None:
        """What goes on beside the server; the agent leaves before the server stops."""
        try:
            endpoint = await listening
            say_ready(endpoint.address, settings.state, terminal, with_agent=with_agent)
            if with_agent:
                await _keep_agent(endpoint, settings.state, asked, terminal)
            else:
                await asked.wait()
        finally:
            stop.set()

    with ExitStack() as stack:
        stack.enter_context(log_kept(settings.state, sys.stderr))
        stack.enter_context(stopping_on_signals(asked))
        if while_used:
            unused = asyncio.create_task(_until_unused(settings.state, asked))
            stack.callback(unused.cancel)
        companion = asyncio.create_task(accompany())
        started = threading.Event()
        starting = asyncio.create_task(_end_a_start(asked, started))

        def ready(endpoint: Endpoint) -> None:
            started.set()
            listening.set_result(endpoint)

        try:
            await serve(settings, ready=ready, stop=stop)
        finally:
            # First: a start that failed ends by itself, and tells why.
            started.set()
            starting.cancel()
            asked.set()
            if not listening.done():
                companion.cancel()
            await asyncio.wait([companion])
        companion.result()


async def _end_a_start(asked: asyncio.Event, started: threading.Event) -> None:
    """Ends the process soon when it is asked to while it starts.

    A database that does not answer can hold up a start, in threads that can't be broken off.
    Nothing is lost: what it has begun is taken up like the work of a server that was killed.
    """
    await asked.wait()
    # A thread, for the event loop's end waits for those others. It goes with the process.
    threading.Thread(target=_end_unless, args=[started], daemon=True).start()


def _end_unless(started: threading.Event) -> None:
    if not started.wait(_START_END_S):
        os._exit(0)


async def _until_unused(state: Path, asked: asyncio.Event) -> None:
    """Asks for the end when no command uses the server.

    New commands are kept out from then on: they wait until this process has ended.
    """
    try:
        users = Users(state)
        while not users.shut_out():
            await asyncio.sleep(_LOOK_S)
    finally:
        # Who can't tell whether it is used must not be left behind.
        asked.set()


@contextmanager
def stopping_on_signals(stop: asyncio.Event) -> Iterator[None]:
    """Sets `stop` on SIGTERM and SIGINT."""
    running = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        running.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in numbers:
            running.remove_signal_handler(number)


def say_ready(address: str, state: Path, terminal: Terminal, *, with_agent: bool) -> None:
    """The line that tells a person, or with --json a program, that calls are answered."""
    device = f"devices/{LOCAL_DEVICE}" if with_agent else ""
    if terminal.json:
        document = ReadyDocument(address=address, state=str(state), pid=os.getpid(), device=device)
        click.echo(document.model_dump_json())
    else:
        words = f", this machine measures as {device}" if with_agent else ""
        terminal.print(f"edgeconv listens on {address}{words}. Ctrl-C ends it.")
        terminal.print(f"State: {state}")
    sys.stdout.flush()


async def _keep_agent(
    endpoint: Endpoint, state: Path, asked: asyncio.Event, terminal: Terminal
) -> None:
    """Runs an agent until `asked`; starts it again a few times when it ends by itself."""
    for _ in range(_AGENT_STARTS):
        process = await _start_agent(endpoint, state)
        ended = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(asked.wait())
        try:
            await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if asked.is_set():
                return
        finally:
            stopping.cancel()
            await _end(process)
        terminal.say(f"The agent of this machine ended with {process.returncode}.", style="red")
        with suppress(TimeoutError):
            async with asyncio.timeout(_AGENT_PAUSE_S):
                await asked.wait()
            return
    raise EdgeconvError(
        Reason.DEVICE_FAILED,
        f"The agent of this machine ended {_AGENT_STARTS} times.",
        fix="`edgeconv doctor` looks for the cause; `edgeconv serve` runs without an agent.",
    )


async def _start_agent(endpoint: Endpoint, state: Path) -> Process:
    from edgeconv.base.state_folder import StateFolder

    folder = StateFolder(state)
    return await asyncio.create_subprocess_exec(
        *own_command("agent", "--server", endpoint.address, "--name", LOCAL_DEVICE),
        *("--token-file", str(folder.token), "--agent-state", str(folder.agent)),
        *("--die-with-parent", str(os.getpid())),
        # It may hold a password, which is the server's alone.
        env=own_environment(without=["EDGECONV_DATABASE"]),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        # Ctrl-C in a terminal reaches this process, which then ends the agent.
        start_new_session=True,
    )


async def _end(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_AGENT_STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
