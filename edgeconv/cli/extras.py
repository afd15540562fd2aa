"""Which extras of edgeconv are installed, told without importing them."""

from __future__ import annotations

from importlib import metadata

from edgeconv.base.errors import EdgeconvError, Reason

EXTRAS: dict[str, tuple[str, ...]] = {
    "server": ("sqlalchemy", "alembic", "obstore", "torch", "onnx", "litert-torch"),
    "ort": ("onnxruntime",),
    "tflite": ("ai-edge-litert",),
}
"""Extra → some of its packages; it counts as installed when all of them are."""


def missing_packages(extra: str) -> list[str]:
    """Those packages of an extra that are not installed."""
    return [package for package in EXTRAS[extra] if not _version(package)]


def require_extra(extra: str, what: str) -> None:
    """Raises EXTRA_MISSING with the line that installs it when the extra is not there.

    Args:
        what: What needs it, as the begin of a sentence: "A server".
    """
    if missing := missing_packages(extra):
        raise EdgeconvError(
            Reason.EXTRA_MISSING,
            f"{what} needs {', '.join(missing)}, which {_is(missing)} not installed.",
            fix=f"Install it with: pip install 'edgeconv[{extra}]'",
            extra=extra,
        )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _is(words: list[str]) -> str:
    return "is" if len(words) == 1 else "are"
