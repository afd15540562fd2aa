"""The filter of system calls, run by an interpreter of its own for both architectures."""

from __future__ import annotations

import errno
import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.sandbox.seccomp import ARCHITECTURES, Architecture, program
from edgeconv.sandbox.system_calls import ABSENT, BY_ARGUMENT, DENIED, LAST_KNOWN

ALLOW, KILL = 0x7FFF0000, 0x80000000
EPERM, ENOSYS = 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
PID = 4321
I386 = 0x40000003
X32_BIT = 0x40000000
CLONE_THREAD, CLONE_FILES, CLONE_VM = 0x10000, 0x400, 0x100
O_WRONLY, O_CREAT, O_TRUNC, O_CLOEXEC = 0o1, 0o100, 0o1000, 0o2000000

HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
ALL = {**DENIED, **ABSENT, **BY_ARGUMENT}

machines = pytest.mark.parametrize("machine", ARCHITECTURES.values(), ids=ARCHITECTURES)


def answer(machine: Architecture, number: int, *arguments: int, audit: int = 0) -> int:
    """What the filter says to a call, as the kernel would run it."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<IIQ6Q", number, audit or machine.audit, 0, *padded)
    instructions = program(machine, PID)
    held = place = 0
    while True:
        code, if_true, if_false, operand = instructions[place]
        place += 1
        match code:
            case 0x06:
                return operand
            case 0x20:
                (held,) = struct.unpack_from("<I", data, operand)
            case 0x54:
                held &= operand
            case 0x15 | 0x35 | 0x45:
                true = {0x15: held == operand, 0x35: held >= operand, 0x45: held & operand != 0}
                place += if_true if true[code] else if_false
            case _:
                raise AssertionError(f"no such instruction: {code:#x}")


def call(machine: Architecture, name: str, *arguments: int) -> int | None:
    """The same by name; None where the architecture has no such call."""
    number = ALL[name][machine.column]
    return None if number is None else answer(machine, number, *arguments)


@machines
def test_what_is_denied_is_denied_whatever_its_arguments(machine: Architecture) -> None:
    for name in DENIED:
        assert call(machine, name, 2**64 - 1, 1, 2) in (EPERM, None)
    for name in ABSENT:
        assert call(machine, name) == ENOSYS


@machines
@given(number=st.integers(0, LAST_KNOWN))
def test_what_is_not_named_is_allowed(machine: Architecture, number: int) -> None:
    named = {numbers[machine.column] for numbers in ALL.values()}
    assert answer(machine, number) == ALLOW or number in named


@machines
@given(number=st.integers(LAST_KNOWN + 1, 2**32 - 1))
def test_later_calls_and_those_of_x32_are_not_there(machine: Architecture, number: int) -> None:
    assert answer(machine, number) == ENOSYS
    assert answer(machine, X32_BIT | number % LAST_KNOWN) == ENOSYS


@machines
def test_calls_of_another_architecture_end_the_process(machine: Architecture) -> None:
    assert answer(machine, 1, audit=I386) == KILL
    (other,) = (each for each in ARCHITECTURES.values() if each != machine)
    assert answer(machine, 1, audit=other.audit) == KILL


@machines
def test_threads_are_made_and_processes_are_not(machine: Architecture) -> None:
    assert call(machine, "clone", CLONE_THREAD | CLONE_FILES | CLONE_VM) == ALLOW
    assert call(machine, "clone", CLONE_VM | CLONE_FILES | 17) == EPERM


@machines
def test_its_parent_sees_what_it_holds_open(machine: Architecture) -> None:
    assert call(machine, "clone", CLONE_THREAD | CLONE_VM) == EPERM
    assert call(machine, "prctl", 4, 0) == EPERM
    for flags, expected in ((0, ALLOW), (4, ALLOW), (2, EPERM), (6, EPERM)):
        assert call(machine, "close_range", 3, 9, flags) == expected


@machines
@pytest.mark.parametrize("name", ["kill", "tgkill"])
def test_signals_go_to_itself_only(machine: Architecture, name: str) -> None:
    assert call(machine, name, PID) == ALLOW
    for other in (1, PID + 1, 0, 2**32 - 1, 2**64 - 1):
        assert call(machine, name, other) == EPERM


@machines
def test_limits_are_read_and_not_set(machine: Architecture) -> None:
    assert call(machine, "prlimit64", 0, 9, 0, 1) == ALLOW
    for pointer in (1, 2**32, 2**63, 2**64 - 1):
        assert call(machine, "prlimit64", 0, 9, pointer) == EPERM


@machines
@pytest.mark.parametrize("name", ["prlimit64", "sched_setaffinity"])
def test_limits_are_its_own_only(machine: Architecture, name: str) -> None:
    assert call(machine, name, 0) == call(machine, name, PID) == ALLOW
    assert call(machine, name, PID + 1) == EPERM


@machines
def test_files_are_opened_but_not_emptied_by_readers(machine: Architecture) -> None:
    for flags in (0, O_CLOEXEC, O_WRONLY | O_CREAT | O_TRUNC, 2 | O_TRUNC):
        assert call(machine, "openat", 0, 0, flags) == ALLOW
        assert call(machine, "open", 0, flags) in (ALLOW, None)
    for flags in (O_TRUNC, O_TRUNC | O_CLOEXEC | O_CREAT):
        assert call(machine, "openat", 0, 0, flags) == EPERM
        assert call(machine, "open", 0, flags) in (EPERM, None)


@machines
def test_it_keeps_its_parents_leash_and_neither_owns_nor_widens_a_pipe(
    machine: Architecture,
) -> None:
    assert call(machine, "prctl", 1, 0) == EPERM
    assert call(machine, "prctl", 15) == ALLOW
    for command, expected in ((1, ALLOW), (8, EPERM), (10, EPERM), (15, EPERM), (1031, EPERM)):
        assert call(machine, "fcntl", 3, command) == expected
    for command, expected in ((0x5401, ALLOW), (0x5412, EPERM), (0x8901, EPERM)):
        assert call(machine, "ioctl", 3, command) == expected


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_the_numbers_are_the_kernels(machine: str) -> None:
    header = HEADERS[machine]
    if not header.exists():
        pytest.skip(f"{header} is not installed")
    known: dict[str, int] = {}
    for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text()):
        known.setdefault(name, int(number))
    column = ARCHITECTURES[machine].column
    for name, numbers in ALL.items():
        # The header may be older than the table.
        if name in known or numbers[column] is None or numbers[column] <= max(known.values()):
            assert numbers[column] == known.get(name), name
    assert ARCHITECTURES[machine].seccomp == known["seccomp"]
