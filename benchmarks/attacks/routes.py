"""The ways by which a saved program runs code when it is loaded, each as a file.

`torch.export.load` unpickles weights that say they are pickled, sample inputs always, opaque
objects, and the weights of an older format; it has sympy evaluate symbolic sizes, writes the
names of tensors into Python source, and runs guards when the program is first called. An
eighth way, a structure of inputs that names a class, opens a library that lies beside the
program, and is in the tests alone. Only the honest program that is changed here is made with
torch.
"""

from __future__ import annotations

import binascii
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.attacks import escapes

Members = dict[str, bytes]

MODEL = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
SAMPLES = "data/sample_inputs/model.pt"
OLD_WEIGHTS = "data/weights/model.pt"
OPAQUE = "data/constants/opaque_obj_0"


def honest_program() -> bytes:
    """A small saved program with an open axis."""
    import torch

    layer = torch.nn.Linear(4, 2).eval()
    open_axis = {"input": {0: torch.export.Dim("batch", min=1, max=8)}}
    exported = torch.export.export(layer, (torch.rand(3, 4),), dynamic_shapes=open_axis)
    saved = io.BytesIO()
    torch.export.save(exported, saved)
    return saved.getvalue()


def attack(route: str) -> str:
    """Python that does what its process's parent says, and needs nothing that is not in it."""
    source = Path(escapes.__file__).read_text() + f"\nobey({route!r})\n"
    return f"exec(compile({source!r}, 'attack', 'exec'), {{'__name__': 'attack'}})"


def write_hostile(route: str, honest: bytes, path: Path, code: str) -> Path:
    """Writes the program so that loading it by this route runs the code.

    Args:
        code: Python, as `attack` gives it.
    """
    with zipfile.ZipFile(io.BytesIO(honest)) as archive:
        root = archive.namelist()[0].partition("/")[0]
        members = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    ROUTES[route][0](members, code)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(f"{root}/{name}", content)
    return path


class _Runs:
    """Runs code when it is unpickled."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __reduce__(self) -> tuple[object, ...]:
        return exec, (self.code,)


def _expression(code: str) -> str:
    """The code as an expression of plain ASCII on one line; its value is None."""
    return f"exec(__import__('binascii').unhexlify('{binascii.hexlify(code.encode()).decode()}'))"


def _edit(members: Members, member: str, edit: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(members[member])
    edit(value)
    members[member] = json.dumps(value).encode()


def _pickled_weights(members: Members, code: str) -> None:
    members["data/weights/weight_0"] = pickle.dumps(_Runs(code))
    _edit(members, WEIGHTS, lambda said: said["config"]["weight"].update(use_pickle=True))


def _sample_inputs(members: Members, code: str) -> None:
    import torch

    saved = io.BytesIO()
    torch.save(((_Runs(code),), {}), saved)
    members[SAMPLES] = saved.getvalue()


def _opaque_objects(members: Members, code: str) -> None:
    members[OPAQUE] = pickle.dumps(_Runs(code))
    entry = {
        "path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None,
    }  # fmt: skip
    _edit(members, CONSTANTS, lambda said: said["config"].update(planted=entry))


def _weights_of_an_older_format(members: Members, code: str) -> None:
    import torch

    saved = io.BytesIO()
    torch.save({"weight": _Runs(code)}, saved)
    members[OLD_WEIGHTS] = saved.getvalue()


def _symbolic_sizes(members: Members, code: str) -> None:
    text = members[MODEL].decode()
    start = text.index('"expr_str": "') + len('"expr_str": "')
    end = text.index('"', start)
    members[MODEL] = (text[:start] + _expression(code) + text[end:]).encode()


def _names_of_tensors(members: Members, code: str) -> None:
    """The name of the last input goes on as its default, which Python evaluates."""
    name = f"input={_expression(code)}"

    def rename(said: dict[str, Any]) -> None:
        values = said["graph_module"]["graph"]["tensor_values"]
        values[name] = values.pop("input")
        for entry in _objects(said):
            if entry.get("as_tensor") == {"name": "input"}:
                entry["as_tensor"] = {"name": name}

    _edit(members, MODEL, rename)


def _objects(value: Any) -> list[dict[str, Any]]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    found = [value] if isinstance(value, dict) else []
    return found + [entry for each in inner for entry in _objects(each)]


def _guards(members: Members, code: str) -> None:
    guard = f"{_expression(code)} is None"
    _edit(members, MODEL, lambda said: said.update(guards_code=[guard]))


ROUTES: dict[str, tuple[Callable[[Members, str], None], str]] = {
    "pickled weights": (_pickled_weights, WEIGHTS),
    "sample inputs": (_sample_inputs, SAMPLES),
    "opaque objects": (_opaque_objects, OPAQUE),
    "weights of an older format": (_weights_of_an_older_format, OLD_WEIGHTS),
    "symbolic sizes": (_symbolic_sizes, MODEL),
    "names of tensors": (_names_of_tensors, MODEL),
    "guards": (_guards, MODEL),
}
"""Name → what changes an honest program, and the member in which that can be seen."""
