"""Folders whose files are not what they are called, too many, too few, or of two kinds."""

from __future__ import annotations

import bz2
import gzip
import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from random import Random

from fuzzing.odd_values import text

Files = dict[str, bytes]


def _packed(files: Files) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return made.getvalue()


def _tarred(data: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        entry = tarfile.TarInfo("model.onnx")
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return made.getvalue()


def exchanged(onnx: bytes, saved: bytes, random: Random) -> tuple[Files, str]:
    """Each format under the other's name, or under none."""
    name = random.choice(("model.pt2", "model.onnx", "model", "model.bin", "MODEL.ONNX", ".onnx"))
    data = onnx if name == "model.pt2" else random.choice((onnx, saved))
    return {name: data}, f"{name} holds {'ONNX' if data is onnx else 'a saved program'}"


def several(onnx: bytes, saved: bytes, random: Random) -> tuple[Files, str]:
    """More than one model, or none."""
    files = random.choice(({"a.onnx": onnx, "b.pt2": saved}, {"a.onnx": onnx, "b.onnx": onnx},
                           {"notes.txt": b"x", "more.txt": b"y"}, {"model.onnx": b""},
                           {"model.pt2": b""}, {"model.onnx.data": onnx}))  # fmt: skip
    return dict(files), f"{len(files)} files: {', '.join(files)}"


def wrapped(onnx: bytes, saved: bytes, random: Random) -> tuple[Files, str]:
    """A model in an archive, or compressed."""
    name = random.choice(("model.onnx", "model.pt2"))
    way, data = random.choice((
        ("zip", _packed({"model.onnx": onnx})), ("gzip", gzip.compress(onnx, mtime=0)),
        ("bz2", bz2.compress(onnx)), ("tar", _tarred(onnx)),
        ("zip in zip", _packed({"archive/models/model.json": saved})),
        ("pickle", pickle.dumps(onnx)), ("empty zip", _packed({})),
        ("base64 words", b"T05OWA==" * 20), ("NUL", bytes(4096)),
        ("JSON", b'{"models/model.json": {}}'), ("HTML", b"<html><body>404</body>"),
        ("LFS", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"),
        ("TFLite", b"\x1c\0\0\0TFL3" + onnx), ("HDF5", b"\x89HDF\r\n\x1a\n" + onnx),
        ("old checkpoint", _packed({"a/data.pkl": b"\x80\2.", "a/version": b"3"})),
        ("TorchScript", _packed({"a/data.pkl": b"\x80\2.", "a/code/__torch__.py": b"x"})),
    ))  # fmt: skip
    return {name: data}, f"{name} is {way}"


def joined(onnx: bytes, saved: bytes, random: Random) -> tuple[Files, str]:
    """One file that is two: an archive behind a model, or a model behind an archive."""
    way = random.randrange(4)
    data = (onnx + saved, saved + onnx, saved + saved, b"\x80\4" + saved)[way]
    return {random.choice(("model.onnx", "model.pt2")): data}, f"two formats in one file ({way})"


def named(onnx: bytes, saved: bytes, random: Random) -> tuple[Files, str]:
    """A file whose name is meant to do harm."""
    stem = text(random).replace("/", "_").replace("\0", "_")[:60] or "-rf"
    return {f"{stem}.onnx": onnx}, f"{stem!r}.onnx"


def of_other_readers(onnx: bytes, saved: bytes, random: Random) -> tuple[Files, str]:
    """A name by which ONNX's own reader takes another parser, over text or over a model."""
    ending = random.choice((
        "onnxtxt", "onnxtext", "textproto", "prototxt", "pbtxt", "json", "onnxjson", "ONNXTXT",
    ))  # fmt: skip
    deep = random.choice((3, 300, 50_000))
    opened = "y = If (x) <then_branch = g () => (y) {" * deep
    head = '<ir_version: 8, opset_import: ["" : 17]> g (float[N] x) => (float[N] y) {'
    way, data = random.choice((
        ("text", f"{head}{opened} y = Identity(x) {'}>' * deep}}}".encode()),
        ("text of protobuf", b"graph { node { attribute { g { " * deep),
        ("JSON", b'{"graph":' * deep), ("a model", onnx), ("a saved program", saved),
    ))  # fmt: skip
    return {f"model.{ending}": data}, f"model.{ending} is {way}, {deep} deep"


Change = Callable[[bytes, bytes, Random], tuple[Files, str]]
CHANGES: tuple[Change, ...] = (
    exchanged,
    several,
    wrapped,
    wrapped,
    joined,
    named,
    of_other_readers,
)
