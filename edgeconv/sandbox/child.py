"""The parent's side of a child process."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.sandbox.channel import MAX_LINE_BYTES, parse_message
from edgeconv.sandbox.chatter import LONGEST_MESSAGE_BYTES, Chatter
from edgeconv.sandbox.limits import Limits
from edgeconv.sandbox.usage import Usage, count_threads, measure
from edgeconv.sandbox.walls import Room, Walls

_LOG = logging.getLogger(__name__)

_STDERR_TAIL_BYTES = 8192
_STDERR_CHUNK_BYTES = 64 * 1024
_BETWEEN_CHUNKS_S = 0.005
_LAST_WORDS_S = 2.0
_LONG_LINE_BYTES = 64 * 1024
_BETWEEN_COUNTS_S, _BETWEEN_LOOKS_S = 0.2, 1.0
_LOOKING_SHARE = 0.1
"""Of a processor, at most, that looking at a full folder takes."""
_SYSTEM_COUNTERS = Path("/proc/vmstat")

OUT_OF_MEMORY = "out of memory"
"""`ended_by` of the error of a child that the system ended for want of memory."""


class Child:
    """A single-use process with a private HOME and TMPDIR, limits, and a JSON channel.

    It is exec'd (nothing of the parent's memory is in it), leads a process group of its
    own, and dies with its parent. Use `start`, then `send` and `receive`, then `kill`.
    """

    def __init__(
        self,
        process: Process,
        pipes: _Pipes,
        oom_kills_before: int,
        folder: Path,
        limits: Limits,
    ) -> None:
        self._process = process
        self._folder = folder
        self._limits = limits
        self._beyond: EdgeconvError | None = None
        self._usage = Usage()
        self._watch: asyncio.Task[None] | None = None
        self._chatter: Chatter | None = None
        self._pipes = pipes
        self._reader = pipes.reader
        self._writer = pipes.writer
        self._oom_kills_before = oom_kills_before
        self._stderr = b""
        self._walls: Walls | None = None
        self._first_message = asyncio.Lock()
        self._drain = asyncio.create_task(self._drain_stderr())
        self._last_signal = asyncio.create_task(self._end_group())

    @classmethod
    async def start(
        cls,
        entry: str,
        *,
        folder: Path,
        limits: Limits | None = None,
        room: Room | None = None,
        environment: Mapping[str, str] | None = None,
        python: Sequence[str] = (sys.executable,),
    ) -> Self:
        """Starts a child.

        Args:
            entry: "module:function"; the function takes a `Channel`.
            folder: Exists; becomes the working directory, with HOME and TMPDIR below it.
            room: What it may touch, held by as many walls as the kernel has; None builds
                none.
            environment: Added to the few variables a child gets.
            python: Interpreter and anything that must stand before it.

        Raises:
            EdgeconvError: CHILD_DIED when it ends before it has heard what to do.
        """
        (folder / "home").mkdir(exist_ok=True)
        (folder / "tmp").mkdir(exist_ok=True)
        oom_kills = _oom_kills()
        limits = limits or Limits()
        with ExitStack() as theirs, ExitStack() as ours:
            child_read, parent_write = _pipe(theirs, ours)
            parent_read, child_write = _pipe(ours, theirs)
            parent_errors, child_errors = _pipe(ours, theirs)
            pipes = await _Pipes.open(parent_read, parent_write, parent_errors)
            ours.callback(pipes.close)
            process = await asyncio.create_subprocess_exec(
                *python, "-P", "-m", "edgeconv.sandbox.entry",
                str(child_read.fileno()), str(child_write.fileno()), str(os.getpid()),
                cwd=folder,
                env=_environment(folder, environment or {}),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=child_errors,
                pass_fds=(child_read.fileno(), child_write.fileno()),
                start_new_session=True,
            )  # fmt: skip
            # They are the child's from here on, and end with it.
            ours.pop_all()
        child = cls(process, pipes, oom_kills, folder, limits)
        try:
            told = room.to_json() if room else None
            await child.send({"entry": entry, "limits": limits.to_json(), "room": told})
        except BaseException:
            await child.kill()
            raise
        return child

    @property
    def pid(self) -> int:
        """Process id; also the id of its group."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.returncode is None

    @property
    def stderr_tail(self) -> str:
        """The last 8 KiB that it wrote to its standard error; for logs."""
        return self._stderr.decode(errors="replace")

    async def send(self, message: Mapping[str, Any]) -> None:
        """Sends a message.

        Raises:
            EdgeconvError: CHILD_DIED.
        """
        try:
            self._writer.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
            await self._writer.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise await self._death() from None

    async def walls(self) -> Walls:
        """Which walls stand around it, as it says before it reads anything foreign.

        Raises:
            EdgeconvError: as `receive`.
        """
        async with self._first_message:
            if self._walls is None:
                said = await self._next_message()
                try:
                    self._walls = Walls.from_json(said["walls"])
                except (KeyError, ValueError):
                    raise await self.accuse("no word about its walls") from None
            return self._walls

    async def receive(self) -> dict[str, Any]:
        """The child's next message.

        Raises:
            EdgeconvError: CHILD_DIED with the signal or status, LIMIT_EXCEEDED when the
                kernel ended it for a limit, or for want of memory.
        """
        await self.walls()
        return await self._next_message()

    async def _next_message(self) -> dict[str, Any]:
        try:
            line = await self._reader.readline()
        except ValueError:
            raise await self.accuse(f"a line of more than {MAX_LINE_BYTES} bytes") from None
        if not line.endswith(b"\n"):
            raise await self._death()
        if self._chatter is not None:
            if len(line) > LONGEST_MESSAGE_BYTES:
                raise await self.accuse(f"a message of more than {LONGEST_MESSAGE_BYTES} bytes")
            if not self._chatter.hear(len(line), asyncio.get_running_loop().time()):
                raise await self.accuse("more messages than anybody could follow")
            # What has come already is read without a wait, and the others have theirs to do.
            await asyncio.sleep(0)
        try:
            if len(line) > _LONG_LINE_BYTES:
                # Others are not to wait for what it says at length.
                return await asyncio.to_thread(parse_message, line)
            return parse_message(line)
        except ValueError as error:
            raise await self.accuse(str(error)) from None

    def watch(self) -> None:
        """Ends it, from now on, when it takes more of disk, files or threads than it may, or
        says so much that others would wait.

        No kernel holds these limits for a single process. What waits for its next message
        gets the error.
        """
        if self._watch is None:
            self._chatter = Chatter(asyncio.get_running_loop().time())
            self._watch = asyncio.create_task(self._keep_looking())

    async def look(self) -> Usage:
        """What it has taken by now, or when it was last seen.

        Raises:
            EdgeconvError: LIMIT_EXCEEDED when that is more than it may; it is ended then.
        """
        await self._look_and_judge()
        if self._beyond is not None:
            await self.kill()
            raise self._beyond
        return self._usage

    async def _keep_looking(self) -> None:
        running = asyncio.get_running_loop()
        next_look_s = running.time()
        while self.alive and self._beyond is None:
            self._judge(Usage(threads=count_threads(self.pid)))
            if (began_s := running.time()) >= next_look_s:
                await self._look_and_judge()
                took_s = running.time() - began_s
                next_look_s = running.time() + max(_BETWEEN_LOOKS_S, took_s / _LOOKING_SHARE)
            await asyncio.sleep(_BETWEEN_COUNTS_S)

    async def _look_and_judge(self) -> None:
        try:
            self._usage = await asyncio.to_thread(measure, self.pid, self._folder, self._limits)
        except OSError:
            # For want of descriptors, say; the next look may find them.
            _LOG.exception("what child %d takes could not be seen", self.pid)
            return
        self._judge(self._usage)

    def _judge(self, usage: Usage) -> None:
        """Kills it when it is beyond a limit."""
        beyond = usage.beyond(self._limits)
        if beyond is None or self._beyond is not None or not self.alive:
            return
        limit, words = beyond
        self._beyond = EdgeconvError(Reason.LIMIT_EXCEEDED, f"It needed {words}.", limit=limit)
        self._signal()

    async def _end_group(self) -> None:
        """Ends what the child leaves behind, at once: later its number may be another's."""
        await self._process.wait()
        self._signal()

    def _signal(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def kill(self) -> None:
        """Ends the child and all its descendants, and waits until it is gone."""
        if self.alive:
            self._signal()
        await self._process.wait()
        await asyncio.wait([self._last_signal])
        self._pipes.close()
        tasks = [task for task in (self._drain, self._watch) if task is not None]
        for task in tasks:
            task.cancel()
        # Not the tasks themselves: a cancellation of the caller could not be told from theirs.
        await asyncio.wait(tasks)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    async def _drain_stderr(self) -> None:
        while chunk := await self._pipes.errors.read(_STDERR_CHUNK_BYTES):
            self._stderr = (self._stderr + chunk)[-_STDERR_TAIL_BYTES:]
            # One that prints without an end waits here, and nobody else does.
            await asyncio.sleep(_BETWEEN_CHUNKS_S * len(chunk) / _STDERR_CHUNK_BYTES)

    async def _death(self) -> EdgeconvError:
        """Why there is no message; ends a child that closed the channel and lives on."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                await self._process.wait()
        if self._beyond is not None:
            return self._beyond
        if self.alive:
            await self.kill()
            return self._accuse("closed its channel and did not end")
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                await asyncio.shield(self._drain)
        status = self._process.returncode or 0
        if status == -signal.SIGXCPU:
            return EdgeconvError(
                Reason.LIMIT_EXCEEDED, "The process needed more processor time than allowed."
            )
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        if status == -signal.SIGKILL and _oom_kills() > self._oom_kills_before:
            return EdgeconvError(
                Reason.LIMIT_EXCEEDED,
                "The system ended the process because the machine's memory ran out.",
                fix="Give the machine or its container more memory, or run less at a time.",
                ended_by=OUT_OF_MEMORY,
            )
        fix = "The system ends a process so when memory runs out." if status == -9 else ""
        return EdgeconvError(
            Reason.CHILD_DIED,
            f"The process ended with {how} before it answered.",
            fix=fix,
            ended_by=how,
        )

    async def accuse(self, what: str) -> EdgeconvError:
        """Ends a child that does not keep to the form of what it is to send."""
        await self.kill()
        return self._accuse(f"sent {what}")

    def _accuse(self, words: str) -> EdgeconvError:
        return EdgeconvError(
            Reason.CHILD_DIED, f"The process {words}, and was ended.", ended_by=words
        )


def _environment(folder: Path, extra: Mapping[str, str]) -> dict[str, str]:
    home, tmp = str(folder / "home"), str(folder / "tmp")
    kept = {key: os.environ[key] for key in ("PATH", "LANG", "LC_ALL", "TZ") if key in os.environ}
    return {
        **kept,
        "HOME": home,
        "XDG_CACHE_HOME": f"{home}/.cache",
        "TMPDIR": tmp,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": _package_root(),
        "ORT_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        **extra,
    }


def _package_root() -> str:
    return str(Path(__file__).resolve().parent.parent.parent)


def _oom_kills() -> int:
    """How many processes this system has ended for want of memory since it started."""
    try:
        lines = _SYSTEM_COUNTERS.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


@dataclass(frozen=True)
class _Pipes:
    """The parent's ends. They are its own, and not asyncio's of the process: a descendant
    that holds its end open would keep the process's transport from ever being closed."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    errors: asyncio.StreamReader
    incoming: tuple[asyncio.BaseTransport, ...]

    @classmethod
    async def open(cls, read: BinaryIO, write: BinaryIO, errors: BinaryIO) -> Self:
        reader, incoming = await _open_reader(read)
        words, incoming_words = await _open_reader(errors, _STDERR_CHUNK_BYTES)
        return cls(reader, await _open_writer(write), words, (incoming, incoming_words))

    def close(self) -> None:
        self.writer.close()
        for transport in self.incoming:
            transport.close()


def _pipe(readers: ExitStack, writers: ExitStack) -> tuple[BinaryIO, BinaryIO]:
    """The two ends of a new pipe, each closed by its side's stack."""
    read, write = os.pipe()
    reader = readers.enter_context(os.fdopen(read, "rb"))
    return reader, writers.enter_context(os.fdopen(write, "wb"))


async def _open_reader(
    pipe: BinaryIO, limit: int = MAX_LINE_BYTES
) -> tuple[asyncio.StreamReader, asyncio.BaseTransport]:
    reader = asyncio.StreamReader(limit=limit)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    return reader, transport


async def _open_writer(pipe: BinaryIO) -> asyncio.StreamWriter:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, pipe)
    return asyncio.StreamWriter(transport, protocol, None, loop)
