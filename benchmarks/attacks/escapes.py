"""Escapes that a hostile model might try, each as it would be done by hand.

An escape returns when it worked and raises OSError when it was refused. `try_escape` is an
entry point of children; `obey` is called by code that came in with a model, for which this
file is put into the model as it is. So it needs nothing but Python.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

READ_FD, WRITE_FD = (
    map(int, sys.argv[1:3]) if len(sys.argv) > 2 and "".join(sys.argv[1:3]).isdigit() else (-1, -1)
)
"""The channel's descriptors, as the parent gave them to this process."""

_PR_SET_PDEATHSIG = 1
_F_SETSIG = 10
_F_SETPIPE_SZ = 1031
_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602
_PTRACE_SEIZE, _PTRACE_DETACH = 0x4206, 17
_NOTHING_CHANGED = 0xFFFFFFFF

Aim = dict[str, Any]
_ESCAPES: dict[str, Callable[[Aim], object]] = {}


def try_escape(channel: Any) -> None:
    """Does what it is told and says whether it worked."""
    channel.send(_outcome(channel.receive()))


def obey(route: str) -> None:
    """Tells the parent that the code runs, and tries what it is told until it is told no more."""
    _say({"ran": route})
    while line := _line():
        _say(_outcome(json.loads(line)))


def _outcome(aim: Aim) -> dict[str, Any]:
    try:
        _ESCAPES[aim["escape"]](aim)
    except OSError as error:
        return {"worked": False, "errno": error.errno}
    return {"worked": True}


def _say(message: dict[str, Any]) -> None:
    os.write(WRITE_FD, json.dumps(message).encode() + b"\n")


def _line() -> bytes:
    """The parent's next line, an empty one at the end; what follows it is left in the pipe."""
    line = b""
    while (byte := os.read(READ_FD, 1)) not in (b"", b"\n"):
        line += byte
    return line


def _escape(function: Callable[[Aim], object]) -> Callable[[Aim], object]:
    _ESCAPES[function.__name__] = function
    return function


@_escape
def read_passwd(aim: Aim) -> None:
    assert "root" in Path("/etc/passwd").read_text()


@_escape
def read_passwd_in_a_thread(aim: Aim) -> None:
    faults: list[OSError] = []

    def read() -> None:
        try:
            read_passwd(aim)
        except OSError as error:
            faults.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    if faults:
        raise faults[0]


@_escape
def read_a_file(aim: Aim) -> None:
    assert Path(aim["secret"]).read_text() == "secret"


@_escape
def read_by_a_link(aim: Aim) -> None:
    link = Path("tmp/link")
    link.symlink_to(aim["secret"])
    assert link.read_text() == "secret"


@_escape
def list_a_folder(aim: Aim) -> None:
    assert Path(aim["secret"]).name in os.listdir(Path(aim["secret"]).parent)  # noqa: PTH208


@_escape
def write_a_file(aim: Aim) -> None:
    Path(aim["victim"]).write_text("changed")


@_escape
def make_a_file(aim: Aim) -> None:
    Path(aim["outside"], "planted").write_text("planted")


@_escape
def remove_a_file(aim: Aim) -> None:
    Path(aim["victim"]).unlink()


@_escape
def move_a_file_out(aim: Aim) -> None:
    Path("tmp/own").write_text("planted")
    Path("tmp/own").rename(Path(aim["outside"], "planted"))


@_escape
def link_a_file_out(aim: Aim) -> None:
    Path("tmp/own").write_text("planted")
    Path(aim["outside"], "planted").hardlink_to("tmp/own")


@_escape
def link_a_file_in(aim: Aim) -> None:
    Path("tmp/linked").hardlink_to(aim["victim"])
    Path("tmp/linked").write_text("changed")


@_escape
def make_a_link_outside(aim: Aim) -> None:
    Path(aim["outside"], "planted").symlink_to("/etc/passwd")


@_escape
def read_environment_of_a_process(aim: Aim) -> None:
    assert Path(f"/proc/{aim['process']}/environ").read_bytes()


@_escape
def read_memory_of_a_process(aim: Aim) -> None:
    start = int(Path(f"/proc/{aim['process']}/maps").read_text().partition("-")[0], 16)
    with Path(f"/proc/{aim['process']}/mem").open("r+b", buffering=0) as memory:
        memory.seek(start)
        assert memory.read(4) == b"\x7fELF"


@_escape
def empty_a_file_by_its_path(aim: Aim) -> None:
    os.truncate(aim["victim"], 0)


@_escape
def empty_a_file_as_a_reader(aim: Aim) -> None:
    os.close(os.open(aim["victim"], os.O_RDONLY | os.O_TRUNC))


@_escape
def change_a_mode(aim: Aim) -> None:
    Path(aim["victim"]).chmod(0o777)


@_escape
def change_a_time(aim: Aim) -> None:
    os.utime(aim["victim"], (1, 1))


@_escape
def set_flags_of_a_file(aim: Aim) -> None:
    # As they are. "Immutable" is one of them, and nobody could remove its folder any more.
    own = os.open("tmp", os.O_RDONLY)
    flags = fcntl.ioctl(own, _GET_FLAGS, bytes(4))
    fcntl.ioctl(own, _SET_FLAGS, flags)


@_escape
def connect_by_tcp(aim: Aim) -> None:
    socket.create_connection(("127.0.0.1", aim["port"]), timeout=10).close()


@_escape
def send_by_udp(aim: Aim) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"told", ("127.0.0.1", aim["port"]))


@_escape
def connect_to_a_unix_socket(aim: Aim) -> None:
    with socket.socket(socket.AF_UNIX) as mine:
        mine.connect(aim["socket"])


@_escape
def make_a_pair_of_sockets(aim: Aim) -> None:
    for end in socket.socketpair():
        end.close()


@_escape
def execute(aim: Aim) -> None:
    os.dup2(WRITE_FD, 1)
    os.execv("/bin/sh", ["sh", "-c", """echo '{"worked": true}'"""])


@_escape
def fork(aim: Aim) -> None:
    if not (process := os.fork()):
        os._exit(0)
    os.waitpid(process, 0)


@_escape
def spawn(aim: Aim) -> None:
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)


@_escape
def become_a_daemon(aim: Aim) -> None:
    if not (process := os.fork()):
        os.setsid()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


@_escape
def outlive_the_parent(aim: Aim) -> None:
    _checked(ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, 0))


@_escape
def set_its_user(aim: Aim) -> None:
    # To what it is. Another one makes the kernel forget whose death this process dies of.
    os.setresuid(*os.getresuid())


@_escape
def signal_the_parent(aim: Aim) -> None:
    os.kill(os.getppid(), signal.SIGUSR1)


@_escape
def signal_a_thread_of_the_parent(aim: Aim) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    _checked(library.tgkill(os.getppid(), os.getppid(), int(signal.SIGUSR1)))


@_escape
def signal_by_owning_a_pipe(aim: Aim) -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(reader, _F_SETSIG, int(signal.SIGUSR1))
    fcntl.fcntl(reader, fcntl.F_SETOWN, os.getppid())
    fcntl.fcntl(reader, fcntl.F_SETFL, os.O_ASYNC)
    os.write(writer, b"!")


@_escape
def change_limits_of_the_parent(aim: Aim) -> None:
    now = resource.getrlimit(resource.RLIMIT_CORE)
    resource.prlimit(os.getppid(), resource.RLIMIT_CORE, now)


@_escape
def set_own_limits(aim: Aim) -> None:
    # Root could lift them, too; anybody may set them as they are.
    now = resource.getrlimit(resource.RLIMIT_AS)
    try:
        resource.setrlimit(resource.RLIMIT_AS, now)
    except ValueError as refused:
        # Python's word for EPERM.
        raise PermissionError(errno.EPERM, str(refused)) from None


@_escape
def change_priority_of_the_parent(aim: Aim) -> None:
    os.setpriority(os.PRIO_PROCESS, os.getppid(), os.getpriority(os.PRIO_PROCESS, os.getppid()))


@_escape
def pin_the_parent(aim: Aim) -> None:
    os.sched_setaffinity(os.getppid(), os.sched_getaffinity(os.getppid()))


@_escape
def trace_a_process(aim: Aim) -> None:
    trace = ctypes.CDLL(None, use_errno=True).ptrace
    _checked(trace(_PTRACE_SEIZE, ctypes.c_long(aim["process"]), None, None))


@_escape
def read_memory_by_call(aim: Aim) -> None:
    local = ctypes.create_string_buffer(8)
    mine = (ctypes.c_void_p * 2)(ctypes.addressof(local), 8)
    theirs = (ctypes.c_void_p * 2)(aim["address"], 8)
    read = ctypes.CDLL(None, use_errno=True).process_vm_readv
    one, none = ctypes.c_ulong(1), ctypes.c_ulong(0)
    _checked(read(aim["process"], mine, one, theirs, one, none))
    assert local.raw == b"secret!\0"


@_escape
def ask_for_a_personality(aim: Aim) -> None:
    _checked(ctypes.CDLL(None, use_errno=True).personality(ctypes.c_ulong(_NOTHING_CHANGED)))


@_escape
def share_memory_by_key(aim: Aim) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    made = _checked(library.shmget(0, ctypes.c_size_t(4096), 0o600))
    library.shmctl(made, 0, None)


@_escape
def hold_memory_as_a_file(aim: Aim) -> None:
    held = os.memfd_create("held")
    os.write(held, bytes(1 << 20))
    os.close(held)


@_escape
def hold_memory_in_a_pipe(aim: Aim) -> None:
    reader, writer = os.pipe()
    try:
        fcntl.fcntl(writer, _F_SETPIPE_SZ, 1 << 20)
    finally:
        os.close(reader)
        os.close(writer)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
