"""Takes the picture of a report that stands in the README.

    python -m tools.screenshot_report demo-out/text-direction/report.html docs/report.png

Needs chromium; nothing is fetched. The height is what fits the page's first sections.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars", "--force-color-profile=srgb",
)  # fmt: skip


def screenshot(page: Path, picture: Path, *, width: int, height: int, scale: float) -> None:
    """Writes a PNG of the top of a page.

    Args:
        width: Of the window, in CSS pixels; likewise `height`.
        scale: Pixels of the picture to one CSS pixel.

    Raises:
        SystemExit: there is no chromium, or it wrote nothing.
    """
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        raise SystemExit("chromium is not installed: apt-get install chromium")
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                *(browser, *_FLAGS, f"--user-data-dir={profile}"),
                *(f"--window-size={width},{height}", f"--force-device-scale-factor={scale}"),
                *(f"--screenshot={picture.absolute()}", page.absolute().as_uri()),
            ],
            check=True,
            stderr=subprocess.DEVNULL,
            timeout=120,
        )
    if not picture.is_file():
        raise SystemExit("chromium wrote no picture")


def main() -> None:
    """Reads the arguments and writes the picture."""
    parser = argparse.ArgumentParser(prog="python -m tools.screenshot_report", description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--width", type=int, default=1160)
    parser.add_argument("--height", type=int, default=1360)
    parser.add_argument("--scale", type=float, default=1.0)
    given = parser.parse_args()
    screenshot(given.page, given.picture, width=given.width, height=given.height, scale=given.scale)


if __name__ == "__main__":
    main()
