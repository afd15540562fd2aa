"""Runs a program on whose process no limit can be set, as some containers have it.

python refuse_limits.py PROGRAM ARGUMENT …
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

_NO_NEW_PRIVILEGES, _SET_FILTER, _FILTERS = 38, 22, 2
_ALLOW, _EPERM = 0x7FFF0000, 0x50000 | errno.EPERM
_PRLIMIT = {"x86_64": 302, "aarch64": 261}[os.uname().machine]
_PROGRAM = [
    (0x20, 0, 0, 0),
    (0x15, 0, 3, _PRLIMIT),
    # The lower half of the pointer to the new limit.
    (0x20, 0, 0, 16 + 8 * 2),
    (0x15, 1, 0, 0),
    (0x06, 0, 0, _EPERM),
    (0x06, 0, 0, _ALLOW),
]


def main() -> None:
    """Puts the filter over this process, and becomes the program."""
    code = b"".join(struct.pack("=HBBI", *each) for each in _PROGRAM)
    held = ctypes.create_string_buffer(code, len(code))
    head = struct.pack("@HP", len(_PROGRAM), ctypes.addressof(held))
    library = ctypes.CDLL(None, use_errno=True)
    one, zero = ctypes.c_ulong(1), ctypes.c_ulong(0)
    assert library.prctl(_NO_NEW_PRIVILEGES, one, zero, zero, zero) == 0
    assert library.prctl(_SET_FILTER, ctypes.c_ulong(_FILTERS), ctypes.c_char_p(head)) == 0
    os.execv(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
