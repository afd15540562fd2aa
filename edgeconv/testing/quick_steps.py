"""A job child whose steps take milliseconds; it speaks the protocol of the real one.

A "model" is one file, `model.json`, which says what the steps do with it:

    inspection   what inspecting tells; `QUICK_INSPECTION` by default
    journal      path of a file that gets a line for each step that runs
    steps        step name → "fail", "crash", "signal", "memory", "hang", "link", "nothing" or
                 "disagree"
    gates        step name → path of a file that the step waits for

Steps of that kind need no other name: "verify" is told for all verifications. A
"dataset" is a file `data.npz` that holds JSON: {"arrays": […], "samples": n}.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeconv.base.digests import digest_json
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.sandbox.channel import Channel

ENTRY = "edgeconv.testing.quick_steps:main"

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


def main(channel: Channel) -> None:
    """Answers messages until the parent closes the channel."""
    model: dict[str, Any] = {}
    while (message := channel.receive()) is not None:
        if message["do"] == "warm":
            channel.send({"done": {}})
            continue
        model = _read_model(message["inputs"]) or model
        try:
            channel.send({"done": _do(message, model, channel)})
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


def _do(message: Mapping[str, Any], model: Mapping[str, Any], channel: Channel) -> dict[str, Any]:
    name, folder = message["name"], Path(message["folder"])
    began_ns = time.monotonic_ns()
    if journal := model.get("journal"):
        with Path(journal).open("a") as stream:
            stream.write(f"{name} {os.getpid()}\n")
    channel.send({"progress": 0.5, "message": f"at {name}"})
    _misbehave(name, model, folder)
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
        _write_bundle(kind, message, folder)
        said["facts"] = {"model": dict(model), "format": _format(kind, message)}
        said["effect"] = {"step": name, "summary": f"{name} was done", "changed": 1}
    took_ns = time.monotonic_ns() - began_ns
    return {**said, "wall_ns": took_ns, "peak_memory_bytes": 1 << 20}


def _format(kind: str, message: Mapping[str, Any]) -> str:
    if kind == "finish":
        return str(message["inputs"]["artifact"]["facts"]["format"])
    return str({"lowering": message["name"], "direct": "onnx"}.get(kind, ""))


def _misbehave(name: str, model: Mapping[str, Any], folder: Path) -> None:
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
        case "link":
            (folder / "link.bin").symlink_to("/etc/passwd")


def _write_bundle(kind: str, message: Mapping[str, Any], folder: Path) -> None:
    inputs = {role: given["digest"] for role, given in message["inputs"].items()}
    made = digest_json([message["name"], message["options"], message["seed"], inputs])
    if kind == "reference":
        write_quick_samples(folder)
    elif kind in ("direct", "lowering", "finish"):
        (folder / "model.bin").write_text(made)
    else:
        (folder / "program.bin").write_text(made)


def write_quick_samples(folder: Path) -> None:
    """The files that a reference step leaves for devices: samples, and outputs for them."""
    import numpy as np

    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((4, 1, 4)).astype(np.float32)
    np.savez(folder / "device_samples.npz", x=inputs)
    np.savez(folder / "outputs.npz", y=inputs[:, :, :2] * 2)


def _agreement(passed: bool) -> dict[str, Any]:
    output = {
        "output": "y",
        "snr_db": 90.0 if passed else 3.0,
        "passed": passed,
        "bound": "≥ 60 dB",
    }
    return {"outputs": [output], "samples": 4, "passed": passed}
