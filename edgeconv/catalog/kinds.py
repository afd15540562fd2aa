"""Reads the catalogue and finds the kind of a device.

One TOML file a kind, in `devices/`. Adding a device kind is adding a file.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.catalog.capabilities import Capabilities


def _check_pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(str(error)) from None
    return pattern


def _check_source(url: str) -> str:
    if not url.startswith("https://"):
        raise ValueError("a source is an https address")
    return url


Pattern = Annotated[str, AfterValidator(_check_pattern)]
Source = Annotated[str, AfterValidator(_check_source)]


class Match(BaseModel):
    """What a device must be to be of the kind; an expression left out asks nothing.

    Attributes:
        architecture: One of these.
        cpu: Regular expression, found anywhere in the board or CPU model.
        os: Likewise in the operating system.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: tuple[str, ...] = Field(min_length=1)
    cpu: Pattern = ""
    os: Pattern = ""

    @property
    def conditions(self) -> int:
        """How much it asks; the kind that asks most is the right one."""
        return bool(self.cpu) + bool(self.os)

    def fits(self, device: Capabilities) -> bool:
        """Whether the device is of the kind."""
        return (
            device.architecture in self.architecture
            and re.search(self.cpu, device.cpu) is not None
            and re.search(self.os, device.os) is not None
        )


class Facts(BaseModel):
    """What its makers say of it.

    Attributes:
        soc: System on chip.
        cores: CPU cores in words, with their clocks.
        instructions: Instruction-set extensions that runtimes use.
        memory: Sizes it is sold with.
        accelerators: What else could compute; empty when nothing.
        cooling: What is known of its behaviour under load.
        notes: What a user should know before measuring on it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    soc: str = ""
    cores: str = ""
    instructions: tuple[str, ...] = ()
    memory: str = ""
    accelerators: tuple[str, ...] = ()
    cooling: str = ""
    notes: tuple[str, ...] = ()


class DeviceKind(BaseModel):
    """A kind of device.

    Attributes:
        name: As selectors name it: `kind=raspberry-pi-5`.
        sources: Public pages that the facts are taken from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    title: str = Field(min_length=1)
    match: Match
    facts: Facts = Facts()
    sources: tuple[Source, ...] = ()


def parse_kind(text: str, file: str) -> DeviceKind:
    """A kind out of the text of its file.

    Raises:
        EdgeconvError: FIELD_INVALID naming the file and the field.
    """
    try:
        kind = DeviceKind.model_validate(tomllib.loads(text))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise _refusal(file, f"{field}: {first['msg']}") from None
    except tomllib.TOMLDecodeError as error:
        raise _refusal(file, str(error)) from None
    if f"{kind.name}.toml" != file:
        raise _refusal(file, f"it describes {kind.name!r}, so it must be called {kind.name}.toml")
    return kind


def read_kinds(folder: Traversable) -> tuple[DeviceKind, ...]:
    """All kinds of a folder, by name.

    Raises:
        EdgeconvError: FIELD_INVALID naming the file and the field.
    """
    found = (entry for entry in folder.iterdir() if entry.name.endswith(".toml"))
    kinds = [parse_kind(entry.read_text(encoding="utf-8"), entry.name) for entry in found]
    return tuple(sorted(kinds, key=lambda kind: kind.name))


@cache
def kinds() -> tuple[DeviceKind, ...]:
    """The kinds that edgeconv knows, by name."""
    return read_kinds(files("edgeconv.catalog") / "devices")


def match(device: Capabilities, known: Sequence[DeviceKind] | None = None) -> str:
    """Name of the device's kind; of several that fit, the one that asks most.

    Returns:
        "" when no kind fits, or when two that ask equally much do.
    """
    fitting = [kind for kind in (kinds() if known is None else known) if kind.match.fits(device)]
    most = max((kind.match.conditions for kind in fitting), default=0)
    best = [kind.name for kind in fitting if kind.match.conditions == most]
    return best[0] if len(best) == 1 else ""


def _refusal(file: str, words: str) -> EdgeconvError:
    return EdgeconvError(
        Reason.FIELD_INVALID, f"The device kind in {file} can't be used: {words}.", file=file
    )
