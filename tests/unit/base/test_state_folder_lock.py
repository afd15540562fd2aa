"""What stands in the lock of a state folder, and where its things lie."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from edgeconv.base.state_folder import StateFolder, locked


def test_the_lock_names_this_process_alone_whatever_stood_in_it(tmp_path: Path) -> None:
    lock = StateFolder(tmp_path).lock
    lock.write_text("99999999999999")
    with locked(tmp_path):
        assert lock.read_text() == str(os.getpid())


def test_nobody_else_can_read_or_hold_the_lock(tmp_path: Path) -> None:
    state = tmp_path / "new" / "state"
    with locked(state) as folder:
        assert stat.S_IMODE(folder.lock.stat().st_mode) == 0o600
        assert stat.S_IMODE(state.stat().st_mode) == 0o700


def test_things_lie_where_the_module_says(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    found = {
        "server.json": folder.endpoint, "token": folder.token, "lock": folder.lock,
        "edgeconv.db": folder.database, "blobs": folder.blobs, "scratch": folder.scratch,
        "agent": folder.agent,
    }  # fmt: skip
    assert {name: path.relative_to(tmp_path).as_posix() for name, path in found.items()} == {
        name: name for name in found
    }
