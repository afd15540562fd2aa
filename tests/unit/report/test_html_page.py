"""The HTML page: one file, no network, nothing of a model read as markup."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeconv.report.html import figure_name, figure_text, render_html
from edgeconv.results.agreement import Agreement, OutputAgreement
from edgeconv.results.effect import Effect, Note
from edgeconv.results.job import Failure, FileResult, JobResult, StepResult, VariantResult

_GOLDEN = Path(__file__).parents[2] / "golden" / "job_result.json"


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def result() -> JobResult:
    return JobResult.model_validate_json(_GOLDEN.read_text())


def test_the_page_is_whole_and_asks_for_nothing(result: JobResult) -> None:
    text = render_html(result)
    page = _Page(text)
    assert page.open == []
    assert "script" not in page.tags
    assert "iframe" not in page.tags
    links = [value for name, value in page.attributes if name in ("src", "href", "action")]
    assert links == ["data:,"]
    assert "url(" not in text
    assert "@import" not in text
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert ("content", policy) in page.attributes


def test_it_tells_what_happened(result: JobResult) -> None:
    text = render_html(result)
    for words in (
        "12 of 14 variants verified", "removed 112 of 560 channels in 14 of 16 groups",
        "n/a (n=38)", "1.02× parent", "unstable", "Prune less, or raise `max_drop`.",
        "litert-torch==0.10.0", "macs before 38\u202f400\u202f000", "targets: [onnx, tflite]",
        result.variants[0].files[0].digest,
    ):  # fmt: skip
        assert words in text, words


def test_the_same_result_gives_the_same_bytes(result: JobResult) -> None:
    assert render_html(result) == render_html(result)


@pytest.mark.parametrize("state", ["queued", "failed", "cancelled"])
def test_a_job_with_nothing_in_it_has_a_page(state: str) -> None:
    job = JobResult.model_validate(
        {"name": "conversions/c", "model_version": "models/m/versions/1", "state": state,
         "error": {"reason": "NO_VARIANT", "message": "None was made."}}
    )  # fmt: skip
    page = _Page(render_html(job))
    assert page.open == []
    assert "svg" not in page.tags


_HOSTILE = st.sampled_from(
    ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7*7 }}", "</style>",
     "\x1b[31m", "javascript:alert(1)", "'onload='x"]
)  # fmt: skip


@settings(deadline=None, max_examples=20)
@given(_HOSTILE, _HOSTILE)
def test_hostile_names_stay_text(first: str, second: str) -> None:
    variant = VariantResult(
        name=first, recipe_variant=second, target=first, precision=second, state="failed",
        error=Failure(reason=first, message=second, fix=first), parent=second, road=first,
        files=(FileResult(name=first, digest=second, size_bytes=3, path=second),),
        effects=(Effect(step=first, summary=second, changed=1, figures={first: 1.0},
                        notes=(Note(kind="locked", subject=second, message=first),)),),
        agreement=Agreement(outputs=(OutputAgreement(output=first, bound=second, snr_db=1.0),),
                            metric=first, metric_value=0.5, reference=second, runtime=first),
        size_bytes=3,
    )  # fmt: skip
    job = JobResult(
        name=first, model_version=second, state="failed", recipe=first, variants=(variant,),
        steps=(StepResult(id=second, wall_ns=5),), toolchain={first: second},
        notes=(Note(kind="info", subject=first, message=second),),
    )  # fmt: skip
    text = render_html(job)
    page = _Page(text)
    assert page.open == []
    assert not {"script", "img"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "\x1b" not in text
    assert "49" not in text.split("<h2>How to reproduce", 1)[1]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("weights_bytes", 2048, "2 KiB"), ("wall_ns", 1.5e6, "1.50 ms"), ("channels", 1234567.0,
      "1\u202f234\u202f567"), ("snr", 38.84321, "38.84")],
)  # fmt: skip
def test_figures_have_units(name: str, value: float, words: str) -> None:
    assert figure_text(name, value) == words


def test_a_figures_name_leaves_the_unit_to_its_value() -> None:
    assert figure_name("size_before_bytes") == "size before"
    assert figure_name("delegate_parts") == "delegate parts"
