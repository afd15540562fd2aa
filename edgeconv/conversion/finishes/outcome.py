"""What a finish made: the artifact, and an effect that says what changed and what did not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.program import Artifact
from edgeconv.recipe.specs import Options, StepSpec
from edgeconv.results.effect import Effect, Note
from edgeconv.results.lineage import LineageStep


def finished(
    spec: StepSpec,
    artifact: Artifact,
    folder: Path,
    options: Options,
    *,
    before: Mapping[str, int],
    after: Mapping[str, int],
    notes: Sequence[Note],
    figures: Mapping[str, float],
    seed: int = 0,
) -> tuple[Artifact, Effect]:
    """The artifact that stands in `folder` now, and the effect.

    Args:
        before: What the given file consists of: operators and tensor types → count.
        after: The same of the file written.

    Raises:
        EdgeconvError: NOTHING_TO_DO when both consist of the same.
    """
    changed = sum((Counter(after) - Counter(before)).values())
    if not changed:
        raise EdgeconvError(
            Reason.NOTHING_TO_DO,
            f"Step {spec.name!r} found nothing to change in {artifact.file}: the same operators and"
            " tensor types came out.",
            step=spec.name,
        )
    size_before, size_after = _size(artifact.folder), _size(folder)
    effect = Effect(
        step=spec.name,
        summary=f"{size_after / size_before:.2f} of the size",
        changed=changed,
        figures={"size_before_bytes": size_before, "size_bytes": size_after, **figures},
        notes=tuple(notes),
    )
    step = LineageStep(
        kind=spec.kind,
        name=spec.name,
        revision=spec.revision,
        options=options.model_dump(mode="json"),
        seed=seed,
        effect=effect,
    )
    lineage = artifact.lineage.then(step)
    return Artifact(artifact.format, folder, artifact.file, artifact.signature, lineage), effect


def not_applicable(spec: StepSpec, artifact: Artifact, why: str) -> EdgeconvError:
    """The error for a file that the finish can't take."""
    return EdgeconvError(
        Reason.NOT_APPLICABLE, f"{spec.name} can't take {artifact.file}: {why}.", step=spec.name
    )


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
