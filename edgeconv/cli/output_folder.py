"""The folder of a finished conversion: whole or not there at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeconv.base.bundle import check_file_name
from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason
from edgeconv.cli.folder_exchange import check_writable, exchanged_at_the_end, unwritable
from edgeconv.results.job import FileResult, JobResult, VariantResult

if TYPE_CHECKING:
    from edgeconv.cli.terminal import Terminal
    from edgeconv.client.sync import Client

RESULT = "result.json"
REPORT = "report.html"
FAILED = "failed"
"""The folder of the artifacts that were made and do not agree with their source."""


def source_path(model: Path, out: Path) -> str:
    """A model's file as a path from the folder of its result: they may be moved together."""
    return os.path.relpath(model.absolute(), out.absolute())


def check_replaceable(out: Path, *, source: str = "", job: str = "") -> None:
    """Refuses a folder that can't be written, or holds more than an earlier result of the source.

    Args:
        source: The file to convert, as `source_path` gives it; "" where none is known.
        job: The conversion, where there is one already: its own result may be replaced.

    Raises:
        EdgeconvError: ALREADY_EXISTS, naming the first file that no conversion wrote, or
            what the earlier result was made from, or that `out` is no folder;
            OUTPUT_UNWRITABLE.
    """
    if not out.exists() and not out.is_symlink():
        check_writable(out)
        return
    if not out.is_dir():
        raise _no_folder(out)
    earlier = _earlier_result(out)
    ours = _written_with(earlier) if earlier else frozenset()
    if foreign := next((path for path in _entries(out) if path not in ours), None):
        raise _occupied(out, foreign)
    if earlier and earlier.name != job and (not source or earlier.source != source):
        wanted = _shown(out, source) if source else job
        raise _of_another(out, earlier, wanted)
    check_writable(out)


def write_job(client: Client, result: JobResult, out: Path, terminal: Terminal) -> JobResult:
    """Downloads all artifacts and writes them with the result and the report into `out`.

    Returns:
        The result with the paths of its files, relative to `out`.

    Raises:
        EdgeconvError: ALREADY_EXISTS; what the server refuses; OUTPUT_UNWRITABLE, with the
            command that fetches the result again. Then `out` is as it was.
    """
    check_replaceable(out, source=result.source, job=result.name)
    try:
        earlier = _earlier_result(out)
        ours = _written_with(earlier) if earlier else frozenset()
        with exchanged_at_the_end(out, ours, last=RESULT) as folder:
            variants = tuple(
                _download(client, result.name, variant, folder, terminal)
                for variant in result.variants
            )
            written = result.model_copy(update={"variants": variants})
            write_report(written, folder)
    except BrokenPipeError:
        # Who read the output is gone; that is no fault of the folder.
        raise
    except OSError as error:
        fix = f"`edgeconv jobs download {result.name} --out DIR` fetches the result again."
        raise unwritable(out, error.strerror or str(error), fix) from error
    return written


def write_report(result: JobResult, folder: Path) -> None:
    """Writes `result.json` and `report.html` into a folder."""
    from edgeconv.report.html import render_html

    (folder / RESULT).write_text(result.model_dump_json(indent=1) + "\n")
    (folder / REPORT).write_text(render_html(result))


def artifact_paths(variant: VariantResult) -> dict[str, str]:
    """Name of each file of an artifact → where it is written, relative to the folder.

    An artifact of one file is "{variant}.{target}"; several files refer to each other by
    name, so they keep their names in a folder of the variant's. What is not verified lies
    in a folder of its own, so that nobody takes it for good.
    """
    top = "" if variant.state == "verified" else f"{FAILED}/"
    names = [check_file_name(file.name) for file in variant.files]
    recipe_variant = check_file_name(variant.recipe_variant)
    target = check_file_name(variant.target)
    if len(names) == 1:
        return {names[0]: f"{top}{recipe_variant}.{target}"}
    return {name: f"{top}{recipe_variant}-{target}/{name}" for name in names}


def _download(
    client: Client, job: str, variant: VariantResult, folder: Path, terminal: Terminal
) -> VariantResult:
    from edgeconv.cli.transfer_progress import transfer
    from edgeconv.v1 import files_pb2

    if not variant.files:
        return variant
    paths = artifact_paths(variant)
    files: list[FileResult] = []
    for file in variant.files:
        target = folder / paths[file.name]
        target.parent.mkdir(parents=True, exist_ok=True)
        wanted = files_pb2.File(name=file.name, digest=file.digest, size_bytes=file.size_bytes)
        with transfer(terminal, f"downloading {paths[file.name]}") as progress:
            client.download(f"{job}/variants/{variant.name}", wanted, target, progress)
        files.append(file.model_copy(update={"path": paths[file.name]}))
    path = files[0].path if len(files) == 1 else str(Path(files[0].path).parent)
    return variant.model_copy(update={"files": tuple(files), "path": path})


def _entries(out: Path) -> Iterator[str]:
    """Everything in a folder but its folders, relative to it. Only what is asked for is read:
    the folder may be a whole disk."""
    for top, folders, files in os.walk(out):
        folders.sort()
        links = [name for name in folders if Path(top, name).is_symlink()]
        for name in sorted([*files, *links]):
            yield str(Path(top, name).relative_to(out))


def _earlier_result(out: Path) -> JobResult | None:
    try:
        return JobResult.model_validate_json((out / RESULT).read_bytes())
    except (OSError, ValueError):
        return None


def _written_with(result: JobResult) -> frozenset[str]:
    paths = {file.path for variant in result.variants for file in variant.files if file.path}
    return frozenset({RESULT, REPORT, *paths})


def _shown(out: Path, source: str) -> str:
    """A source as a path from the current folder."""
    return os.path.relpath(out / source)


def _of_another(out: Path, earlier: JobResult, wanted: str) -> EdgeconvError:
    made_from = _shown(out, earlier.source) if earlier.source else earlier.name
    return _refused(
        out,
        f"holds the result of {made_from!r}; that of {wanted!r} does not replace it",
        "Give another folder with --out, or delete this one.",
        source=made_from,
    )


def _occupied(out: Path, name: str) -> EdgeconvError:
    return _refused(
        out,
        f"holds {name!r}, which an earlier conversion did not write",
        "Give another folder with --out, or empty this one.",
    )


def _no_folder(out: Path) -> EdgeconvError:
    kind = "a link to nothing" if not out.exists() else "a file"
    return _refused(out, f"is {kind}, not a folder", "Give a folder with --out.")


def _refused(out: Path, why: str, fix: str, **metadata: Any) -> EdgeconvError:
    return EdgeconvError(
        Reason.ALREADY_EXISTS,
        f"{str(out)!r} {why}.",
        fix=fix,
        violations=[FieldViolation("out", why)],
        out=out,
        **metadata,
    )
