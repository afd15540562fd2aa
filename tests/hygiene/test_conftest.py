"""The shared rules of the test session itself."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    pytester.makeconftest(CONFTEST.read_text())
    pytester.makepyfile(
        test_inner="""
        import pytest

        def test_skips():
            pytest.skip("no browser")

        @pytest.mark.xfail(reason="known")
        def test_known():
            assert False
        """
    )
    return pytester


def test_a_skip_stays_a_skip(inner: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGECONV_NO_SKIP", raising=False)
    inner.runpytest_subprocess("-p", "no:anyio").assert_outcomes(skipped=1, xfailed=1)


def test_a_skip_fails_where_nothing_may_be_skipped(
    inner: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGECONV_NO_SKIP", "1")
    done = inner.runpytest_subprocess("-p", "no:anyio")
    done.assert_outcomes(failed=1, xfailed=1)
    done.stdout.fnmatch_lines(["*EDGECONV_NO_SKIP is set*no browser*", "*suites*"])
