"""The control: changes that know nothing of the structure."""

from __future__ import annotations

from random import Random


def flip_bits(data: bytearray, random: Random) -> str:
    """Turns over 1 to 30 single bits."""
    count = random.randrange(1, 31)
    for _ in range(count):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return f"{count} bits flipped"


def overwrite(data: bytearray, random: Random) -> str:
    """Puts random bytes over a stretch."""
    at, length = random.randrange(len(data)), random.randrange(1, 65)
    data[at : at + length] = random.randbytes(length)
    return f"{length} bytes at {at} overwritten"


def cut_off(data: bytearray, random: Random) -> str:
    """Takes the end away."""
    at = random.randrange(len(data))
    del data[at:]
    return f"cut off at {at}"


def take_out(data: bytearray, random: Random) -> str:
    """Takes a stretch out of the middle."""
    at, length = random.randrange(len(data)), random.randrange(1, 65)
    del data[at : at + length]
    return f"{length} bytes at {at} taken out"


def repeat(data: bytearray, random: Random) -> str:
    """Writes a stretch a second time."""
    at, length = random.randrange(len(data)), random.randrange(1, 65)
    data[at:at] = data[at : at + length]
    return f"{length} bytes at {at} repeated"


CHANGES = (flip_bits, flip_bits, overwrite, cut_off, take_out, repeat)


def change_bytes(data: bytes, random: Random) -> tuple[bytes, str]:
    """The bytes, changed, and what was done."""
    changed = bytearray(data)
    said = random.choice(CHANGES)(changed, random)
    return bytes(changed), said
