"""The command that makes the same artifacts again."""

from __future__ import annotations

import shlex
from pathlib import PurePath

from edgeconv.results.job import JobResult

_DATA = "DATA.npz"
_ROLES = ("calibration", "evaluation")


def command(result: JobResult) -> str:
    """The command line, for a shell; its recipe is the result's, saved as recipe.yaml."""
    model = shlex.quote(PurePath(result.source).name) if result.source else "MODEL"
    words = ["edgeconv", "convert", model, "--recipe", "recipe.yaml"]
    for name, shape in sorted(result.shapes.items()):
        words += ["--shape", shlex.quote(f"{name}={shape}")]
    if _one_file(result):
        words += ["--data", _DATA]
    return " ".join(words)


def data_words(result: JobResult) -> str:
    """Which data the command needs; "" when it needs none."""
    digests = result.data_digests
    if not digests:
        return ""
    if _one_file(result):
        roles = " and ".join(sorted(digests))
        digest = next(iter(digests.values()))
        return f"{_DATA} is the file that was given for {roles}, as a dataset {digest}."
    listed = ", ".join(f"{role} {digest}" for role, digest in sorted(digests.items()))
    return f"The data that the recipe names lies beside it; as datasets: {listed}."


def _one_file(result: JobResult) -> bool:
    """Whether one file was given for all, which is what `--data` does."""
    digests = result.data_digests
    return set(digests) == set(_ROLES) and len(set(digests.values())) == 1
