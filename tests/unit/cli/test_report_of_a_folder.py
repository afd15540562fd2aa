"""`edgeconv jobs report` of what lies on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeconv.cli.main import main
from edgeconv.cli.output_folder import RESULT, write_report
from edgeconv.results.job import JobResult


@pytest.mark.parametrize("inside", ["", RESULT])
def test_a_folder_stands_for_the_result_in_it(tmp_path: Path, inside: str) -> None:
    job = JobResult(
        name="conversions/abc", model_version="models/m/versions/1", state="succeeded", variants=()
    )
    write_report(job, tmp_path)
    words = ["jobs", "report", str(tmp_path / inside), "--form", "markdown"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.stderr
    assert "models/m/versions/1: done" in done.stdout
