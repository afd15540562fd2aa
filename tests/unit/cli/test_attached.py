"""Who uses a server, as files held by the kernel; the end of a process needs a real one."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.cli.attached import Users, attached

_HOLD = """
import sys
from pathlib import Path
from edgeconv.cli.attached import attached
with attached(Path(sys.argv[1])):
    print("in", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Users]:
    with closing(Users(tmp_path / "state")) as users:
        yield users


def test_a_server_ends_only_when_the_last_user_has_left(server: Users, tmp_path: Path) -> None:
    with attached(tmp_path / "state"):
        with attached(tmp_path / "state") as second:
            assert not server.shut_out()
            second.leave()
            assert second.may_join()
        assert not server.shut_out()
    assert server.shut_out()


def test_whoever_comes_while_it_ends_waits_for_the_end(server: Users, tmp_path: Path) -> None:
    assert server.shut_out()
    with closing(Users(tmp_path / "state")) as late:
        assert not late.may_join()
        with pytest.raises(EdgeconvError, match="does not come to its end") as caught:
            late.join(limit_s=0.1)
        assert caught.value.reason is Reason.STATE_LOCKED
        server.leave()
        late.join(limit_s=10)
        assert not server.shut_out()


def test_a_user_that_is_killed_has_left(server: Users, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _HOLD, str(tmp_path / "state")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as user:
        assert user.stdout is not None
        assert user.stdout.readline() == b"in\n"
        assert not server.shut_out()
        user.send_signal(signal.SIGKILL)
        user.wait()
    assert server.shut_out()


def test_its_file_is_for_its_owner_only(server: Users, tmp_path: Path) -> None:
    assert (tmp_path / "state" / "users").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
