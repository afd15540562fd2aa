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
