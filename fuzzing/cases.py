"""Cases: a kind and a number are always the same files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from types import ModuleType


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


def honest(kind: str) -> Case:
    """An unchanged model of the kind, which has to be taken."""
    if kind in ("archive", "json"):
        from fuzzing.program_seeds import members, packed

        return Case(kind, -1, {"model.pt2": packed(members("convolutional"))}, "nothing")
    from fuzzing.onnx_seeds import convolutional

    return Case(kind, -1, {"model.onnx": convolutional().SerializeToString()}, "nothing")


def _onnx(random: Random) -> tuple[dict[str, bytes], str]:
    from fuzzing import onnx_changes, onnx_graph_changes
    from fuzzing.onnx_seeds import SEEDS, external

    if random.random() < 0.03:
        data, done = onnx_graph_changes.deep(random)
        return {"model.onnx": data}, done
    name = random.choice(list(SEEDS))
    model = SEEDS[name]()
    files = {"model.onnx.data": external(model)} if random.random() < 0.15 else {}
    said = [
        _changed(model, random, onnx_changes, onnx_graph_changes)
        for _ in range(random.choice((1, 1, 1, 2, 3, 5)))
    ]
    return {"model.onnx": model.SerializeToString(), **files}, "; ".join((name, *said))


def _changed(model: object, random: Random, *modules: ModuleType) -> str:
    change = random.choice([each for module in modules for each in module.CHANGES])
    try:
        done: str = change(model, random)
    except IndexError:
        # An earlier change took away what this one chooses from.
        return "nothing"
    return done


def _archive(random: Random) -> tuple[dict[str, bytes], str]:
    from fuzzing.archive_changes import CHANGES
    from fuzzing.program_seeds import NAMES, members

    name = random.choice(NAMES)
    data, done = random.choice(CHANGES)(members(name), random)
    return {"model.pt2": data}, f"{name}; {done}"


def _json(random: Random) -> tuple[dict[str, bytes], str]:
    from fuzzing.json_changes import change_json
    from fuzzing.program_seeds import NAMES, members, packed

    name = random.choice(NAMES)
    content = members(name)
    done = change_json(content, random)
    return {"model.pt2": packed(content)}, f"{name}; {done}"


def _bytes(random: Random) -> tuple[dict[str, bytes], str]:
    from fuzzing.byte_changes import change_bytes
    from fuzzing.onnx_seeds import SEEDS
    from fuzzing.program_seeds import NAMES, members, packed

    name = random.choice((*SEEDS, *NAMES))
    file = "model.onnx" if name in SEEDS else "model.pt2"
    whole = SEEDS[name]().SerializeToString() if name in SEEDS else packed(members(name))
    data, done = change_bytes(whole, random)
    return {file: data}, f"{file} {name}; {done}"


_MAKERS: dict[str, Callable[[Random], tuple[dict[str, bytes], str]]] = {
    "onnx": _onnx,
    "archive": _archive,
    "json": _json,
    "bytes": _bytes,
}
KINDS = tuple(_MAKERS)
