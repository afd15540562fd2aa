"""What a runtime is, without loading it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata

from edgeconv.base.errors import EdgeconvError, Reason


@dataclass(frozen=True)
class RuntimeSpec:
    """A runtime.

    Attributes:
        name: As requests and results name it.
        title: As people know it.
        format: The artifact format it runs, which is the suffix of its files too.
        packages: Distributions that bring it, the preferred one first.
        extra: The extra of edgeconv that installs it.
        child_module: Its module with `load(path, *, threads, spinning) -> Session`; only
            child processes import that.
        spinning_selectable: Whether idle threads can be told to spin or not.
        counts_delegate_parts: Whether it can tell into how many parts delegates split
            a graph.
    """

    name: str
    title: str
    format: str
    packages: tuple[str, ...]
    extra: str
    child_module: str
    spinning_selectable: bool
    counts_delegate_parts: bool

    def installed_version(self) -> str | None:
        """Version of the first of its packages that is installed, or None."""
        for package in self.packages:
            try:
                return metadata.version(package)
            except metadata.PackageNotFoundError:
                continue
        return None

    def require(self) -> str:
        """The installed version.

        Raises:
            EdgeconvError: EXTRA_MISSING with the line that installs it.
        """
        version = self.installed_version()
        if version is None:
            raise EdgeconvError(
                Reason.EXTRA_MISSING,
                f"{self.title}, which runs .{self.format} files, is not installed.",
                fix=f"Install it with: pip install 'edgeconv[{self.extra}]'",
                runtime=self.name,
                extra=self.extra,
            )
        return version
