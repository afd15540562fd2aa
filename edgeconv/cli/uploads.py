"""Local files on their way to a server: which belong together, and what they are called."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.base.digests import digest_bundle, digest_file
from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason
from edgeconv.cli.first_look import check_first_bytes
from edgeconv.cli.names import slug
from edgeconv.results.wire import enum_word

if TYPE_CHECKING:
    from edgeconv.cli.terminal import Terminal
    from edgeconv.client.sync import Client
    from edgeconv.v1 import datasets_pb2, models_pb2

_LONGEST_NAME = 63


def model_files(model: Path, more: Sequence[Path] = ()) -> list[Path]:
    """The files of a model: itself, those given, and data files beside it that it names.

    An ONNX file names its external data by the file's name; a sibling counts when its name
    stands in the model's bytes and it has the form of a data file.

    Raises:
        EdgeconvError: FIELD_INVALID for a path that is no file, and for a data file that is a
            link out of the model's folder; MODEL_UNREADABLE for a model that is seen to be
            none at once.
    """
    for path in (model, *more):
        _check_is_file(path, "model")
    check_first_bytes(model)
    named = [] if model.suffix != ".onnx" or more else _named_beside(model)
    return [model, *more, *named]


def upload_model(
    client: Client,
    paths: Sequence[Path],
    terminal: Terminal,
    *,
    model: str | None = None,
) -> models_pb2.ModelVersion:
    """Uploads a model and waits until the server has read it.

    Args:
        paths: Its files, the main one first.
        model: "models/{model}"; by default named after the main file.

    Raises:
        EdgeconvError: why the server rejected it.
    """
    from edgeconv.cli.transfer_progress import transfer

    name = model or f"models/{slug(paths[0])}"
    with transfer(terminal, f"uploading {paths[0].name}") as progress:
        version = client.create_model_version(name, paths, progress=progress)
    terminal.say(f"Reading {paths[0].name} …", style="dim")
    return client.wait_model_version(version.name, activity=_saying(terminal))


def upload_dataset(client: Client, path: Path, terminal: Terminal) -> datasets_pb2.Dataset:
    """Uploads an npz file as a dataset named after its content; sends nothing twice.

    Raises:
        EdgeconvError: why the server rejected it; FIELD_INVALID for a path that is no file.
    """
    from edgeconv.cli.dataset_files import data_file_named
    from edgeconv.cli.transfer_progress import transfer

    name = dataset_name(path)
    try:
        with transfer(terminal, f"uploading {path.name}") as progress:
            client.create_dataset(name, path, progress=progress)
    except EdgeconvError as error:
        if error.reason is not Reason.ALREADY_EXISTS:
            raise
        # Named after its content: what is there is the same.
        present = client.get_dataset(name)
        if enum_word(present, "state") == "rejected":
            client.delete_dataset(name)
            return upload_dataset(client, path, terminal)
    with data_file_named(path):
        return client.wait_dataset(name, activity=_saying(terminal))


def _saying(terminal: Terminal) -> Callable[[str], None]:
    """Says what an inspection waits for; what else it does is soon done."""

    def say(words: str) -> None:
        if "waiting for" in words:
            terminal.say(words[:1].upper() + words[1:], style="yellow")

    return say


def dataset_name(path: Path) -> str:
    """ "datasets/{stem}-{eight digits of its digest}".

    Raises:
        EdgeconvError: FIELD_INVALID for a path that is no file.
    """
    _check_is_file(path, "data")
    digest = digest_bundle({path.name: digest_file(path)}).removeprefix("sha256:")
    return f"datasets/{slug(path)[: _LONGEST_NAME - 9]}-{digest[:8]}"


def _check_is_file(path: Path, field: str) -> None:
    if path.is_file():
        return
    there = path.exists()
    raise EdgeconvError(
        Reason.FIELD_INVALID,
        f"{str(path)!r} is no regular file." if there else f"There is no file {str(path)!r}.",
        fix="Name a file that can be read from its beginning more than once."
        if there
        else "Look at its path.",
        violations=[FieldViolation(field, "no regular file" if there else "no such file")],
        path=path,
    )


def _named_beside(model: Path) -> list[Path]:
    candidates = [path for path in sorted(model.parent.iterdir()) if _may_be_data(model, path)]
    if not candidates:
        return []
    with model.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        named = [path for path in candidates if data.find(path.name.encode()) >= 0]
    for path in named:
        _check_lies_with(model, path)
    return named


def _check_lies_with(model: Path, data: Path) -> None:
    """Refuses a link that leads elsewhere than the model itself: who unpacks an archive and
    converts what was in it must not send another file of theirs. Caches of downloads link both.
    """
    real = data.resolve()
    if real.parent in (model.parent.resolve(), model.resolve().parent):
        return
    message = f"{str(data)!r} is a link to {str(real)!r}, which does not lie with the model."
    raise EdgeconvError(
        Reason.FIELD_INVALID,
        message,
        fix="If that file holds the model's values, put it, and no link, beside the model.",
        violations=[FieldViolation("model", message)],
        path=data,
    )


def _may_be_data(model: Path, path: Path) -> bool:
    if path == model or not path.is_file():
        return False
    if path.name.startswith(f"{model.name}.") or path.name.startswith(f"{model.name}_"):
        return True
    return path.suffix in (".data", ".bin", ".weights") or path.name.endswith("_data")
