"""What all suites share: no silent skips where that is asked for, and minutes per suite."""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from edgeconv.testing.postgresql import Cluster

# Before anything imports a runtime: see "ONNX Runtime" in docs/architecture.md.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_NO_SKIP = "EDGECONV_NO_SKIP"


def pytest_configure() -> None:
    """Lets interrupts through: a shell hands them down ignored to what it runs aside.

    An example of a property that takes long on a busy machine is no failure.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    hypothesis.settings.register_profile("edgeconv", deadline=None)
    hypothesis.settings.load_profile("edgeconv")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL of these tests alone; who stops it starts it again."""
    from edgeconv.testing.postgresql import missing_programs, running_cluster

    if missing := missing_programs():
        pytest.skip(f"{', '.join(missing)} not found: PostgreSQL is not installed")
    with running_cluster() as cluster:
        yield cluster


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skip is a failure where `EDGECONV_NO_SKIP` is set, as it is in CI."""
    report = yield
    if report.skipped and os.environ.get(_NO_SKIP) and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and {_NO_SKIP} is set: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints tests and minutes for each folder of `tests`."""
    seconds: dict[str, float] = defaultdict(float)
    tests: dict[str, int] = defaultdict(int)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                suite = _suite(report.nodeid)
                seconds[suite] += report.duration
                tests[suite] += report.when == "call"
    terminalreporter.write_sep("=", "suites")
    for suite in sorted(seconds, key=lambda name: -seconds[name]):
        minutes = seconds[suite] / 60
        terminalreporter.write_line(f"{suite:<12} {tests[suite]:>5} tests {minutes:>6.1f} min")


def _suite(nodeid: str) -> str:
    parts = Path(nodeid.partition("::")[0]).parts
    return parts[1] if len(parts) > 2 else parts[0]
