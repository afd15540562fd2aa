"""Changes to the encoding of a protobuf message: fields that no writer would write so.

A message is a list of fields, each a number with a wire type and content. A change picks a
field anywhere in it, whatever message it lies in, and keeps the lengths around it right, so
that the parser gets to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10


@dataclass
class Field:
    """One field; `fields` are those of a message that lies in it, if it reads as one."""

    number: int
    wire: int
    content: bytes
    fields: list[Field] | None = None

    def encoded(self) -> bytes:
        """As it stands in a message."""
        content = encoded(self.fields) if self.fields is not None else self.content
        head = varint(self.number << 3 | self.wire)
        return head + (varint(len(content)) if self.wire == _BYTES else b"") + content


def varint(number: int) -> bytes:
    """An unsigned number, seven bits a byte."""
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    made.append(number)
    return bytes(made)


def encoded(fields: list[Field]) -> bytes:
    """A message of fields."""
    return b"".join(each.encoded() for each in fields)


def fields_of(data: bytes, depth: int = 0) -> list[Field] | None:
    """The fields of a message; None when the bytes are none."""
    fields, at = [], 0
    while at < len(data):
        head = _read_varint(data, at)
        if head is None:
            return None
        key, at = head
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value = _read_varint(data, at)
            end = value[1] if value else None
        elif wire == _BYTES:
            length = _read_varint(data, at)
            end = length[1] + length[0] if length else None
            at = length[1] if length else at
        else:
            end = at + {_FIXED64: 8, _FIXED32: 4}.get(wire, len(data))
        if not number or end is None or end > len(data):
            return None
        content, at = data[at:end], end
        inner = fields_of(content, depth + 1) if wire == _BYTES and content and depth < 8 else None
        fields.append(Field(number, wire, content, inner))
    return fields


def _read_varint(data: bytes, at: int) -> tuple[int, int] | None:
    number = 0
    for place, byte in enumerate(data[at : at + _LONGEST_VARINT]):
        number |= (byte & 127) << 7 * place
        if byte < 128:
            return number, at + place + 1
    return None


def _drop(fields: list[Field], place: int, random: Random) -> str:
    del fields[place]
    return "is not there"


def _repeat(fields: list[Field], place: int, random: Random) -> str:
    times = random.choice((1, 1, 2, 1000))
    fields[place:place] = [fields[place]] * times
    return f"is there {times} times more"


def _move(fields: list[Field], place: int, random: Random) -> str:
    fields.append(fields.pop(place))
    return "comes last"


def _renumber(fields: list[Field], place: int, random: Random) -> str:
    number = random.choice((1, 2, 3, 5, 7, 8, 11, 12, 20, 15999, 2**29 - 1))
    fields[place].number = number
    return f"has number {number}"


def _rewire(fields: list[Field], place: int, random: Random) -> str:
    wire = random.choice((_VARINT, _FIXED64, _BYTES, 3, 4, _FIXED32, 6))
    fields[place] = Field(fields[place].number, wire, {
        _VARINT: varint(random.choice((0, 1, 2**31, 2**64 - 1))), _FIXED64: b"\1" * 8,
        _FIXED32: b"\1" * 4,
    }.get(wire, b""))  # fmt: skip
    return f"has wire type {wire}"


def _number(fields: list[Field], place: int, random: Random) -> str:
    content = random.choice((
        b"\0", b"\x80" * 9 + b"\1", b"\xff" * 9 + b"\1", b"\xff" * 10, b"\x80\0",
        varint(2**31), varint(2**40), varint(2**63 - 1),
    ))  # fmt: skip
    fields[place] = Field(fields[place].number, _VARINT, content)
    return f"is the number {content.hex()}"


def _bytes(fields: list[Field], place: int, random: Random) -> str:
    content = random.choice((
        b"", b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\x80", b"\0", b"\x1b[2J", b"\x0a", b"\x80",
        random.randbytes(20), b"\x08" * 1000, b"\x0a\x7f",
    ))  # fmt: skip
    fields[place] = Field(fields[place].number, _BYTES, content)
    return f"holds {content[:12].hex()}"


def _swap(fields: list[Field], place: int, random: Random) -> str:
    other = random.randrange(len(fields))
    first, second = fields[place], fields[other]
    fields[place] = Field(first.number, second.wire, second.content, second.fields)
    fields[other] = Field(second.number, first.wire, first.content, first.fields)
    return f"holds what field {second.number} held"


def _inside(fields: list[Field], place: int, random: Random) -> str:
    whole = Field(fields[place].number, _BYTES, encoded(fields))
    fields[place] = whole
    return "holds the message around it"


Change = Callable[[list[Field], int, Random], str]
CHANGES: tuple[Change, ...] = (
    _drop, _repeat, _move, _renumber, _rewire, _number, _number, _bytes, _bytes, _swap, _inside,
)  # fmt: skip


def change_wire(data: bytes, random: Random) -> tuple[bytes, str]:
    """The message with 1 to 3 fields changed, and what was done."""
    fields = fields_of(data) or [Field(1, _BYTES, data)]
    said = []
    for _ in range(random.choice((1, 1, 2, 3))):
        holders: list[tuple[list[Field], str]] = [(fields, "")]
        for holder, path in holders:
            holders += [
                (each.fields, f"{path}{each.number}.") for each in holder if each.fields is not None
            ]
        holder, path = random.choice([each for each in holders if each[0]] or [([], "")])
        if not holder:
            break
        place = random.randrange(len(holder))
        number = holder[place].number
        said.append(f"field {path}{number} {random.choice(CHANGES)(holder, place, random)}")
    return encoded(fields), "; ".join(said)
