"""What `doctor` looks at. Each check gives one line and what to do about it."""

from __future__ import annotations

import asyncio
import platform
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Literal

from edgeconv import __version__
from edgeconv.base.errors import EdgeconvError
from edgeconv.base.quantities import format_bytes
from edgeconv.base.writable import nearest_place, why_unwritable
from edgeconv.cli.connect import Where, client_of
from edgeconv.cli.documents import CheckDocument
from edgeconv.cli.extras import EXTRAS, missing_packages
from edgeconv.sandbox.probe import walls_here
from edgeconv.sandbox.walls import LANDLOCK, SECCOMP, Walls

GIB = 1024**3
_LEAST_FREE_BYTES, _GOOD_FREE_BYTES = GIB, 5 * GIB
_PIN = re.compile(r"^([A-Za-z0-9._-]+)\s*==\s*([^;\s]+)\s*;.*extra\s*==\s*['\"]server['\"]")


def check_all(where: Where) -> Iterator[CheckDocument]:
    """All checks, in the order in which one builds on another."""
    yield check_python(sys.version_info[:2], platform.system())
    for extra in EXTRAS:
        yield check_extra(extra, missing_packages(extra))
    yield check_pins(_requirements(), _installed_versions())
    yield from check_walls(_walls())
    yield check_lock()
    yield check_state_folder(where.state)
    yield check_disk(where.state)
    yield check_server(where)


def check_python(version: Sequence[int], system: str) -> CheckDocument:
    """Python 3.11 or newer, on Linux for the server."""
    words = f"edgeconv {__version__}, Python {version[0]}.{version[1]} on {system}"
    if tuple(version) < (3, 11):
        return _check("python", "fail", words, "Use Python 3.11 or newer.")
    if system != "Linux":
        fix = "The command line works here; server, agent and bench need Linux."
        return _check("python", "warn", words, fix)
    return _check("python", "ok", words)


def check_extra(extra: str, missing: Sequence[str]) -> CheckDocument:
    """Whether an extra is installed; absent ones are no failure: one may not need them."""
    if not missing:
        return _check(f"extra {extra}", "ok", "installed")
    fix = f"If this machine needs it: pip install 'edgeconv[{extra}]'"
    return _check(f"extra {extra}", "warn", f"missing: {', '.join(missing)}", fix)


def check_pins(requirements: Sequence[str], installed: Mapping[str, str]) -> CheckDocument:
    """The packages that make artifacts have exactly the versions that were tested.

    Args:
        requirements: As in the package's metadata.
        installed: Version by package.
    """
    pins = {match[1]: match[2] for line in requirements if (match := _PIN.match(line))}
    wrong = [
        f"{package} {installed[package]} instead of {version}"
        for package, version in sorted(pins.items())
        if package in installed and not _is_version(installed[package], version)
    ]
    present = sum(package in installed for package in pins)
    if wrong:
        fix = "Artifacts may differ. Install again: pip install 'edgeconv[server]'"
        return _check("versions", "fail", "; ".join(wrong), fix)
    if not present:
        return _check("versions", "ok", "nothing that makes artifacts is installed")
    return _check("versions", "ok", f"{present} of {len(pins)} pinned packages, all as pinned")


def check_walls(walls: Walls | EdgeconvError) -> Iterator[CheckDocument]:
    """The walls around a model's child process, and what its file could do without them.

    Args:
        walls: Those of a child that was started, or why none could be.
    """
    if isinstance(walls, EdgeconvError):
        yield _check("walls", "fail", f"no child could be started: {walls.message}", walls.fix)
        return
    for wall, stands, words in (
        (LANDLOCK, walls.landlock > 0, f"stands, version {walls.landlock} of its interface"),
        (SECCOMP, walls.seccomp, "stands"),
    ):
        missing = f"missing: {walls.reasons.get(wall, 'for no known reason')}"
        yield _check(wall.lower(), "ok" if stands else "warn", words if stands else missing)
    fix = "Read model files of people whom you trust, or use a newer kernel (Linux 5.13 or later)."
    if walls.gaps:
        yield _check("walls", "warn", walls.warning, fix)
    else:
        yield _check(
            "walls", "ok", "a model's file is read without network, in a folder of its own"
        )


def check_lock() -> CheckDocument:
    """Whether the machine's lock for measuring can be taken, and whether it is held."""
    from edgeconv.bench.lock import exclusive_lock, machine_folder

    def stop_waiting(fraction: float, words: str) -> None:
        raise BlockingIOError

    folder, held = machine_folder(), False
    try:
        with exclusive_lock(stop_waiting):
            pass
    except BlockingIOError:
        held = True
    except OSError as error:
        fix = f"Let this user open files in {str(folder)!r}."
        return _check("measuring lock", "fail", f"can't be opened: {error.strerror}", fix)
    words = "held now: a measurement or a conversion runs" if held else "free"
    return _check("measuring lock", "ok", f"{words} ({folder})")


def check_state_folder(state: Path) -> CheckDocument:
    """The state folder can be written, and by its owner only."""
    if why := why_unwritable(nearest_place(state)):
        fix = "Name another one with --state or EDGECONV_STATE, or change its owner."
        return _check("state folder", "fail", f"{state} can't be written: {why}", fix)
    if not state.exists():
        return _check("state folder", "ok", f"{state} will be made on first use")
    mode = state.stat().st_mode & 0o777
    if mode & 0o022:
        fix = f"chmod 700 {state}"
        return _check("state folder", "warn", f"{state} can be written by others", fix)
    return _check("state folder", "ok", str(state))


def check_disk(state: Path) -> CheckDocument:
    """Free space where the state folder lies."""
    place = next(path for path in (state, *state.parents) if path.exists())
    free = shutil.disk_usage(place).free
    words = f"{format_bytes(free)} free at {place}"
    if free < _LEAST_FREE_BYTES:
        return _check("disk", "fail", words, "Free some space; a conversion needs about 1 GiB.")
    if free < _GOOD_FREE_BYTES:
        return _check("disk", "warn", words, "Large models may not fit.")
    return _check("disk", "ok", words)


def check_server(where: Where) -> CheckDocument:
    """Whether the server answers, when one is named or runs here."""
    try:
        endpoint = where.find()
        if endpoint is None:
            return _check("server", "ok", "none runs here; `edgeconv up` starts one")
        with client_of(endpoint) as client:
            devices = client.list_devices()
    except EdgeconvError as error:
        return _check("server", "fail", error.message, error.fix)
    return _check("server", "ok", f"{endpoint.address} answers, {_devices(len(devices))}")


def _walls() -> Walls | EdgeconvError:
    try:
        return asyncio.run(walls_here())
    except EdgeconvError as error:
        return error


def _check(
    name: str, state: Literal["ok", "warn", "fail"], message: str, fix: str = ""
) -> CheckDocument:
    return CheckDocument(name=name, state=state, message=message, fix=fix)


def _devices(count: int) -> str:
    return "1 device" if count == 1 else f"{count} devices"


def _is_version(have: str, want: str) -> bool:
    # A local build says so after a plus: "2.13.0+cpu".
    return have.partition("+")[0] == want


def _requirements() -> list[str]:
    try:
        return metadata.requires("edgeconv") or []
    except metadata.PackageNotFoundError:
        return []


def _installed_versions() -> dict[str, str]:
    versions = {}
    for line in _requirements():
        if match := _PIN.match(line):
            try:
                versions[match[1]] = metadata.version(match[1])
            except metadata.PackageNotFoundError:
                continue
    return versions
