"""What a server logs, on a terminal and elsewhere."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest

from edgeconv.cli.service_log import log_kept

_LOG = logging.getLogger("edgeconv.server.somewhere")


class _TerminalStream(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_line_and_the_file_all_of_it(tmp_path: Path) -> None:
    stream = _TerminalStream()
    with log_kept(tmp_path / "state", stream):
        _LOG.error("the child of step %s died:\n%s", "a", "oneDNN is on\nFailed to load x.so")
        _LOG.warning("short")
        try:
            raise ValueError("inside")
        except ValueError:
            _LOG.exception("the sweep failed")
    log = tmp_path / "state" / "server.log"
    assert stream.getvalue().splitlines() == [
        f"the child of step a died; '{log}' says more.",
        "short",
        f"the sweep failed; '{log}' says more.",
    ]
    kept = log.read_text()
    for words in ("oneDNN is on\nFailed to load x.so", "WARNING", "ValueError: inside"):
        assert words in kept


@pytest.mark.parametrize("kind", [_TerminalStream, io.StringIO])
def test_what_a_child_says_can_not_act_on_a_terminal(
    tmp_path: Path, kind: type[io.StringIO]
) -> None:
    stream = kind()
    with log_kept(tmp_path / "state", stream):
        _LOG.error("first \x1b[2J\x9b31m\u202e\nsecond \x1b]0;title\x07\rgone")
        try:
            raise ValueError("\x1b[31m")
        except ValueError:
            _LOG.exception("\x1b[0m")
    log = tmp_path / "state" / "server.log"
    kept = log.read_text() if log.exists() else ""
    assert r"first \x1b[2J\x9b31m\u202e" in stream.getvalue()
    assert r"second \x1b]0;title\x07" in (kept or stream.getvalue())
    for char in (*"\x1b\x9b\u202e\x07\r",):
        assert char not in kept + stream.getvalue()


def test_afterwards_and_elsewhere_nothing_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = _TerminalStream()
    with log_kept(tmp_path, stream):
        pass
    with log_kept(tmp_path / "other", io.StringIO()):
        _LOG.error("late\nwords")
    assert stream.getvalue() == ""
    assert (tmp_path / "server.log").read_text() == ""
    assert not (tmp_path / "other").exists()
