"""What a job's child can leave behind so that its server is led astray after the step.

`do_deed` is an entry point of children: it does what the order's options name, tells whether
the kernel let it, and says that its step is done.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgeconv.sandbox.channel import Channel

DID, REFUSED = "did", "refused"
Order = dict[str, Any]
DEEDS: dict[str, Callable[[Order], dict[str, Any] | None]] = {}
"""Name → what does it; it may give what the end is to say."""


def do_deed(channel: Channel) -> None:
    """Does a deed as a step."""
    order = channel.receive()
    assert order is not None
    said: dict[str, Any] = {}
    try:
        said = DEEDS[order["options"]["deed"]](order) or {}
        words = DID
    except OSError as error:
        words = f"{REFUSED} {error.errno}"
    channel.send({"progress": 0.0, "message": words})
    channel.send({"done": {"facts": {}, **said}})
    channel.receive()


def _deed(function: Callable[[Order], dict[str, Any] | None]) -> Callable[..., Any]:
    DEEDS[function.__name__] = function
    return function


def _outside(order: Order) -> Path:
    return Path(order["options"]["outside"])


def _swap(folder: Path, target: Path) -> None:
    folder.rename(folder.with_name(f"{folder.name}-moved"))
    folder.symlink_to(target)


@_deed
def a_link_as_its_file(order: Order) -> None:
    Path(order["folder"], "model.bin").symlink_to(order["options"]["secret"])


@_deed
def a_link_to_a_folder(order: Order) -> None:
    Path(order["folder"], "model").symlink_to(_outside(order))


@_deed
def a_hard_link_as_its_file(order: Order) -> None:
    Path(order["folder"], "model.bin").hardlink_to(order["options"]["victim"])


@_deed
def a_pipe_as_its_file(order: Order) -> None:
    os.mkfifo(Path(order["folder"], "model.bin"))


@_deed
def a_device_as_its_file(order: Order) -> None:
    zero = os.makedev(1, 5)
    os.mknod(Path(order["folder"], "model.bin"), 0o020666, zero)


@_deed
def its_folder_swapped_for_a_link(order: Order) -> None:
    _swap(Path(order["folder"]), _outside(order))


@_deed
def its_scratch_swapped_for_a_link(order: Order) -> None:
    _swap(Path(order["scratch"]), _outside(order))


@_deed
def its_home_swapped_for_a_link(order: Order) -> None:
    for name in ("home", "tmp"):
        _swap(Path(name), _outside(order))


@_deed
def links_among_what_is_removed(order: Order) -> None:
    for name in ("folder", "scratch"):
        Path(order[name], "inner").mkdir()
        Path(order[name], "inner", "link").symlink_to(_outside(order))
        Path(order[name], "inner", "file").symlink_to(order["options"]["victim"])


@_deed
def a_name_that_steers_a_terminal(order: Order) -> None:
    Path(order["folder"], "model\x1b]0;owned\x07\n.bin").write_text("x")


@_deed
def a_name_that_is_no_text(order: Order) -> None:
    Path(os.fsdecode(os.fsencode(order["folder"]) + b"/model\xff\xfe")).write_text("x")


@_deed
def huge_files_without_a_block(order: Order) -> None:
    for number in range(3):
        with Path(order["folder"], f"model{number}").open("wb") as stream:
            stream.truncate(4 << 30)


@_deed
def a_file_that_changes_after_the_end(order: Order) -> None:
    path = Path(order["folder"], "model.bin")
    path.write_bytes(bytes(1 << 22))
    stream = path.open("r+b")

    def write_on() -> None:
        while True:
            for byte in range(256):
                stream.seek(0)
                stream.write(bytes([byte]) * (1 << 16))
                stream.flush()

    threading.Thread(target=write_on, daemon=True).start()


@_deed
def blobs_of_others_as_its_files(order: Order) -> dict[str, Any]:
    blob = order["options"]["blob"]
    return {"files": [{"name": "model.bin", **blob, "parts": [blob]}]}


@_deed
def a_folder_of_others_as_its_own(order: Order) -> dict[str, Any]:
    return {"folder": str(_outside(order))}


@_deed
def an_end_that_is_none(order: Order) -> dict[str, Any]:
    return {"effect": {"step": 5}, "wall_ns": "soon"}


@_deed
def folders_beyond_any_path(order: Order) -> None:
    for _ in range(40):
        os.mkdir("d" * 200)  # noqa: PTH102
        os.chdir("d" * 200)


@_deed
def folders_that_nobody_may_list(order: Order) -> None:
    Path("tmp/hidden").mkdir()
    Path("tmp/hidden/inner").mkdir(0)
    Path(order["folder"], "hidden").mkdir(0o300)


@_deed
def a_full_disk(order: Order) -> None:
    for number in range(64):
        Path("tmp", str(number)).write_bytes(bytes(1 << 20))


@_deed
def more_files_than_it_may(order: Order) -> None:
    for number in range(3_000):
        Path("tmp", str(number)).touch()
