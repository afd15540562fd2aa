"""Where a server's things lie, and how it is found."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.state_folder import (
    Endpoint,
    StateFolder,
    default_state_folder,
    ensure_token,
    locked,
    make_state_folder,
    read_endpoint,
    write_endpoint,
)


@pytest.mark.parametrize("name", ["file", "file/below", "/proc/edgeconv/state"])
def test_a_folder_that_can_not_be_is_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EdgeconvError, match=r"no folder|nothing can be written") as caught:
        make_state_folder(tmp_path / name)
    assert caught.value.reason is Reason.STATE_UNWRITABLE
    assert caught.value.exit_code == 4
    assert "EDGECONV_STATE" in caught.value.fix


def test_a_folder_is_made_for_its_owner_only(tmp_path: Path) -> None:
    make_state_folder(tmp_path / "a" / "b")
    make_state_folder(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_the_default_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/users/someone")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("EDGECONV_STATE", raising=False)
    assert default_state_folder() == Path("/users/someone/.local/state/edgeconv")
    monkeypatch.setenv("XDG_STATE_HOME", "/var/state")
    assert default_state_folder() == Path("/var/state/edgeconv")
    monkeypatch.setenv("EDGECONV_STATE", "/elsewhere")
    assert default_state_folder() == Path("/elsewhere")


def test_a_server_is_found_while_it_holds_the_lock(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with locked(state):
        assert read_endpoint(state) is None
        token = ensure_token(state)
        write_endpoint(state, "127.0.0.1:4711", version="1")
        assert read_endpoint(state) == Endpoint("127.0.0.1:4711", token)
    assert read_endpoint(state) is None


def test_what_a_killed_server_left_is_no_server(tmp_path: Path) -> None:
    with locked(tmp_path):
        ensure_token(tmp_path)
        write_endpoint(tmp_path, "127.0.0.1:4711", version="1")
        left = StateFolder(tmp_path).endpoint.read_text()
    StateFolder(tmp_path).endpoint.write_text(left)
    assert read_endpoint(tmp_path) is None
    with locked(tmp_path):
        assert read_endpoint(tmp_path) is None


def test_a_second_server_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from edgeconv.base.state_folder import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as holder:  # fmt: skip
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(EdgeconvError) as caught, locked(tmp_path):
            pass
        assert caught.value.reason is Reason.STATE_LOCKED
        assert caught.value.metadata["pid"] == str(holder.pid)
        assert "--state or EDGECONV_STATE" in caught.value.fix
        holder.kill()
    with locked(tmp_path):
        pass


def test_looking_for_a_server_does_not_keep_one_from_starting(tmp_path: Path) -> None:
    with locked(tmp_path):
        pass
    probe = os.open(StateFolder(tmp_path).lock, os.O_RDONLY)
    os.close(probe)
    assert read_endpoint(tmp_path) is None
    with locked(tmp_path):
        pass


def test_the_token_is_the_owners_alone_and_stays(tmp_path: Path) -> None:
    token = ensure_token(tmp_path)
    assert len(token) >= 32
    assert ensure_token(tmp_path) == token
    assert stat.S_IMODE(StateFolder(tmp_path).token.stat().st_mode) == 0o600


def test_the_state_folder_is_the_owners_alone(tmp_path: Path) -> None:
    with locked(tmp_path / "new" / "state") as folder:
        assert stat.S_IMODE(folder.root.stat().st_mode) == 0o700
