"""Changes to the archive of a saved program: members, their names, their headers, bombs."""

from __future__ import annotations

import io
import os
import pickle
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from random import Random

from fuzzing.odd_values import integer, text
from fuzzing.program_seeds import CONSTANTS, MODEL, SAMPLES, WEIGHTS, Members, packed

BOMB_BYTES = 1024 * 1024 * 1024
_CENTRAL, _LOCAL = b"PK\x01\x02", b"PK\x03\x04"
_NAMES = (
    "../escape", "../../etc/passwd", "/etc/passwd", "C:\\x", "data/weights/../../x", "extra/x",
    "data/weights/model.pt", "data/constants/opaque_obj_0", "data/constants/custom_obj_0",
    "data/aotinductor/model/model.so", "models/other.json", "code/x.py", "data.pkl", "",
    "extra/\x1b[2J\x07", "extra/\u202egnp.exe", "extra/" + "n" * 60_000, "data/weights/weight_٣",
)  # fmt: skip
_PICKLE = b"\x80\x04" + pickle.dumps(os.getcwd, protocol=0)

Change = Callable[[Members, Random], tuple[bytes, str]]


def missing(content: Members, random: Random) -> tuple[bytes, str]:
    """A member is not there."""
    name = random.choice(list(content))
    del content[name]
    return packed(content), f"{name} is missing"


def twice(content: Members, random: Random) -> tuple[bytes, str]:
    """A member is there twice, the second with other content."""
    name = random.choice(list(content))
    made = io.BytesIO(packed(content))
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(made, "a") as archive:
        archive.writestr(zipfile.ZipInfo(f"model/{name}"), b"{}")
    return made.getvalue(), f"{name} is there twice"


def renamed(content: Members, random: Random) -> tuple[bytes, str]:
    """A member has another name."""
    name = random.choice(list(content))
    new = random.choice((*_NAMES, text(random)[:60_000]))
    return packed({new if each == name else each: data for each, data in content.items()}), (
        f"{name} is called {new[:40]!r}"
    )


def foreign(content: Members, random: Random) -> tuple[bytes, str]:
    """A member that does not belong there."""
    name = random.choice((*_NAMES, text(random)[:60_000]))
    content[name] = random.choice((b"", b"x", _PICKLE, b"\x7fELF"))
    return packed(content), f"{name[:40]!r} is there too"


def roots(content: Members, random: Random) -> tuple[bytes, str]:
    """Members below other folders, or below none."""
    root = random.choice(("", "/", "../", "a/b/", "\0/", "model/../"))
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for place, (name, data) in enumerate(content.items()):
            own = root if place and random.random() < 0.5 else "model/"
            archive.writestr(zipfile.ZipInfo(own + name), data)
    return made.getvalue(), f"members below {root!r}"


def exchanged(content: Members, random: Random) -> tuple[bytes, str]:
    """A pickle, other JSON or nothing stands in a member's place."""
    name = random.choice((MODEL, WEIGHTS, CONSTANTS, SAMPLES, *content))
    content[name] = random.choice((
        _PICKLE, b"", b"null", b"[]", b"{}", b'{"config": null}', b'{"config": {"a": 1}}',
        b"[" * 200_000, b'{"a":' * 100_000, b"\xff\xfe", b"\0" * 64, b'{"x": ' + b"9" * 5000 + b"}",
        "{}".encode("utf-16"), b'{"config": {"\\ud800": {}}}', random.randbytes(50), b"NaN",
    ))  # fmt: skip
    return packed(content), f"{name} holds {content[name][:20]!r}"


def compressed(content: Members, random: Random) -> tuple[bytes, str]:
    """All members, compressed in one of the ways there are."""
    way = random.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", way) as archive:
        for name, data in content.items():
            info = zipfile.ZipInfo(f"model/{name}")
            info.compress_type = way
            archive.writestr(info, data)
    return made.getvalue(), f"compressed ({way})"


@cache
def _zeros() -> tuple[bytes, int]:
    """Compressed zeros, and their checksum."""
    packer, block, checksum = zlib.compressobj(9, wbits=-15), bytes(1 << 20), 0
    # After a full flush the next block of zeros is packed to the very same bytes.
    packed_block = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    for _ in range(BOMB_BYTES >> 20):
        checksum = zlib.crc32(block, checksum)
    return packed_block * (BOMB_BYTES >> 20) + packer.flush(), checksum


def bomb(content: Members, random: Random) -> tuple[bytes, str]:
    """A member that is small in the file and a gibibyte when it is unpacked."""
    name = random.choice((MODEL, WEIGHTS, SAMPLES, "extra/notes", "data/weights/weight_0"))
    zeros, checksum = _zeros()
    content[name] = zeros
    made = bytearray(packed(content))
    lies = random.random() < 0.3
    for head in _headers(made, f"model/{name}"):
        start = head + (6 if made[head : head + 4] == _LOCAL else 8)
        # The method; time and date stay; checksum, packed and whole size.
        struct.pack_into("<H", made, start + 2, 8)
        whole = 10 if lies else BOMB_BYTES
        struct.pack_into("<III", made, start + 8, checksum, len(zeros), whole)
    return bytes(made), f"{name} is a bomb" + (" that lies of its size" if lies else "")


def overlapping(content: Members, random: Random) -> tuple[bytes, str]:
    """Many entries that share the bytes of one."""
    name = random.choice([each for each in (MODEL, "data/weights/weight_0") if each in content])
    for place in range(1000):
        content[f"extra/{place}" if name == MODEL else f"data/weights/weight_{place + 100}"] = b""
    content[name] += bytes(1 << 20) if name != MODEL else b" " * (1 << 20)
    made = bytearray(packed(content))
    [(own, _)] = [(at, name) for at in _headers(made, f"model/{name}") if _is_central(made, at)]
    at = made.find(_CENTRAL)
    while at >= 0:
        made[at + 16 : at + 28] = made[own + 16 : own + 28]
        made[at + 42 : at + 46] = made[own + 42 : own + 46]
        at = made.find(_CENTRAL, at + 46)
    return bytes(made), f"1,000 entries share the bytes of {name}"


def lying(content: Members, random: Random) -> tuple[bytes, str]:
    """A header that lies: sizes, checksum, offset, flags, method."""
    made = bytearray(packed(content))
    name = random.choice(list(content))
    heads = _headers(made, f"model/{name}")
    head = random.choice(heads)
    at, width = random.choice(
        ((8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (38, 4), (42, 4))
        if _is_central(made, head)
        else ((6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2))
    )
    value = random.choice((0, 1, 9, 99, 0x0801, 2**31 - 1, 2**32 - 1, integer(random)))
    made[head + at : head + at + width] = (value % 256**width).to_bytes(width, "little")
    return bytes(made), f"the header of {name} lies at {at} ({value})"


def names_of_bytes(content: Members, random: Random) -> tuple[bytes, str]:
    """A name in the headers that is no text, or not the same in both."""
    made = bytearray(packed(content))
    name = random.choice(list(content))
    for head in _headers(made, f"model/{name}"):
        central = _is_central(made, head)
        flags = head + (8 if central else 6)
        made[flags : flags + 2] = (0x0800).to_bytes(2, "little")
        start = head + (46 if central else 30)
        made[start + 6 : start + 7] = random.choice((b"\xff", b"\x00", b"/", b"\xc3"))
    return bytes(made), f"the name of {name} is no text"


def directory(content: Members, random: Random) -> tuple[bytes, str]:
    """The end of the archive says something else of it."""
    made = bytearray(packed(content))
    end = made.rfind(b"PK\x05\x06")
    at, width = random.choice(((4, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)))
    value = integer(random) % 256**width
    made[end + at : end + at + width] = value.to_bytes(width, "little")
    return bytes(made), f"the directory's field at {at} is {value}"


def crowded(content: Members, random: Random) -> tuple[bytes, str]:
    """Members without number."""
    count = random.choice((500, 6_000))
    for place in range(count):
        content[f"{random.choice(('extra', 'data/weights'))}/weight_{place + 50}"] = b""
    return packed(content), f"{count} more members"


CHANGES: tuple[Change, ...] = (
    missing, twice, renamed, renamed, foreign, foreign, roots, exchanged, exchanged, exchanged,
    compressed, bomb, overlapping, lying, lying, names_of_bytes, directory, crowded,
)  # fmt: skip


def _headers(made: bytearray, name: str) -> list[int]:
    """Where the local and the central header of a member begin."""
    found, sought = [], name.encode()
    for mark, length in ((_LOCAL, 30), (_CENTRAL, 46)):
        at = made.find(mark)
        while at >= 0:
            if made[at + length : at + length + len(sought)] == sought:
                found.append(at)
                break
            at = made.find(mark, at + 4)
    return found


def _is_central(made: bytearray, at: int) -> bool:
    return made[at : at + 4] == _CENTRAL
