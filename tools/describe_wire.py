"""The wire's services and messages with their comments, as Markdown, from the protos."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import google.rpc.status_pb2 as status_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parent.parent / "protos"
_SERVICE, _METHOD, _MESSAGE, _FIELD, _ENUM, _VALUE = 6, 2, 4, 2, 5, 2
"""Field numbers of descriptor.proto, out of which the paths of comments are made."""


def describe() -> str:
    """A section a file: services with their calls, then messages and enums."""
    lines: list[str] = []
    for file in _files(PROTOS):
        lines += [f"## {Path(file.name).name}", ""]
        lines += _describe_file(file)
    return "\n".join(lines)


def uncommented(protos: Path = PROTOS) -> list[str]:
    """Messages, fields, enums, values, services and calls without a comment."""
    missing = []
    for file in _files(protos):
        comments = _comments(file)
        missing += [name for name, path in _named(file) if not comments.get(path)]
    return missing


def _files(folder: Path) -> list[FileDescriptorProto]:
    protos = sorted((folder / "edgeconv" / "v1").glob("*.proto"))
    includes = [
        folder,
        Path(status_pb2.__file__).parent.parent.parent,
        Path(protoc.__file__).parent / "_proto",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "descriptors"
        options = [f"-I{path}" for path in includes]
        options += [f"--descriptor_set_out={out}", "--include_source_info"]
        if protoc.main(["protoc", *options, *map(str, protos)]):
            raise SystemExit("protoc failed")
        return list(FileDescriptorSet.FromString(out.read_bytes()).file)


def _comments(file: FileDescriptorProto) -> dict[tuple[int, ...], str]:
    return {
        tuple(place.path): " ".join(place.leading_comments.split())
        for place in file.source_code_info.location
        if place.leading_comments.strip()
    }


def _named(file: FileDescriptorProto) -> Iterator[tuple[str, tuple[int, ...]]]:
    for i, service in enumerate(file.service):
        yield service.name, (_SERVICE, i)
        for j, call in enumerate(service.method):
            yield f"{service.name}.{call.name}", (_SERVICE, i, _METHOD, j)
    for i, enum in enumerate(file.enum_type):
        yield enum.name, (_ENUM, i)
        for j, value in enumerate(enum.value):
            yield f"{enum.name}.{value.name}", (_ENUM, i, _VALUE, j)
    for i, message in enumerate(file.message_type):
        yield message.name, (_MESSAGE, i)
        for j, field in enumerate(message.field):
            yield f"{message.name}.{field.name}", (_MESSAGE, i, _FIELD, j)


def _describe_file(file: FileDescriptorProto) -> Iterator[str]:
    comments = _comments(file)
    for i, service in enumerate(file.service):
        yield from (f"### {service.name}", "", comments.get((_SERVICE, i), ""), "")
        yield from ("| call | takes | gives | |", "|---|---|---|---|")
        for j, call in enumerate(service.method):
            takes = _stream(call.client_streaming) + _short(call.input_type)
            gives = _stream(call.server_streaming) + _short(call.output_type)
            words = comments.get((_SERVICE, i, _METHOD, j), "")
            yield f"| `{call.name}` | {takes} | {gives} | {escape(words)} |"
        yield ""
    for i, message in enumerate(file.message_type):
        yield from (f"### {message.name}", "", comments.get((_MESSAGE, i), ""), "")
        yield from _describe_fields(message, i, comments)
    for i, enum in enumerate(file.enum_type):
        yield from (f"### {enum.name}", "", comments.get((_ENUM, i), ""), "")
        yield from ("| value | |", "|---|---|")
        for j, value in enumerate(enum.value):
            words = comments.get((_ENUM, i, _VALUE, j), "")
            yield f"| `{value.name}` | {escape(words)} |"
        yield ""


def _describe_fields(
    message: DescriptorProto, index: int, comments: dict[tuple[int, ...], str]
) -> Iterator[str]:
    if not message.field:
        return
    yield from ("| field | type | |", "|---|---|---|")
    maps = [nested for nested in message.nested_type if nested.options.map_entry]
    for j, field in enumerate(message.field):
        words = comments.get((_MESSAGE, index, _FIELD, j), "")
        yield f"| `{field.name}` | {_type(field, maps)} | {escape(words)} |"
    yield ""


def _type(field: FieldDescriptorProto, maps: Sequence[DescriptorProto]) -> str:
    for entry in maps:
        if field.type_name.endswith(f".{entry.name}"):
            key, value = (_type(part, ()) for part in entry.field)
            return f"map of {key} to {value}"
    name = _short(field.type_name)
    if not name:
        name = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    repeated = field.label == FieldDescriptorProto.LABEL_REPEATED
    return f"repeated {name}" if repeated else name


def _short(type_name: str) -> str:
    return type_name.removeprefix(".edgeconv.v1.").removeprefix(".")


def _stream(streaming: bool) -> str:
    return "stream of " if streaming else ""


def escape(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("<", "&lt;")
