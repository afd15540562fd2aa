"""Where `--server` or its variable names no server."""

from __future__ import annotations

import time

import pytest
from click.testing import CliRunner

from edgeconv.cli.main import main


@pytest.mark.parametrize(
    ("words", "environment", "told"),
    [
        (["--server", "localhost"], {}, "--server 'localhost' does not have the form host:port."),
        ([], {"EDGECONV_SERVER": "nonsense"}, "$EDGECONV_SERVER 'nonsense' does not have the form"),
        (["--server", "http://a:1"], {"EDGECONV_SERVER": "a:1"}, "--server 'http://a:1' does not"),
    ],
)
def test_what_is_no_address_is_refused_at_once(
    words: list[str], environment: dict[str, str], told: str
) -> None:
    begun = time.monotonic()
    done = CliRunner().invoke(main, ["devices", "list", *words], env=environment)
    assert (done.exit_code, done.stdout) == (3, "")
    assert told in done.stderr
    # A call that waits for an answer takes ten.
    assert time.monotonic() - begun < 5
