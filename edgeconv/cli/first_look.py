"""What a model's first bytes tell, before anything is started for it."""

from __future__ import annotations

from pathlib import Path

from edgeconv.base.errors import EdgeconvError, Reason

_HEAD_BYTES = 512
_SPACES = frozenset("\t\n\r\f")


def check_first_bytes(path: Path) -> None:
    """Refuses a file that is empty or text; all else is for a reader of models to tell.

    A download that went wrong leaves such files: a page, or the pointer of a large file.

    Raises:
        EdgeconvError: MODEL_UNREADABLE.
    """
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    if not head:
        raise _unreadable(path, "it is empty")
    if head.startswith(b"version https://git-lfs"):
        raise _unreadable(path, "it is a pointer of Git LFS, not the file itself")
    if _is_text(head):
        raise _unreadable(path, "it is text")


def _is_text(head: bytes) -> bool:
    # A character may be cut at the end; a model has control characters among its first bytes.
    words = head.decode("utf-8", errors="ignore")
    whole = len(head) - len(words.encode()) <= 3
    return whole and all(char.isprintable() or char in _SPACES for char in words)


def _unreadable(path: Path, why: str) -> EdgeconvError:
    return EdgeconvError(
        Reason.MODEL_UNREADABLE,
        f"{path.name!r} is not a model that can be read: {why}.",
        fix="Export or download the model again.",
        file=path.name,
    )
