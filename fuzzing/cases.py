"""Cases: a kind and a number are always the same files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from types import ModuleType
from typing import Any

Made = tuple[dict[str, bytes], str]


@dataclass(frozen=True)
class Case:
    """A hostile model.

    Attributes:
        files: What the model's folder holds, by name.
        done: What was done to an honest one, words.
    """

    kind: str
    number: int
    files: Mapping[str, bytes]
    done: str

    @property
    def name(self) -> str:
        """As it is given to `--case`."""
        return f"{self.kind}:{self.number}"


def make_case(kind: str, number: int, seed: int = 0) -> Case:
    """The case of a number.

    Args:
        kind: One of `KINDS`.
        seed: Another seed gives other cases.
    """
    files, done = _MAKERS[kind](Random(f"{seed}/{kind}/{number}"))
    return Case(kind, number, files, done)


def seeds() -> dict[str, Callable[[], Any]]:
    """The honest ONNX models, by name."""
    from fuzzing.onnx_rare_seeds import RARE_SEEDS
    from fuzzing.onnx_seeds import BASIC_SEEDS

    return {**BASIC_SEEDS, **RARE_SEEDS}


def honest(programs: Sequence[str] = ()) -> Iterator[Case]:
    """Unchanged models that the cases begin with; their numbers are below zero.

    Args:
        programs: Saved programs that are wanted of all; every one when it is empty.
    """
    from fuzzing.program_seeds import NAMES, members, packed

    for place, (name, make) in enumerate(seeds().items(), start=1):
        yield Case("onnx", -place, {"model.onnx": make().SerializeToString()}, name)
    for place, name in enumerate(programs or NAMES, start=1):
        yield Case("json", -place, {"model.pt2": packed(members(name))}, name)


def _onnx(random: Random) -> Made:
    from fuzzing import onnx_changes, onnx_generated, onnx_graph_changes
    from fuzzing.onnx_seeds import external

    if random.random() < 0.03:
        data, done = onnx_graph_changes.deep(random)
        return {"model.onnx": data}, done
    name, model = _seed(random)
    files = {"model.onnx.data": external(model)} if random.random() < 0.15 else {}
    modules = (onnx_changes, onnx_graph_changes, onnx_generated)
    said = [_changed(model, random, modules) for _ in range(random.choice((1, 1, 1, 2, 3, 5)))]
    return {"model.onnx": model.SerializeToString(), **files}, "; ".join((name, *said))


def _graph(random: Random) -> Made:
    """Whole nodes are added and exchanged only: what gets past the reader."""
    from fuzzing import onnx_generated

    name, model = _seed(random)
    said = [_changed(model, random, (onnx_generated,)) for _ in range(random.choice((1, 1, 2, 4)))]
    return {"model.onnx": model.SerializeToString()}, "; ".join((name, *said))


def _wire(random: Random) -> Made:
    from fuzzing.wire_changes import change_wire

    name, model = _seed(random)
    data, done = change_wire(model.SerializeToString(), random)
    return {"model.onnx": data}, f"{name}; {done}"


def _seed(random: Random) -> tuple[str, Any]:
    made = seeds()
    name = random.choice(list(made))
    return name, made[name]()


def _changed(model: Any, random: Random, modules: Iterable[ModuleType]) -> str:
    change = random.choice([each for module in modules for each in module.CHANGES])
    try:
        done: str = change(model, random)
    except IndexError:
        # An earlier change took away what this one chooses from.
        return "nothing"
    return done


def _archive(random: Random) -> Made:
    from fuzzing.archive_changes import CHANGES
    from fuzzing.program_seeds import NAMES, members

    name = random.choice(NAMES)
    data, done = random.choice(CHANGES)(members(name), random)
    return {"model.pt2": data}, f"{name}; {done}"


def _json(random: Random) -> Made:
    from fuzzing.json_changes import change_json
    from fuzzing.program_seeds import NAMES, members, packed

    name = random.choice(NAMES)
    content = members(name)
    done = change_json(content, random)
    return {"model.pt2": packed(content)}, f"{name}; {done}"


def _folder(random: Random) -> Made:
    from fuzzing.folder_changes import CHANGES
    from fuzzing.program_seeds import NAMES, members, packed

    _, model = _seed(random)
    saved = packed(members(random.choice(NAMES)))
    return random.choice(CHANGES)(model.SerializeToString(), saved, random)


def _bytes(random: Random) -> Made:
    from fuzzing.byte_changes import change_bytes
    from fuzzing.program_seeds import NAMES, members, packed

    if random.random() < 0.5:
        name, model = _seed(random)
        file, whole = "model.onnx", model.SerializeToString()
    else:
        name = random.choice(NAMES)
        file, whole = "model.pt2", packed(members(name))
    data, done = change_bytes(whole, random)
    return {file: data}, f"{file} {name}; {done}"


_MAKERS: dict[str, Callable[[Random], Made]] = {
    "onnx": _onnx,
    "graph": _graph,
    "wire": _wire,
    "archive": _archive,
    "json": _json,
    "folder": _folder,
    "bytes": _bytes,
}
KINDS = tuple(_MAKERS)
