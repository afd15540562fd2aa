"""The server as a whole: the one place that names implementations."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from edgeconv import __version__
from edgeconv.base.clock import Clock, SystemClock
from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason
from edgeconv.base.ids import new_id
from edgeconv.base.quantities import NS_PER_S
from edgeconv.base.removal import remove_folder
from edgeconv.base.sentences import clause
from edgeconv.base.state_folder import (
    Endpoint,
    StateFolder,
    ensure_token,
    last_port,
    locked,
    write_endpoint,
)
from edgeconv.recipe.toolchain import cpu_class, toolchain
from edgeconv.sandbox.limits import Limits
from edgeconv.sandbox.probe import walls_here
from edgeconv.sandbox.walls import Room
from edgeconv.server.allocator import give_back_what_is_freed
from edgeconv.server.blobs.blobs import RESERVE_BYTES, Blobs
from edgeconv.server.blobs.ownership import claim_folder
from edgeconv.server.changes import QUEUE, Changes
from edgeconv.server.crash_points import CrashPoint, reached
from edgeconv.server.engine.bounded import BoundedEngine
from edgeconv.server.engine.dbos_engine import DbosEngine
from edgeconv.server.engine.engine import Engine, Job, JobKind
from edgeconv.server.executor import Life, last_resort, take_up
from edgeconv.server.jobs.children import DEFAULT_ENTRY, Children
from edgeconv.server.jobs.runner import run_job
from edgeconv.server.jobs.step_time import StepTimes
from edgeconv.server.jobs.tools import Tools
from edgeconv.server.others import follow_others
from edgeconv.server.progress import ProgressBoard
from edgeconv.server.retention.collector import Collector
from edgeconv.server.retention.sweep import RetentionSettings, collect_forever
from edgeconv.server.rpc.call_limits import CallLimits
from edgeconv.server.rpc.gates import Gates
from edgeconv.server.rpc.service_tools import ServiceTools
from edgeconv.server.rpc.serving import build_server
from edgeconv.server.store.connections import TimeLimits, dispatch
from edgeconv.server.store.store import Store
from edgeconv.server.store.urls import database_url
from edgeconv.server.sweep import Sweep

_LOG = logging.getLogger(__name__)

_GRACE_S = 1.0


@dataclass(frozen=True)
class ServerSettings:
    """How a server is set up.

    Attributes:
        state: Its state folder.
        listen: "host:port"; port 0 takes the one of the last server on the state folder, so
            that those who lost that one find this one, or else a free one.
        insecure: Whether it may listen where others than this machine can hear. What is said
            there, the token too, is not encrypted.
        without_walls: Whether it may do so where the kernel can't keep a model's child in.
        jobs_at_once: Conversions that run side by side.
        lease_s: How long a benchmark's lease lives without a heartbeat of its agent.
        silence_s: After this an agent without a word is lost.
        no_device_s: After this a benchmark fails that no registered device could run.
        child_idle_s: How long a job child is kept that nobody needs.
        sweep_s: How often what is overdue is looked for.
        executor_dead_s: After this a server without a heartbeat is dead to the others that
            share its database, and they go on with its jobs.
        poll_s: How often the queues of a shared database are looked at: how long a job may
            wait for nothing.
        child_entry: What job children run.
        child_limits: What a job child may use.
        child_room: What it may touch besides its own folder.
        step_times: How long its steps may take.
        reserve_bytes: What blobs leave free on their disk, for rows and logs.
        retention: What is removed by and by.
        awaited_device: Of an agent that starts together with the server: a selector is not
            refused before that device has registered.
        database: URL of a PostgreSQL that it shares with other servers, for the store and the
            queues; empty for files in the state folder. It may hold a password.
        blobs: Folder for blobs, which all servers of one database share; None for one in the
            state folder.
        time_limits: How long what is asked of a database may take.
        limits: What callers may have under way at once.
    """

    state: Path
    listen: str = "127.0.0.1:0"
    insecure: bool = False
    without_walls: bool = False
    jobs_at_once: int = 1
    lease_s: float = 30.0
    silence_s: float = 60.0
    no_device_s: float = 600.0
    child_idle_s: float = 300.0
    sweep_s: float = 2.0
    executor_dead_s: float = 30.0
    poll_s: float = 0.5
    child_entry: str = DEFAULT_ENTRY
    child_limits: Limits = field(default_factory=Limits)
    child_room: Room = field(default_factory=Room)
    step_times: StepTimes = field(default_factory=StepTimes)
    reserve_bytes: int = RESERVE_BYTES
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    awaited_device: str = ""
    database: str = field(default="", repr=False)
    blobs: Path | None = None
    time_limits: TimeLimits = field(default_factory=TimeLimits)
    limits: CallLimits = field(default_factory=CallLimits)


async def serve(
    settings: ServerSettings, *, ready: Callable[[Endpoint], None], stop: asyncio.Event
) -> None:
    """Runs a server until `stop` is set; calls `ready` when it listens.

    Raises:
        EdgeconvError: STATE_LOCKED when another server uses the state folder;
            FIELD_INVALID when it can't listen there, or must not, or for a bad URL of a
            database; DATABASE_UNAVAILABLE, DATABASE_NEWER, BLOBS_ELSEWHERE, STATE_UNWRITABLE.
    """
    give_back_what_is_freed()
    if not _is_heard_by_this_machine_alone(settings):
        _check_not_encrypted_is_wanted(settings)
        await _check_walls(settings)
    async with AsyncExitStack() as stack:
        force = stack.enter_context(last_resort())
        folder = stack.enter_context(locked(settings.state))
        kept = await _open(settings, folder, stack)
        store, tools = kept.store, kept.tools
        life = Life(tools, dead_s=settings.executor_dead_s, alone=not settings.database)
        await life.begin()
        living = asyncio.create_task(life.go_on())
        stack.push_async_callback(_cancelled, living)
        stack.push_async_callback(life.end, store)
        engine = await _open_engine(settings, folder, tools, stack)
        bounded = BoundedEngine(engine, settings.time_limits.answer_s)
        collector = Collector(
            store, kept.blobs, folder.scratch, tools.children.folders,
            round(settings.retention.grace_s * NS_PER_S),
        )  # fmt: skip
        services = ServiceTools(
            store, kept.blobs, bounded, tools.children, tools.changes, tools.progress,
            tools.clock, round(settings.lease_s * NS_PER_S), round(settings.silence_s * NS_PER_S),
            tools.toolchain, Gates(settings.limits), collector, settings.awaited_device,
        )  # fmt: skip
        server = build_server(services, ensure_token(settings.state))
        address = _listen(server, settings.listen, last_port(settings.state))
        await server.start()
        stack.push_async_callback(server.stop, _GRACE_S)
        sweep = Sweep(tools, bounded, life, settings.no_device_s)
        sweeper = asyncio.create_task(sweep.go_on(settings.sweep_s))
        stack.push_async_callback(_cancelled, sweeper)
        if settings.database:
            following = asyncio.create_task(follow_others(tools.changes, store.stamps))
            stack.push_async_callback(_cancelled, following)
        collecting = asyncio.create_task(collect_forever(collector, settings.retention))
        stack.push_async_callback(_cancelled, collecting)
        ready(write_endpoint(settings.state, address, version=__version__))
        reached(CrashPoint.LISTENING)
        try:
            await _until_set(stop, living)
        except EdgeconvError:
            _LOG.exception("this server ends")
            force.start()
            store.end_patience()
            await engine.shutdown()
            raise
        finally:
            store.end_patience()
            # Watchers and long polls would keep the server for their whole time.
            tools.changes.touch([QUEUE])


@dataclass(frozen=True)
class _Kept:
    """What a server keeps: for calls, which are told when the database is lost, and for jobs,
    which wait for it."""

    store: Store
    blobs: Blobs
    tools: Tools


async def _open(settings: ServerSettings, folder: StateFolder, stack: AsyncExitStack) -> _Kept:
    clock: Clock = SystemClock()
    changes = Changes()
    progress = ProgressBoard(changes.touch)

    def touch(topics: Iterable[str]) -> None:
        progress.forget_changed(topics)
        changes.touch(topics)

    store = await Store.open(
        database_url(settings.database, folder.database),
        touch=touch,
        lease_s=settings.lease_s,
        silence_s=settings.silence_s,
        limits=settings.time_limits,
    )
    stack.push_async_callback(store.close)
    reached(CrashPoint.STORE_OPENED)
    place = settings.blobs or folder.blobs
    mark = await claim_folder(place, store.installation)
    told = Blobs.local(
        place, store.retention.toucher(), reserve_bytes=settings.reserve_bytes, mark=mark
    )
    patient = store.patient()
    blobs = told.touched_by(patient.retention.toucher())
    if folder.scratch.exists():
        # Children of a server that was killed died with it; their folders did not.
        await asyncio.to_thread(remove_folder, folder.scratch)
    # What could not be removed was logged.
    folder.scratch.mkdir(mode=0o700, exist_ok=True)
    reached(CrashPoint.SCRATCH_SWEPT)
    children = Children(
        folder.scratch, blobs, entry=settings.child_entry, limits=settings.child_limits,
        room=settings.child_room, times=settings.step_times, idle_s=settings.child_idle_s,
    )  # fmt: skip
    stack.push_async_callback(children.close)
    tools = Tools(
        store=patient,
        blobs=blobs,
        children=children,
        changes=changes,
        progress=progress,
        clock=clock,
        executor=new_id(),
        toolchain=await asyncio.to_thread(toolchain),
        cpu_class=cpu_class(),
    )
    return _Kept(store, told, tools)


async def _open_engine(
    settings: ServerSettings, folder: StateFolder, tools: Tools, stack: AsyncExitStack
) -> Engine:
    taken_up = asyncio.Event()

    async def run(job: Job) -> None:
        # A job that stood in the queue must not meet claims of the dead.
        await taken_up.wait()
        await _run(tools, engine, job)

    database = dispatch(database_url(settings.database, folder.dispatch), settings.time_limits)
    stack.callback(database.dispose)
    engine = await DbosEngine.open(
        tools.executor, run,
        {JobKind.INSPECTION: 1, JobKind.CONVERSION: settings.jobs_at_once},
        database=database, poll_s=settings.poll_s,
    )  # fmt: skip
    stack.push_async_callback(engine.shutdown)
    await take_up(tools, engine)
    taken_up.set()
    return engine


async def _run(tools: Tools, engine: Engine, job: Job) -> None:
    followers = await run_job(tools, job)
    reached(CrashPoint.JOB_DONE)
    for follower in followers:
        await engine.start(follower)


def _is_heard_by_this_machine_alone(settings: ServerSettings) -> bool:
    host = settings.listen.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_not_encrypted_is_wanted(settings: ServerSettings) -> None:
    if not settings.insecure:
        raise EdgeconvError(
            Reason.FIELD_INVALID,
            f"{settings.listen!r} can be reached from other machines, and nothing there would be"
            " encrypted: whoever listens in reads the token, models and data.",
            fix="Listen on 127.0.0.1 and let a tunnel that encrypts lead there, such as"
            " `ssh -L`; or give --insecure-listen on a network where all are trusted.",
            violations=[FieldViolation("listen", "not encrypted, and not of this machine alone")],
            listen=settings.listen,
        )
    _LOG.warning(
        "%s can be reached from other machines, and nothing is encrypted: whoever listens in"
        " reads the token, models and data", settings.listen,
    )  # fmt: skip


async def _check_walls(settings: ServerSettings) -> None:
    """Files of other machines' users are read behind walls, or somebody has said otherwise."""
    warning = (await walls_here(settings.child_room)).warning
    if warning and not settings.without_walls:
        raise EdgeconvError(
            Reason.FIELD_INVALID,
            f"{settings.listen!r} can be reached from other machines, and this one can't keep in"
            f" what their files do. {warning}",
            fix="Use a newer kernel (Linux 5.13 or later) and a container that allows Landlock and"
            " seccomp; or give --without-walls where all who send files are trusted.",
            violations=[FieldViolation("listen", "not of this machine alone, without walls")],
            listen=settings.listen,
        )
    if warning:
        _LOG.warning("%s", warning)


def _listen(server: grpc.aio.Server, listen: str, last: int) -> str:
    host, _, wanted = listen.rpartition(":")
    if wanted == "0" and last:
        # Another process may have it by now.
        with suppress(RuntimeError):
            return f"{host}:{server.add_insecure_port(f'{host}:{last}')}"
    try:
        port = server.add_insecure_port(listen)
    except RuntimeError as error:
        raise EdgeconvError(
            Reason.FIELD_INVALID,
            f"The server can't listen on {listen!r}: {clause(str(error))}.",
            fix="Name a free port, or 0 for any.",
            listen=listen,
        ) from error
    return f"{host}:{port}"


async def _until_set(stop: asyncio.Event, living: asyncio.Task[None]) -> None:
    """Returns when a stop is asked for; raises what ends the executor's life before that."""
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([stopping, living], return_when=asyncio.FIRST_COMPLETED)
        if living.done():
            living.result()
    finally:
        stopping.cancel()


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
