"""Makes text from models safe to print: names in a model are whatever its author wrote."""

from __future__ import annotations

import unicodedata

_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


def printable(text: str) -> str:
    r"""Writes control, bidirectional and invisible characters as escapes, such as "\x1b".

    So no name can move the cursor, recolour the terminal or change what a reader sees; nor
    break an XML file, which can't hold code points that are no characters at all.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(char) if _is_hidden(char) else char for char in text)


def printable_lines(text: str) -> str:
    """As `printable`, but line breaks stay; for texts such as recipes."""
    return "\n".join(printable(line) for line in text.splitlines())


def _is_hidden(char: str) -> bool:
    is_noncharacter = ord(char) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(char) <= 0xFDEF
    return is_noncharacter or unicodedata.category(char) in _HIDDEN


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode() if ord(char) > 0x7F else f"\\x{ord(char):02x}"
