"""The forms of a report, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgeconv.report.html import render_html
from edgeconv.report.junit import render_junit
from edgeconv.report.markdown import render_markdown
from edgeconv.report.table import render_text
from edgeconv.results.job import JobResult

_FORMS: Mapping[str, Callable[[JobResult], str]] = {
    "html": render_html,
    "markdown": render_markdown,
    "junit": render_junit,
    "text": render_text,
}


def render(result: JobResult, form: str) -> str:
    """A result as "html", "markdown", "junit" or "text"."""
    return _FORMS[form](result)
