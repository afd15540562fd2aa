"""The report in a real browser without any network: no error, no request, both themes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from edgeconv.report.html import render_html
from edgeconv.results.job import JobResult

_RESULT = Path(__file__).parents[1] / "golden" / "job_result.json"
_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars", "--enable-logging=stderr", "--log-level=0", "--window-size=1160,1600",
)  # fmt: skip

pytestmark = pytest.mark.skipif(_CHROMIUM is None, reason="there is no chromium")


def _open(page: Path, folder: Path, *flags: str) -> str:
    """Opens a page and gives what the browser logged, the page's console in it."""
    command = [
        *((str(_CHROMIUM), *_FLAGS, *flags)),
        f"--user-data-dir={folder / 'profile'}",
        f"--screenshot={folder / 'page.png'}",
        f"--log-net-log={folder / 'net.json'}",
        page.as_uri(),
    ]
    environment = {**os.environ, "HOME": str(folder)}
    done = subprocess.run(
        command, env=environment, stderr=subprocess.PIPE, text=True, timeout=120, check=True
    )
    shutil.rmtree(folder / "profile", ignore_errors=True)
    return done.stderr


def _console(log: str) -> list[str]:
    return [line for line in log.splitlines() if "CONSOLE" in line]


def _requests(folder: Path) -> set[str]:
    """Every address that the page asked for; the browser's own errands left out."""
    log: dict[str, Any] = json.loads((folder / "net.json").read_text())
    kinds = {number: name for name, number in log["constants"]["logSourceType"].items()}
    found = set()
    for event in log["events"]:
        url = event.get("params", {}).get("url")
        if url and kinds[event["source"]["type"]] == "URL_REQUEST":
            found.add(str(url))
    return found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render_html(JobResult.model_validate_json(_RESULT.read_text())))
    return path


def test_no_error_and_no_request_leaves(page: Path, tmp_path: Path) -> None:
    log = _open(page, tmp_path)
    assert _console(log) == []
    outside = {url for url in _requests(tmp_path) if url.startswith(("http", "ws", "ftp"))}
    assert not {url for url in outside if "google" not in url and "gstatic" not in url}
    with Image.open(tmp_path / "page.png") as picture:
        colours = picture.convert("RGB").getcolors(1 << 20)
    assert picture.size == (1160, 1600)
    assert colours is not None
    assert len(colours) > 100


def test_a_page_that_does_more_is_caught(page: Path, tmp_path: Path) -> None:
    """What the tests above look at does show a script, an image and a fault."""
    loud = tmp_path / "loud.html"
    added = "<img src='http://192.0.2.1/pixel.png'><script>console.error('ran')</script></body>"
    loud.write_text(page.read_text().replace("</body>", added))
    refused = "\n".join(_console(_open(loud, tmp_path)))
    # The policy of the page stops both, and the console says so.
    assert "Content Security Policy" in refused
    assert "192.0.2.1" in refused
    assert "ran" not in refused.replace("inline script", "")
    free = tmp_path / "free.html"
    free.write_text(loud.read_text().replace("Content-Security-Policy", "X-Nothing"))
    said = _open(free, tmp_path)
    assert any("ran" in line for line in _console(said))
    assert any("192.0.2.1" in url for url in _requests(tmp_path))


@pytest.mark.parametrize(("theme", "paper"), [("light", (255, 255, 255)), ("dark", (18, 21, 27))])
def test_both_themes(page: Path, tmp_path: Path, theme: str, paper: tuple[int, int, int]) -> None:
    flags = ["--force-dark-mode", "--blink-settings=preferredColorScheme=0"]
    _open(page, tmp_path, *(flags if theme == "dark" else []))
    with Image.open(tmp_path / "page.png") as picture:
        assert picture.convert("RGB").getpixel((3, 3)) == paper
