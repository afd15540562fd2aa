"""What a pickle would import, found without unpickling it.

The opcodes are those of Python's pickletools; a file of `torch.save` is a zip archive with a
pickle in it, or several pickles one after another. Who writes a pickle with care can hide a
name from this: what is found says that a file is not what it seems, and nothing more.
"""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from collections.abc import Iterator

_LARGEST = 1 << 26
_MOST_PICKLES = 5
"""Of an old file of `torch.save`: its mark, version and system, what was saved, and the names of
its numbers. After them come the numbers themselves, which nobody unpickles."""
_UNKNOWN = "a name that is computed"
_DATA = re.compile(
    r"torch (?:\w*Storage|Size|device|dtype|layout|Tensor|Generator|b?float\w*|q?u?int\w+|bool"
    r"|complex\w+|strided|sparse_\w+|per_\w+_affine\w*|\w+_format|channels_last\w*)"
    r"|torch\.storage (?:\w*Storage|_load_from_bytes)"
    r"|torch\.serialization _get_layout"
    r"|torch\._(?:utils|tensor) _rebuild_\w+"
    r"|torch\.nn\.parameter (?:Parameter|Buffer)"
    r"|torch\._export\.serde\.serialize _reconstruct_fake_tensor"
    r"|numpy(?:\._?core\.(?:multiarray|numeric))? (?:_reconstruct|scalar|ndarray|dtype|_frombuffer)"
    r"|collections (?:OrderedDict|defaultdict)"
    r"|(?:builtins|__builtin__) (?:bool|bytearray|bytes|complex|dict|float|frozenset|int|list"
    r"|object|range|set|slice|str|tuple)"
    r"|_codecs encode|copyreg _reconstructor"
)
_STRINGS = {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE", "BINSTRING", "STRING",
            "SHORT_BINSTRING"}  # fmt: skip
_GETS = {"GET", "BINGET", "LONG_BINGET"}
_PUTS = {"PUT", "BINPUT", "LONG_BINPUT"}


def foreign_names(saved: bytes) -> set[str]:
    """Names, "module name" each, of what is more than data among all that is imported.

    A pickle that is damaged is read as far as an unpickler would come.
    """
    found: set[str] = set()
    for pickled in _pickles(saved):
        try:
            for name in _imported(pickled):
                if not _DATA.fullmatch(name):
                    found.add(name)
        # What pickletools raises on what is no pickle.
        except (ValueError, KeyError, IndexError, OverflowError, EOFError):
            continue
    return found


def _pickles(saved: bytes) -> Iterator[io.BytesIO]:
    try:
        with zipfile.ZipFile(io.BytesIO(saved)) as archive:
            for entry in archive.infolist():
                if entry.filename.endswith(".pkl"):
                    with archive.open(entry) as member:
                        yield io.BytesIO(member.read(_LARGEST))
            return
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError):
        pass
    stream = io.BytesIO(saved[:_LARGEST])
    for _ in range(_MOST_PICKLES):
        if stream.tell() == len(stream.getbuffer()):
            return
        yield stream


def _imported(pickled: io.BytesIO) -> Iterator[str]:
    texts: list[str] = []
    memo: dict[object, str] = {}
    last = ""
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name in ("GLOBAL", "INST"):
            yield str(argument)
        elif opcode.name == "STACK_GLOBAL":
            yield " ".join(texts[-2:]) if len(texts) > 1 else _UNKNOWN
        elif opcode.name in ("EXT1", "EXT2", "EXT4"):
            yield _UNKNOWN
        if opcode.name in _STRINGS:
            last = str(argument)
            texts.append(last)
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = last
        elif opcode.name in _PUTS:
            memo[argument] = last
        elif opcode.name in _GETS:
            texts.append(memo.get(argument, ""))
        if opcode.name not in (*_STRINGS, "MEMOIZE", *_PUTS):
            last = ""
