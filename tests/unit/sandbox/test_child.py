"""Children: what they see, what they may use, and how they end, however they behave."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import resource
import signal
import sys
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.sandbox.child import Child
from edgeconv.sandbox.limits import Limits

ENTRIES = "tests.unit.sandbox.bad_children"
LIMIT_S = 30.0


def with_child(
    folder: Path, entry: str, use: Callable[[Child], Coroutine[Any, Any, Any]], **options: Any
) -> Any:
    """What `use` gives for a child at an entry point."""

    async def main() -> Any:
        async with asyncio.timeout(LIMIT_S):
            child = await Child.start(f"{ENTRIES}:{entry}", folder=folder, **options)
            async with child:
                return await use(child)

    return asyncio.run(main())


def answer_of(folder: Path, entry: str, **options: Any) -> dict[str, Any]:
    """The first message of a child."""

    async def use(child: Child) -> dict[str, Any]:
        return await child.receive()

    answer: dict[str, Any] = with_child(folder, entry, use, **options)
    return answer


def error_of(folder: Path, entry: str, *messages: dict[str, Any], **options: Any) -> EdgeconvError:
    """The error that the first `receive` raises."""

    async def use(child: Child) -> EdgeconvError:
        for message in messages:
            await child.send(message)
        with pytest.raises(EdgeconvError) as caught:
            await child.receive()
        return caught.value

    error: EdgeconvError = with_child(folder, entry, use, **options)
    return error


def open_descriptors() -> set[int]:
    """Of this process, without the one that lists them."""
    listed = [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]
    return {number for number in listed if os.path.lexists(f"/proc/self/fd/{number}")}


@contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """This process can open so many files and no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = open_descriptors()
    free = [number for number in range(max(taken) + count + 2) if number not in taken]
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[count], hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_look_for_which_descriptors_lack_tells_what_was_seen_last(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(1 << 16))

    async def use(child: Child) -> None:
        seen = await child.look()
        assert seen.disk_bytes >= 1 << 16
        with descriptors_left(1):
            assert await child.look() == seen

    with_child(tmp_path, "echo", use)


@pytest.mark.parametrize("left", range(8))
def test_a_start_for_which_descriptors_lack_leaves_none_open(tmp_path: Path, left: int) -> None:
    async def main() -> None:
        before = open_descriptors()
        with descriptors_left(left), pytest.raises(OSError, match="Too many open files"):
            await Child.start(f"{ENTRIES}:echo", folder=tmp_path)
        await asyncio.sleep(0)
        assert open_descriptors() == before

    asyncio.run(main())


def test_messages_come_back_whole_and_in_order(tmp_path: Path) -> None:
    messages = [{"n": n, "text": "ä\n" * n * 1000, "none": None} for n in range(20)]

    async def use(child: Child) -> list[dict[str, Any]]:
        for message in messages:
            await child.send(message)
        return [await child.receive() for _ in messages]

    assert with_child(tmp_path, "echo", use) == messages


def test_a_large_message_passes(tmp_path: Path) -> None:
    async def use(child: Child) -> None:
        sending = asyncio.create_task(child.send({"text": "x" * (8 << 20)}))
        answer = await child.receive()
        await sending
        assert len(answer["text"]) == 8 << 20

    with_child(tmp_path, "echo", use)


def test_a_child_sees_a_folder_of_its_own_and_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("EDGECONV_TOKEN", "secret")
    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
    seen = answer_of(tmp_path, "describe", environment={"GIVEN": "yes"})
    environment = seen["environment"]
    assert "secret" not in environment.values()
    assert environment["GIVEN"] == "yes"
    assert environment["HOME"] == str(tmp_path / "home")
    assert environment["TMPDIR"] == str(tmp_path / "tmp")
    assert environment["XDG_CACHE_HOME"].startswith(str(tmp_path))
    assert environment["ORT_DISABLE_TELEMETRY"] == "1"
    assert seen["folder"] == str(tmp_path)
    assert seen["umask"] == 0o077
    assert seen["session"]
    assert "/somewhere/else" not in seen["path"]
    assert str(tmp_path) not in seen["path"]


def test_a_child_inherits_its_outputs_and_the_channel_only(tmp_path: Path) -> None:
    with (tmp_path / "parents").open("w") as mine:
        os.set_inheritable(mine.fileno(), True)
        seen = answer_of(tmp_path, "describe")
    # Besides the channel: the three standard ones, and the listing itself.
    assert len(seen["open"]) == 6


def test_the_limits_stand_in_the_child(tmp_path: Path) -> None:
    limits = Limits(address_space_bytes=4 << 30, file_bytes=1 << 20, open_files=64)
    seen = answer_of(tmp_path, "describe", limits=limits)["limits"]
    assert seen == {
        "RLIMIT_AS": 4 << 30,
        "RLIMIT_FSIZE": 1 << 20,
        "RLIMIT_NOFILE": 64,
        "RLIMIT_CORE": 0,
    }


def test_memory_is_refused_beyond_the_limit(tmp_path: Path) -> None:
    limits = Limits(address_space_bytes=1 << 30)
    assert answer_of(tmp_path, "grow", limits=limits) == {"refused": True}


def test_files_end_at_the_limit(tmp_path: Path) -> None:
    limits = Limits(file_bytes=3 << 20)
    assert answer_of(tmp_path, "write_much", limits=limits) == {
        "errno": errno.EFBIG,
        "size": 3 << 20,
    }


def test_too_much_processor_time_is_told_from_a_kill(tmp_path: Path) -> None:
    error = error_of(tmp_path, "burn", limits=Limits(cpu_s=1))
    assert error.reason is Reason.LIMIT_EXCEEDED


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGILL", "SIGABRT"])
def test_a_death_names_its_signal(tmp_path: Path, name: str) -> None:
    error = error_of(tmp_path, "die", {"signal": name})
    assert error.reason is Reason.CHILD_DIED
    assert error.metadata["ended_by"] == f"signal {name}"
    assert ("memory" in error.fix) == (name == "SIGKILL")


@pytest.mark.parametrize(("before", "is_memory"), [(3, True), (4, False), (None, True)])
def test_an_end_for_want_of_memory_is_told_from_another_kill(
    before: int | None, is_memory: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counters = tmp_path / "vmstat"
    if before is not None:
        counters.write_text(f"nr_free_pages 7\noom_kill {before}\n")
    monkeypatch.setattr("edgeconv.sandbox.child._SYSTEM_COUNTERS", counters)
    error = error_of(tmp_path, "die_for_memory", {"counters": str(counters)})
    assert error.reason is (Reason.LIMIT_EXCEEDED if is_memory else Reason.CHILD_DIED)
    assert ("memory ran out" in error.message) is is_memory
    assert "memory" in error.fix


def test_a_fault_in_the_entry_point_ends_the_child_and_its_trace_is_kept(tmp_path: Path) -> None:
    async def use(child: Child) -> None:
        with pytest.raises(EdgeconvError, match="status 1"):
            await child.receive()
        assert "the entry point failed" in child.stderr_tail
        assert not child.alive

    with_child(tmp_path, "fail", use)


def test_an_entry_point_that_does_not_exist_is_a_death_with_a_trace(tmp_path: Path) -> None:
    async def use(child: Child) -> None:
        with pytest.raises(EdgeconvError):
            await child.receive()
        assert "no_such_entry" in child.stderr_tail

    with_child(tmp_path, "no_such_entry", use)


def test_what_a_library_prints_is_no_message_and_blocks_nothing(tmp_path: Path) -> None:
    assert answer_of(tmp_path, "print_much") == {"sent": True}


@pytest.mark.parametrize("line", ["no JSON", "no object", "too long", "half"])
def test_a_child_that_does_not_speak_the_channels_form_is_ended(tmp_path: Path, line: str) -> None:
    async def use(child: Child) -> None:
        await child.send({"line": line})
        with pytest.raises(EdgeconvError) as caught:
            await child.receive()
        assert caught.value.reason is Reason.CHILD_DIED
        assert not child.alive

    with_child(tmp_path, "send_nonsense", use)


def test_a_child_that_closes_the_channel_and_lives_on_is_ended(tmp_path: Path) -> None:
    async def use(child: Child) -> None:
        with pytest.raises(EdgeconvError, match="closed its channel"):
            await child.receive()
        assert not child.alive

    with_child(tmp_path, "close_channel", use)


def test_sending_to_a_dead_child_says_how_it_died(tmp_path: Path) -> None:
    async def use(child: Child) -> None:
        async def send_for_ever() -> None:
            while True:
                await child.send({"filler": "x" * 100_000})

        with pytest.raises(EdgeconvError, match="status 1"):
            await send_for_ever()

    with_child(tmp_path, "fail", use)


def test_a_kill_takes_grandchildren_along(tmp_path: Path) -> None:
    async def use(child: Child) -> None:
        grandchild = (await child.receive())["pid"]
        await child.kill()
        await child.kill()
        await gone(grandchild)

    with_child(tmp_path, "start_grandchild", use)


def test_what_a_child_leaves_behind_holds_nothing_of_the_parents_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = []

    async def use(child: Child) -> None:
        left.append((await child.receive())["pid"])

    faults: list[object] = []
    monkeypatch.setattr("sys.unraisablehook", faults.append)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ResourceWarning)
            with_child(tmp_path, "leave_one_behind", use)
            gc.collect()
    finally:
        os.kill(left[0], signal.SIGKILL)
    assert faults == []


def test_nothing_is_left_open_in_the_parent(tmp_path: Path) -> None:
    async def use(child: Child) -> None:
        await child.send({})
        await child.receive()

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    with_child(tmp_path, "echo", use)
    before = descriptors()
    for _ in range(3):
        with_child(tmp_path, "echo", use)
    assert descriptors() == before


def test_an_interpreter_that_can_not_start_leaves_nothing_behind(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(FileNotFoundError):
            await Child.start(f"{ENTRIES}:echo", folder=tmp_path, python=("/no/such/python",))

    asyncio.run(main())


PARENT = """
import asyncio, sys
from pathlib import Path
from edgeconv.sandbox.child import Child
async def main():
    child = await Child.start(sys.argv[1], folder=Path(sys.argv[2]))
    await child.receive()
    print(child.pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


def test_a_child_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    async def main() -> None:
        parent = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PARENT, f"{ENTRIES}:ignore_channel", str(tmp_path),
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert parent.stdout is not None
        child = int(await parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
        await parent.wait()
        await gone(child)

    asyncio.run(main())


async def gone(pid: int) -> None:
    """Waits until a process has ended."""
    watch = await asyncio.create_subprocess_exec("tail", f"--pid={pid}", "-f", "/dev/null")
    await asyncio.wait_for(watch.wait(), LIMIT_S)


def test_a_child_that_has_ended_is_not_signalled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number may belong to another child's group by then."""

    async def use(child: Child) -> list[int]:
        await child.send({"signal": "SIGKILL"})
        with pytest.raises(EdgeconvError):
            await child.receive()
        signalled: list[int] = []
        monkeypatch.setattr(os, "killpg", lambda group, number: signalled.append(group))
        await child.kill()
        return signalled

    assert with_child(tmp_path, "die", use) == []


def test_a_child_is_the_first_to_go_when_memory_runs_out(tmp_path: Path) -> None:
    async def use(child: Child) -> str:
        await child.walls()
        return Path(f"/proc/{child.pid}/oom_score_adj").read_text().strip()

    if not os.access("/proc/self/oom_score_adj", os.W_OK):
        pytest.skip("the system has no such file that can be written")
    assert with_child(tmp_path, "echo", use) == "1000"
