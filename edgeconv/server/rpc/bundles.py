"""Files that a call names: checked against what was sent before."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from edgeconv.base.bundle import check_file_name
from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason
from edgeconv.server.blobs.blobs import MAX_PART_BYTES, MIN_PART_BYTES, Blobs
from edgeconv.server.records import FileRecord, Files, PartRecord
from edgeconv.server.rpc.fields import PRINCIPAL, check_digest, refuse
from edgeconv.server.store.store import Store
from edgeconv.v1 import files_pb2

MAX_FILES = 64
MAX_PARTS = 4096


async def accept_files(store: Store, blobs: Blobs, files: Sequence[files_pb2.File]) -> Files:
    """The files of a new bundle, sorted by name.

    Raises:
        EdgeconvError: FIELD_INVALID, PART_MISSING, DIGEST_MISMATCH.
    """
    if len(files) > MAX_FILES:
        raise refuse("files", f"there are {len(files)}; {MAX_FILES} are allowed")
    accepted = tuple(_file(file, f"files[{place}]") for place, file in enumerate(files))
    names = [file.name for file in accepted]
    if len(set(names)) < len(names):
        raise refuse("files", "two files have one name")
    await _check_sent(store, blobs, accepted)
    for place, file in enumerate(accepted):
        found = await blobs.digest_of(file)
        if found != file.digest:
            message = f"the parts of {file.name!r} make {found}, not {file.digest}"
            raise EdgeconvError(
                Reason.DIGEST_MISMATCH,
                f"files[{place}].digest: {message}.",
                fix="Read the file again and name the digest of what was sent.",
                violations=[FieldViolation(f"files[{place}].digest", message)],
                file=file.name,
            )
    return tuple(sorted(accepted, key=lambda file: file.name))


def check_part(part: files_pb2.Part, field: str) -> PartRecord:
    """A part within its limits.

    Raises:
        EdgeconvError: FIELD_INVALID.
    """
    check_digest(part.digest, f"{field}.digest")
    if not 1 <= part.size_bytes <= MAX_PART_BYTES:
        message = f"{part.size_bytes} is not within 1 to {MAX_PART_BYTES} (32 MiB)"
        raise refuse(f"{field}.size_bytes", message)
    return PartRecord(digest=part.digest, size_bytes=part.size_bytes)


def _file(file: files_pb2.File, field: str) -> FileRecord:
    try:
        check_file_name(file.name)
    except EdgeconvError as error:
        raise refuse(f"{field}.name", error.message.rstrip("."), fix=error.fix) from error
    check_digest(file.digest, f"{field}.digest")
    if len(file.parts) > MAX_PARTS:
        raise refuse(f"{field}.parts", f"there are {len(file.parts)}; {MAX_PARTS} are allowed")
    parts = tuple(
        check_part(part, f"{field}.parts[{place}]") for place, part in enumerate(file.parts)
    )
    for place, part in enumerate(parts[:-1]):
        if part.size_bytes < MIN_PART_BYTES:
            message = f"every part but the last has at least {MIN_PART_BYTES} bytes (8 MiB)"
            raise refuse(f"{field}.parts[{place}].size_bytes", message)
    whole = sum(part.size_bytes for part in parts)
    if whole != file.size_bytes:
        raise refuse(f"{field}.size_bytes", f"the parts have {whole} bytes, not {file.size_bytes}")
    return FileRecord(name=file.name, digest=file.digest, size_bytes=file.size_bytes, parts=parts)


async def _check_sent(store: Store, blobs: Blobs, files: Iterable[FileRecord]) -> None:
    parts = [
        (f"files[{i}].parts[{j}]", file.name, part)
        for i, file in enumerate(files)
        for j, part in enumerate(file.parts)
    ]
    sizes = await store.senders.sizes(PRINCIPAL.get(), [part.digest for _, _, part in parts])
    await store.retention.touch(sizes)
    held = await asyncio.to_thread(lambda: {each for each in sizes if blobs.holds(each)})
    violations = []
    for field, name, part in parts:
        if part.digest not in sizes:
            message = f"{part.digest} of {name!r} was not sent"
            violations.append(FieldViolation(f"{field}.digest", message))
        elif part.digest not in held:
            message = f"{part.digest} of {name!r} was sent and is not kept any more"
            violations.append(FieldViolation(f"{field}.digest", message))
        elif sizes[part.digest] != part.size_bytes:
            message = f"{part.digest} has {sizes[part.digest]} bytes, not {part.size_bytes}"
            raise refuse(f"{field}.size_bytes", message)
    if violations:
        raise EdgeconvError(
            Reason.PART_MISSING,
            f"{len(violations)} of {len(parts)} parts are not here,"
            f" the first one: {violations[0].message}.",
            fix="Ask FindMissingParts, send them by UploadPart, and call again.",
            violations=violations[:20],
        )
