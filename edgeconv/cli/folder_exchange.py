"""Puts a folder's new content in the place of its old one: all of it or nothing.

Where the folder can be renamed, a new one beside it takes its place. A mount point can't be
renamed; a link, and the folder that a shell stands in, must stay what they are. There the
content is exchanged inside: each name with a rename, and all go back when one fails.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason
from edgeconv.base.writable import nearest_place, why_unwritable

_INSIDE = ".edgeconv-"
_CAN_NOT_MOVE = (errno.EBUSY, errno.EXDEV)
"""A mount of a folder of the same file system looks like any folder until it is renamed; so
does one that lies in a lower layer of a container's file system."""


def check_writable(out: Path) -> None:
    """Refuses a folder, which may not be there yet, in which nothing can be written.

    Raises:
        EdgeconvError: OUTPUT_UNWRITABLE.
    """
    place = nearest_place(out if _stays(out) else out.parent)
    if why := why_unwritable(place):
        raise unwritable(out, why, "Give another folder with --out, or the right to write there.")


def check_file_writable(out: Path) -> None:
    """Refuses a file, which may not be there yet, that can't be written.

    Raises:
        EdgeconvError: OUTPUT_UNWRITABLE.
    """
    if not out.exists():
        why = why_unwritable(out.parent)
    else:
        why = "" if os.access(out, os.W_OK) else "it may not be written"
    if why:
        raise unwritable(out, why, "Give another file with --out, or the right to write there.")


def unwritable(out: Path, why: str, fix: str) -> EdgeconvError:
    """The error for a folder or file that can't be written."""
    return EdgeconvError(
        Reason.OUTPUT_UNWRITABLE,
        f"{str(out)!r} can't be written: {why}.",
        fix=fix,
        violations=[FieldViolation("out", "can't be written")],
        out=out,
    )


@contextmanager
def exchanged_at_the_end(out: Path, old: Collection[str], *, last: str) -> Iterator[Path]:
    """An empty folder whose content takes the place of that of `out` when the block ends well.

    Args:
        out: A folder, which may not be there yet.
        old: Paths of the files that make way, relative to `out`; nothing else is removed.
        last: The name that tells that the content is whole: where the names are exchanged
            one by one, the old one goes first and the new one comes last.

    Raises:
        OSError: `out` is as it was then.
    """
    inside = _stays(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    around, prefix = (out, _INSIDE) if inside else (out.parent, f".{out.name}-")
    folder = Path(tempfile.mkdtemp(dir=around, prefix=prefix))
    try:
        yield folder
        if inside:
            _exchange_inside(folder, out, old, last)
            return
        folder.chmod(0o777 & ~_umask())
        if out.exists():
            _exchange(folder, out, old, last)
        else:
            folder.rename(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _stays(out: Path) -> bool:
    """Whether a folder has to stay itself, and only its content can be exchanged."""
    if not out.is_dir():
        return False
    real, here = out.resolve(), Path.cwd().resolve()
    return (
        out.is_symlink()
        or os.path.ismount(out)
        or real == here
        or real in here.parents
        or not _may_write(out.parent)
    )


def _may_write(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK)


def _exchange(folder: Path, out: Path, old: Collection[str], last: str) -> None:
    """Puts `folder` in the place of `out`; `out` comes back when that can't be done."""
    aside = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    try:
        out.rename(aside)
        folder.rename(out)
    except BaseException as error:
        if out.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.rename(out)
        if isinstance(error, OSError) and error.errno in _CAN_NOT_MOVE:
            _exchange_copies_inside(folder, out, old, last)
            return
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _exchange_copies_inside(folder: Path, out: Path, old: Collection[str], last: str) -> None:
    copies = Path(tempfile.mkdtemp(dir=out, prefix=_INSIDE))
    try:
        shutil.copytree(folder, copies, dirs_exist_ok=True)
        _exchange_inside(copies, out, old, last)
    finally:
        shutil.rmtree(copies, ignore_errors=True)


def _exchange_inside(folder: Path, out: Path, old: Collection[str], last: str) -> None:
    """Moves the old names of `out` aside and those of `folder`, which lies in it, in."""
    aside = Path(tempfile.mkdtemp(dir=out, prefix=_INSIDE))
    tops = {Path(path).parts[0] for path in old}
    going = [name for name in [last, *sorted(tops - {last})] if name in tops]
    coming = sorted((path.name for path in folder.iterdir()), key=lambda name: (name == last, name))
    moves = [(out / name, aside / name) for name in going if (out / name).exists()]
    moves += [(folder / name, out / name) for name in coming]
    made: list[tuple[Path, Path]] = []
    try:
        for source, target in moves:
            source.rename(target)
            made.append((source, target))
    except BaseException:
        for source, target in reversed(made):
            target.rename(source)
        aside.rmdir()
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
