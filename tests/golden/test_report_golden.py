"""Every form of the report of one fixed result.

`EDGECONV_UPDATE_GOLDEN=1` writes the files anew; look at the difference before you commit.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeconv.report.html import render_html
from edgeconv.report.junit import render_junit
from edgeconv.report.markdown import render_markdown
from edgeconv.report.table import render_text
from edgeconv.results.job import JobResult

_HERE = Path(__file__).parent


@pytest.mark.parametrize(
    ("file", "render"),
    [
        ("report.txt", render_text),
        ("report.md", render_markdown),
        ("report.xml", render_junit),
        ("report.html", render_html),
    ],
)
def test_report(file: str, render: Callable[[JobResult], str]) -> None:
    text = render(JobResult.model_validate_json((_HERE / "job_result.json").read_text()))
    golden = _HERE / file
    if os.environ.get("EDGECONV_UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()
