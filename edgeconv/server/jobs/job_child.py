"""One job child as the server sees it: a process, its folder, and what lies in it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from edgeconv.base.disk import disk_full, free_at
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.ids import new_id
from edgeconv.base.removal import remove_folder
from edgeconv.bench.lock import LockFiles
from edgeconv.sandbox.child import Child
from edgeconv.sandbox.limits import Limits
from edgeconv.sandbox.walls import Room, Walls
from edgeconv.server.blobs.blobs import Blobs
from edgeconv.server.crash_points import CrashPoint, reached
from edgeconv.server.jobs.child_files import bring_in, take_out
from edgeconv.server.jobs.child_words import done_of, error_of, progress_of
from edgeconv.server.jobs.limit_deaths import ended_by_a_limit
from edgeconv.server.jobs.runtime_deaths import refused_by_crash
from edgeconv.server.jobs.step_time import LONGEST_WAIT_S, StepClock, StepTimes, took_too_long
from edgeconv.server.records import Files

_LOG = logging.getLogger(__name__)

_NO_ROOM = 1024 * 1024
"""Free bytes below which a disk is full: libraries write in pieces of some size."""
_OWN, _INPUTS = "own", "inputs"

Tell = Callable[[float, str], None]
T = TypeVar("T")


@dataclass(frozen=True)
class Bundle:
    """Files that a step reads, and what their maker said of them."""

    files: Files
    digest: str
    facts: Mapping[str, Any]


_NOTHING = Bundle((), "", {})


@dataclass(frozen=True)
class StepOrder:
    """A step for a child to do."""

    kind: str
    name: str
    options: Mapping[str, Any]
    seed: int
    inputs: Mapping[str, Bundle]


class JobChild:
    """A process that does the steps of one model, one after another.

    A bundle is brought in once; what a step made stays and is read in place by later ones.
    Bundles lie beside the child's own folder, where it may read only: it could lead what is
    written there to another place.
    """

    def __init__(
        self,
        child: Child,
        folder: Path,
        blobs: Blobs,
        limits: Limits,
        times: StepTimes,
        locks: LockFiles,
    ) -> None:
        self._child = child
        self._limits = limits
        self._is_full = False
        self._locks = locks
        self._folder = folder
        self._blobs = blobs
        self._times = times
        self._bundles: dict[str, Path] = {}
        self._steps = 0
        self._heard = False
        self._warming: asyncio.Task[None] | None = None
        self._warming_word: tuple[float, str] = (-1.0, "")
        self._tell_warming: Tell | None = None

    @classmethod
    async def start(
        cls,
        entry: str,
        folder: Path,
        blobs: Blobs,
        limits: Limits,
        room: Room,
        times: StepTimes | None = None,
    ) -> Self:
        """Starts a child behind walls in a folder of its own, which is made.

        Args:
            room: What it may touch besides that folder and the machine's lock files.
            times: How long its steps may take.

        Raises:
            EdgeconvError: CHILD_DIED when it ended at once.
        """
        own, inputs = folder / _OWN, folder / _INPUTS
        for each in (own, inputs):
            each.mkdir(parents=True)
        locks = await asyncio.to_thread(LockFiles.there)
        reads = (inputs, *locks.paths, *room.reads)
        try:
            child = await Child.start(
                entry, folder=own, limits=limits, room=replace(room, reads=reads)
            )
        except BaseException:
            await asyncio.to_thread(remove_folder, folder)
            raise
        child.watch()
        return cls(child, folder, blobs, limits, times or StepTimes(), locks)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._child.pid

    @property
    def folder(self) -> Path:
        """Where it and its inputs lie."""
        return self._folder

    async def walls(self) -> Walls:
        """Which walls stand around it.

        Raises:
            EdgeconvError: CHILD_DIED when it ended before it could say so.
        """
        return await self._child.walls()

    @property
    def alive(self) -> bool:
        """Whether it can do a step.

        One whose earlier steps have filled half of the disk that it may take leaves too little
        to the next one.

        It may open the lock files that were there when it started. Where somebody has removed
        one, there is another of that name by now, or none.
        """
        return self._child.alive and not self._is_full and self._locks.are_still_there

    @property
    def heard(self) -> bool:
        """Whether it has said a word of the step that it was given last."""
        return self._heard

    def warm(self) -> None:
        """Makes it load its libraries while nobody waits for it."""
        if self._warming is None:
            self._warming = asyncio.create_task(self._warm())

    async def run(self, order: StepOrder, tell: Tell) -> tuple[Files, dict[str, Any]]:
        """Does a step and stores what it wrote.

        Returns:
            The files, and the child's word: facts, effect, agreement, wall_ns,
            peak_memory_bytes.

        Raises:
            EdgeconvError: that of the step; CHILD_DIED, LIMIT_EXCEEDED, or RUNTIME_REFUSED
                for a file that its runtime crashes on, after which the child is of no more
                use; BLOB_DAMAGED.
        """
        await self._warmed(order, tell)
        self._steps += 1
        self._heard = False
        # Names that the child can't foresee: it could have made something of that name before.
        folder = self._folder / _OWN / f"step-{new_id()}"
        scratch = self._folder / _OWN / f"scratch-{new_id()}"
        try:
            folder.mkdir()
            scratch.mkdir()
            inputs = {role: await self._bring_in(given) for role, given in order.inputs.items()}
            reached(CrashPoint.INPUTS_BROUGHT)
            said = {
                "do": "step", "kind": order.kind, "name": order.name,
                "options": dict(order.options), "seed": order.seed, "inputs": inputs,
                "folder": str(folder), "scratch": str(scratch),
            }  # fmt: skip
            done = await self._in_time(order, said, tell)
            reached(CrashPoint.STEP_ANSWERED)
            files = await asyncio.to_thread(take_out, self._blobs, folder)
            reached(CrashPoint.FILES_TAKEN)
        except EdgeconvError:
            # At once: it may be what fills the disk that the failure is to be written to.
            await asyncio.to_thread(remove_folder, folder)
            raise
        finally:
            await asyncio.to_thread(remove_folder, scratch)
        return files, done | {"folder": str(folder)}

    def keep(self, digest: str, folder: str) -> None:
        """Lets later steps read a bundle where a step of this child wrote it."""
        self._bundles.setdefault(digest, Path(folder))

    async def end(self) -> None:
        """Kills it with all its descendants and removes its folder."""
        if self._warming is not None:
            self._warming.cancel()
        await self._child.kill()
        await asyncio.to_thread(remove_folder, self._folder)

    async def _warm(self) -> None:
        try:
            await self._child.send({"do": "warm"})
            while "done" not in (message := await self._child.receive()):
                self._warming_word = await self._progress(message)
                if self._tell_warming is not None:
                    self._tell_warming(*self._warming_word)
        except EdgeconvError:
            _LOG.warning("a child died while it was started ahead:\n%s", self._child.stderr_tail)

    async def _warmed(self, order: StepOrder, tell: Tell) -> None:
        """Waits until the libraries are loaded that it was told to load."""
        if self._warming is None or self._warming.done():
            return
        self._tell_warming = tell
        if self._warming_word[1]:
            tell(*self._warming_word)
        try:
            async with asyncio.timeout(LONGEST_WAIT_S):
                await asyncio.shield(self._warming)
        except TimeoutError:
            await self._child.kill()
            raise took_too_long(order.kind, order.name, LONGEST_WAIT_S) from None

    async def _in_time(
        self, order: StepOrder, said: Mapping[str, Any], tell: Tell
    ) -> dict[str, Any]:
        """Has the step done; a child that went beyond a limit is ended.

        Not only for its time: one that is full of what a step could not finish would fail the
        next one, too.
        """
        running = asyncio.get_running_loop()
        clock = StepClock(self._times.of(order.kind), running.time())
        try:
            async with asyncio.timeout_at(clock.ends_s) as timer:

                def hear(fraction: float, words: str) -> None:
                    clock.hear(words, running.time())
                    timer.reschedule(clock.ends_s)
                    tell(fraction, words)

                await self._child.send(said)
                reached(CrashPoint.STEP_SENT)
                return await self._answer(order, hear)
        except TimeoutError:
            await self._child.kill()
            limit_s = self._times.of(order.kind)
            raise took_too_long(order.kind, order.name, limit_s) from None
        except EdgeconvError as error:
            if error.reason is Reason.LIMIT_EXCEEDED:
                await self._child.kill()
            raise

    async def _bring_in(self, given: Bundle) -> dict[str, Any]:
        if given.digest not in self._bundles:
            folder = self._folder / _INPUTS / f"{len(self._bundles)}-{self._steps}"
            await asyncio.to_thread(bring_in, self._blobs, given.files, folder)
            self._bundles[given.digest] = folder
        folder = self._bundles[given.digest]
        return {"folder": str(folder), "digest": given.digest, "facts": dict(given.facts)}

    def _blamed(self, order: StepOrder, error: EdgeconvError) -> EdgeconvError:
        """Many a library says nothing of a disk that is full but that it failed, or dies of it."""
        free = free_at(self._folder)
        untold = error.reason in (Reason.INTERNAL, Reason.CHILD_DIED, Reason.LOWERING_FAILED)
        if error.reason is Reason.DISK_FULL or (untold and free is not None and free < _NO_ROOM):
            return disk_full(self._folder, doing=f"step {order.name!r}", free_bytes=free)
        return error

    async def _progress(self, message: Mapping[str, Any]) -> tuple[float, str]:
        """Read at once: it is two values, and there may be many."""
        try:
            return progress_of(message)
        except ValueError as error:
            raise await self._child.accuse(str(error)) from None

    async def _read(self, read: Callable[[Any], T], said: Any) -> T:
        """What the child has said; one that says nonsense is ended."""
        try:
            # Others are not to wait for what it says at length.
            return await asyncio.to_thread(read, said)
        except (TypeError, ValueError) as error:
            raise await self._child.accuse(str(error)) from None

    async def _answer(self, order: StepOrder, tell: Tell) -> dict[str, Any]:
        try:
            while True:
                message = await self._child.receive()
                self._heard = True
                if "progress" in message:
                    tell(*await self._progress(message))
                elif "done" in message:
                    done = await self._read(partial(done_of, order.kind), message["done"])
                    usage = await self._child.look()
                    self._is_full = usage.disk_bytes > self._limits.disk_bytes / 2
                    return done
                elif "failed" in message:
                    error = self._blamed(order, await self._read(error_of, message["failed"]))
                    if error.reason is Reason.INTERNAL:
                        _LOG.error("step %s failed:\n%s", order.name, self._child.stderr_tail)
                    raise error
        except EdgeconvError as error:
            if not self._child.alive:
                _LOG.error("the child of step %s died:\n%s", order.name, self._child.stderr_tail)
                words = self._child.stderr_tail
                if beyond := ended_by_a_limit(order.kind, order.name, words, error):
                    raise beyond from error
                made = order.inputs.get("artifact", _NOTHING).facts.get("format", "")
                if refused := refused_by_crash(order.kind, order.name, made, error):
                    raise refused from error
                words = f"{error.message.rstrip('.')}, during step {order.name}."
                died = EdgeconvError(error.reason, words, fix=error.fix, step=order.name)
                died.metadata |= error.metadata
                raise self._blamed(order, died) from error
            raise
