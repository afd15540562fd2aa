"""Writes the files of a resource into a folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.base.bundle import check_file_name
from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason
from edgeconv.base.writable import nearest_place, why_unwritable
from edgeconv.cli.documents import FilesDocument
from edgeconv.cli.folder_exchange import unwritable
from edgeconv.cli.transfer_progress import transfer

if TYPE_CHECKING:
    from edgeconv.cli.terminal import Terminal
    from edgeconv.client.sync import Client
    from edgeconv.v1.files_pb2 import File


def download_files(
    client: Client, resource: str, files: Iterable[File], out: Path, terminal: Terminal
) -> None:
    """Downloads files and prints their paths; overwrites nothing.

    Raises:
        EdgeconvError: ALREADY_EXISTS, OUTPUT_UNWRITABLE before anything is written; what the
            server refuses.
    """
    targets = {check_file_name(file.name): file for file in files}
    for name in targets:
        if (out / name).exists():
            raise EdgeconvError(
                Reason.ALREADY_EXISTS,
                f"{str(out / name)!r} exists.",
                fix="Give another folder with --out.",
                violations=[FieldViolation("out", "file exists")],
                path=out / name,
            )
    if why := why_unwritable(nearest_place(out)):
        raise unwritable(out, why, "Give another folder with --out.")
    out.mkdir(parents=True, exist_ok=True)
    for name, file in targets.items():
        with transfer(terminal, f"downloading {name}") as progress:
            client.download(resource, file, out / name, progress)
    if terminal.json:
        terminal.print_document(FilesDocument(paths=tuple(str(out / name) for name in targets)))
        return
    for name in targets:
        terminal.print(str(out / name))
