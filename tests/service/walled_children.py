"""Entry points of job children for tests of what they may touch."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from edgeconv.sandbox.channel import Channel


def spoil_inputs(channel: Channel) -> None:
    """Tries to change what it was given, and to lead the next input to another place."""
    message = channel.receive()
    assert message is not None
    source = Path(message["inputs"]["source"]["folder"])
    (file,) = source.iterdir()

    def lead_away() -> None:
        source.parent.rename(source.parent.with_name("moved"))
        source.parent.symlink_to("/tmp")

    tries: dict[str, Callable[[], object]] = {
        "make writable": lambda: file.chmod(0o600),
        "write": lambda: file.write_text("spoilt"),
        "remove": file.unlink,
        "add": lambda: (source / "added").write_text("x"),
        "make a folder beside": (source.parent / "1-1").mkdir,
        "lead away": lead_away,
        "read a sibling": lambda: os.listdir(source.parents[2]),  # noqa: PTH208
    }
    worked = []
    for name, do in tries.items():
        try:
            do()
        except OSError:
            continue
        worked.append(name)
    channel.send({"done": {"facts": {"worked": worked}}})


def foresee_folders(channel: Channel) -> None:
    """Makes what may be the next step's folders, before it is asked for that step."""
    while (message := channel.receive()) is not None:
        for name in ("folder", "scratch"):
            own = Path(message[name])
            counted_on = own.with_name(own.name.replace("1", "2"))
            if counted_on != own:
                counted_on.symlink_to(own)
        channel.send({"done": {"facts": {}}})
