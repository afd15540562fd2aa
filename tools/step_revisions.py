"""Keeps, for each step, what its code was when its revision was set; `--check` compares.

Results are remembered by a step's revision. When a step's code changes so that the same
input gives another result, its revision in `edgeconv/recipe/specs.py` must be raised, or
old results are taken for new ones. This file can't tell whether a result changes; it makes
the question be asked: after a change of a step's code run `python -m tools.step_revisions`,
with the revision raised or, when no result changes, as it was.

Comments, docstrings and formatting do not count.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from edgeconv.conversion.registry import IMPLEMENTATIONS
from edgeconv.recipe.specs import SPECS, StepKind, StepSpec

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "tests" / "golden" / "step_revisions.json"
_PACKAGE = "edgeconv.conversion"
_ENTRIES = {
    StepKind.INSPECT: f"{_PACKAGE}.intake",
    StepKind.INSPECT_DATASET: f"{_PACKAGE}.samples",
    StepKind.INTAKE: f"{_PACKAGE}.intake",
    StepKind.REFERENCE: f"{_PACKAGE}.reference",
    StepKind.DIRECT: f"{_PACKAGE}.direct",
    StepKind.VERIFY: f"{_PACKAGE}.verify",
}
# What carries steps and their data; a change there would ask the question of every step.
_CARRIERS = {
    _PACKAGE, *(f"{_PACKAGE}.{name}" for name in ("calls", "program", "registry", "samples")),
}  # fmt: skip


def revisions() -> dict[str, dict[str, object]]:
    """Step → its revision and the digest of its code."""
    return {
        f"{spec.kind} {spec.name}": {"revision": spec.revision, "code": _digest(spec)}
        for spec in SPECS
    }


def stale() -> list[str]:
    """A sentence for each step that is not as it was kept."""
    kept = json.loads(TARGET.read_text())
    sentences = []
    for step, now in revisions().items():
        before = kept.get(step)
        if before == now:
            continue
        if before is None or before["revision"] != now["revision"]:
            sentences.append(f"{step} is now of revision {now['revision']}.")
        else:
            sentences.append(
                f"The code of {step} has changed, its revision has not: raise it if the same"
                " input gives another result."
            )
    sentences += [f"There is no step {step} any more." for step in set(kept) - set(revisions())]
    return sentences


def _digest(spec: StepSpec) -> str:
    entry = IMPLEMENTATIONS.get((spec.kind, spec.name), "").partition(":")[0]
    whole = hashlib.sha256()
    for module in sorted(_reached(entry or _ENTRIES[spec.kind])):
        whole.update("\n".join([module, *_marks(ast.parse(_path(module).read_text()))]).encode())
    return whole.hexdigest()[:16]


def _reached(entry: str) -> set[str]:
    """The modules of `edgeconv.conversion` that the entry imports, however far away."""
    found, left = {entry}, [entry]
    while left:
        for name in _imports(left.pop()):
            if name not in found | _CARRIERS:
                found.add(name)
                left.append(name)
    return found


def _imports(module: str) -> Iterator[str]:
    path = _path(module)
    if path.name == "__init__.py":
        # Files of a package can be loaded by their names.
        for each in sorted(path.parent.iterdir()):
            if each.suffix == ".py" and each != path:
                yield f"{module}.{each.stem}"
            elif (each / "__init__.py").exists():
                yield f"{module}.{each.name}"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_PACKAGE):
            named = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {name for name in named if _exists(name)}
            yield from sorted(modules)
            if named != modules:
                yield str(node.module)


def _marks(node: ast.AST, depth: int = 0) -> Iterator[str]:
    """A line for each node but docstrings; the same for all versions of Python."""
    for name, value in ast.iter_fields(node):
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant):
                continue
            if isinstance(each, ast.AST):
                yield f"{depth} {name} {type(each).__name__}"
                yield from _marks(each, depth + 1)
            elif each is not None:
                yield f"{depth} {name} {each!r}"


def _path(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _exists(module: str) -> bool:
    return _path(module).exists()


def main() -> int:
    """Writes the file, or checks it."""
    if "--check" in sys.argv[1:]:
        sentences = stale()
        for sentence in sentences:
            print(sentence)
        if sentences:
            print("Then run `python -m tools.step_revisions`.")
        return 1 if sentences else 0
    TARGET.write_text(json.dumps(revisions(), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
