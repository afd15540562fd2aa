"""A job child whose steps take milliseconds; it speaks the protocol of the real one.

A "model" is one file, `model.json`, which says what the steps do with it:

    inspection   what inspecting tells; `QUICK_INSPECTION` by default
    journal      path of a file that gets a line for each step that runs, see `JournalLine`
    pause_s      each step takes a random time of at most so many seconds, so that what runs
                 side by side ends in any order
    steps        step name → "fail", "crash", "signal", "memory", "hang", "link", "nothing",
                 "disagree", "fill": it writes until its disk is full, "spread": it goes on
                 writing small files, "flood": it tells of progress without an end, "nonsense":
                 it ends with what is no end, "long": with a message of 16 MiB, "many": with
                 more than a million values, "no words": it tells of progress without words, "no
                 failure": it fails with what is no error, "deep": it makes more folders within
                 each other than it may, where its files lie, or "last": it is done, and the
                 child ends without a word when it hears more
    gates        step name → path of a file that the step waits for

Steps of that kind need no other name: "verify" is told for all verifications. A
"dataset" is a file `data.npz` that holds JSON: {"arrays": […], "samples": n}.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import struct
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from edgeconv.base.digests import digest_json
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.sandbox.channel import Channel

ENTRY = "edgeconv.testing.quick_steps:main"
WITHOUT_PAUSES = "edgeconv.testing.quick_steps:main_without_pauses"
"""Does the same, without the pauses that a model asks for."""

QUICK_INSPECTION: dict[str, Any] = {
    "format": "onnx",
    "inputs": [{"name": "x", "dtype": "float32", "shape": ["batch", 4]}],
    "outputs": [{"name": "y", "dtype": "float32", "shape": ["batch", 2]}],
    "parameters": 10,
    "weights_bytes": 40,
    "operators": {"Gemm": 1},
    "opset": 18,
    "notes": [],
}
_GATE_S = 0.005


class JournalLine(NamedTuple):
    """A step that began.

    Attributes:
        step: Its name.
        pid: The child that did it.
        server: The process that the child belonged to.
        order: Digest of what was to be done; the facts of the step's result name it, too.
        time_ns: When, by the machine's clock.
    """

    step: str
    pid: int
    server: int
    order: str
    time_ns: int


def read_journal(path: Path) -> list[JournalLine]:
    """The steps that ran, in the order they began."""
    lines = path.read_text().splitlines() if path.exists() else []
    said = [line.split() for line in lines]
    return [JournalLine(s, int(pid), int(ppid), order, int(at)) for s, pid, ppid, order, at in said]


def _write_journal(path: Path, step: str, order: str) -> None:
    line = JournalLine(step, os.getpid(), os.getppid(), order, time.time_ns())
    with path.open("a") as stream:
        stream.write(" ".join(map(str, line)) + "\n")


def main_without_pauses(channel: Channel) -> None:
    """As `main`."""
    main(channel, pauses=False)


def main(channel: Channel, *, pauses: bool = True) -> None:
    """Answers messages until the parent closes the channel."""
    model: dict[str, Any] = {}
    is_last = False
    while (message := channel.receive()) is not None:
        if is_last:
            os._exit(9)
        if message["do"] == "warm":
            channel.send({"done": {}})
            continue
        model = _read_model(message["inputs"]) or model
        pause_s = random.SystemRandom().uniform(0.0, model.get("pause_s", 0.0)) if pauses else 0.0
        try:
            channel.send({"done": _do(message, model, channel, pause_s)})
            is_last = model.get("steps", {}).get(message["name"]) == "last"
        except EdgeconvError as error:
            channel.send({"failed": error.to_json()})


def write_quick_model(path: Path, **said: Any) -> Path:
    """Writes a model; see the module for what may be said."""
    path.write_text(json.dumps(said))
    return path


def _read_model(inputs: Mapping[str, Any]) -> dict[str, Any] | None:
    for given in inputs.values():
        # A step after the first ones may run in a child that never saw the model.
        if "model" in given["facts"]:
            return dict(given["facts"]["model"])
    source = inputs.get("source")
    path = Path(source["folder"]) / "model.json" if source else None
    if path is None or not path.exists():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except ValueError:
        return {"steps": {"inspect": "fail"}}
    return found


def _do(
    message: Mapping[str, Any], model: Mapping[str, Any], channel: Channel, pause_s: float
) -> dict[str, Any]:
    name, folder = message["name"], Path(message["folder"])
    began_ns = time.monotonic_ns()
    order = _order(message)
    if journal := model.get("journal"):
        _write_journal(Path(journal), name, order)
    channel.send({"progress": 0.5, "message": f"at {name}"})
    time.sleep(pause_s)
    _misbehave(name, model, folder, channel)
    said: dict[str, Any] = {"facts": {}, "effect": None, "agreement": None}
    kind = message["kind"]
    if kind == "inspect":
        said["facts"] = {"inspection": model.get("inspection", QUICK_INSPECTION)}
    elif kind == "inspect-dataset":
        data = next(Path(message["inputs"]["source"]["folder"]).glob("*.npz"))
        described = json.loads(data.read_text())
        described.pop("salt", None)
        said["facts"] = {"inspection": described}
    elif kind == "verify":
        write_quick_samples(folder)
        said["agreement"] = _agreement(model.get("steps", {}).get(name) != "disagree")
    else:
        _write_bundle(kind, order, folder)
        said["facts"] = {"model": dict(model), "format": _format(kind, message)}
        said["effect"] = {"step": name, "summary": f"{name} was done", "changed": 1}
    said["facts"]["order"] = order
    took_ns = time.monotonic_ns() - began_ns
    return {**said, "wall_ns": took_ns, "peak_memory_bytes": 1 << 20}


def _format(kind: str, message: Mapping[str, Any]) -> str:
    if kind == "finish":
        return str(message["inputs"]["artifact"]["facts"]["format"])
    return str({"lowering": message["name"], "direct": "onnx"}.get(kind, ""))


def _misbehave(name: str, model: Mapping[str, Any], folder: Path, channel: Channel) -> None:
    gate = model.get("gates", {}).get(name)
    while gate and not Path(gate).exists():
        time.sleep(_GATE_S)
    match model.get("steps", {}).get(name):
        case "fail":
            raise EdgeconvError(
                Reason.NOT_APPLICABLE, f"{name} can't be applied to node 'a'.", fix="Leave it out."
            )
        case "crash":
            os._exit(7)
        case "signal":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "memory":
            # As C++ ends a process that does not expect it.
            print("terminate called after throwing 'std::bad_alloc'", file=sys.stderr, flush=True)
            os.abort()
        case "hang":
            while True:
                time.sleep(3600)
        case "fill":
            _fill(folder)
        case "spread":
            _spread()
        case "flood":
            for number in itertools.count():
                channel.send({"progress": 0.5, "message": str(number)})
        case "nonsense":
            channel.send({"done": {"facts": {}, "wall_ns": "soon"}})
        case "long":
            channel.send({"done": {"facts": {"many": [{}] * 5_500_000}}})
        case "many":
            channel.send({"done": {"facts": {"many": [{}] * 1_300_000}}})
        case "no words":
            channel.send({"progress": 1, "message": 5})
        case "no failure":
            channel.send({"failed": 5})
        case "deep":
            (folder / "/".join("d" * 80)).mkdir(parents=True)
            channel.receive()
        case "link":
            (folder / "link.bin").symlink_to("/etc/passwd")


def _fill(folder: Path) -> None:
    """Writes until the disk is full, and dies of it."""
    with (folder / "filling.bin").open("wb", buffering=0) as stream:
        while stream.write(bytes(4096)) == 4096:
            pass


def _spread() -> None:
    """Writes small files where no step's files lie, without an end."""
    for number in itertools.count():
        Path("tmp", str(number)).write_bytes(bytes(4096))
        time.sleep(_GATE_S)


def _order(message: Mapping[str, Any]) -> str:
    inputs = {role: [given["digest"], given["facts"]] for role, given in message["inputs"].items()}
    return digest_json(
        [message["kind"], message["name"], message["options"], message["seed"], inputs]
    )


def _write_bundle(kind: str, made: str, folder: Path) -> None:
    if kind == "reference":
        write_quick_samples(folder)
    elif kind in ("direct", "lowering", "finish"):
        (folder / "model.bin").write_text(made)
    else:
        (folder / "program.bin").write_text(made)


def write_quick_samples(folder: Path) -> None:
    """The files that a reference step leaves for devices: samples, and outputs for them."""
    rng = random.Random(0)
    inputs = [[rng.gauss(0.0, 1.0) for _ in range(4)] for _ in range(4)]
    _write_npz(folder / "device_samples.npz", "x", (4, 1, 4), inputs)
    doubled = [[2 * value for value in sample[:2]] for sample in inputs]
    _write_npz(folder / "outputs.npz", "y", (4, 1, 2), doubled)


def _write_npz(
    path: Path, name: str, shape: tuple[int, ...], samples: Sequence[Sequence[float]]
) -> None:
    """An array of float32, as `numpy.savez` writes it; to load that library takes longest."""
    header = repr({"descr": "<f4", "fortran_order": False, "shape": shape})
    header = header.ljust(117) + "\n"
    values = [value for sample in samples for value in sample]
    with zipfile.ZipFile(path, "w") as archive:
        member = zipfile.ZipInfo(f"{name}.npy")
        array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()
        archive.writestr(member, array + struct.pack(f"<{len(values)}f", *values))


def _agreement(passed: bool) -> dict[str, Any]:
    output = {
        "output": "y",
        "snr_db": 90.0 if passed else 3.0,
        "passed": passed,
        "bound": "≥ 60 dB",
    }
    return {"outputs": [output], "samples": 4, "passed": passed}
