"""The memory of this process: its high-water mark, and what it consists of.

Never by `ru_maxrss`, which a child inherits from its parent over fork and exec. The
kernel's own high-water mark is set back to the present size first, so that each phase has
one of its own (proc(5): clear_refs). The kernel batches its counters by processor: a
figure can be off by a few hundred KiB.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc/self")
_RESET_HIGH_WATER_MARK = "5"


@dataclass(frozen=True)
class Peak:
    """Memory in bytes.

    Attributes:
        peak_bytes: Largest resident size since the last reset.
        anonymous_bytes: Of the resident size now, what belongs to this process alone.
        file_bytes: Of the resident size now, touched pages of mapped files: libraries and,
            where a runtime maps its model, weights. The system can drop them.
    """

    peak_bytes: int
    anonymous_bytes: int
    file_bytes: int


def reset_peak() -> bool:
    """Sets the high-water mark back to the present size.

    Returns:
        False where the kernel does not let this process do it; `read_peak` then tells
        the largest size since the process began.
    """
    try:
        (_PROC / "clear_refs").write_text(_RESET_HIGH_WATER_MARK)
    except OSError:
        return False
    return True


def read_peak() -> Peak:
    """Reads the high-water mark and the parts of the present size.

    Raises:
        OSError: there is no /proc.
    """
    return parse_status((_PROC / "status").read_text())


def parse_status(text: str) -> Peak:
    """The figures out of the text of /proc/PID/status; a line that is absent counts as 0."""
    sizes: dict[str, int] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        if len(words) == 2 and words[1] == "kB":
            sizes[name] = int(words[0]) * 1024
    return Peak(
        peak_bytes=sizes.get("VmHWM", 0),
        anonymous_bytes=sizes.get("RssAnon", 0),
        file_bytes=sizes.get("RssFile", 0),
    )
