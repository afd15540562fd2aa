"""The job child: does the steps of one model, one after another, as its parent asks.

Entry point for `edgeconv.sandbox`: `edgeconv.conversion.job_child:main`. Messages, all
JSON objects:

    parent → child   {"do": "warm"}                     load the heavy libraries
                     {"do": "step", "kind", "name", "options", "seed",
                      "inputs": {role: {"folder", "digest", "facts"}},
                      "folder", "scratch"}
    child → parent   {"progress": fraction, "message"}  any number of times
                     {"done": {"facts", "effect", "agreement", "wall_ns",
                      "peak_memory_bytes"}}
                     {"failed": EdgeconvError as JSON}
"""

from __future__ import annotations

import time
import traceback
from pathlib import Path
from typing import Any

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.recipe.specs import StepKind
from edgeconv.sandbox.channel import Channel


def main(channel: Channel) -> None:
    """Answers messages until the parent closes the channel."""
    runner: Any = None
    while (message := channel.receive()) is not None:
        if runner is None:
            from edgeconv.conversion.steps import StepRunner

            runner = StepRunner()
        if message["do"] == "warm":
            _load_libraries()
            channel.send({"done": {}})
        else:
            channel.send(_answer(runner, message, channel))


def _load_libraries() -> None:
    import litert_torch
    import onnxruntime
    import torch.onnx

    del litert_torch, onnxruntime, torch


def _answer(runner: Any, message: dict[str, Any], channel: Channel) -> dict[str, Any]:
    from edgeconv.bench.memory import read_peak, reset_peak
    from edgeconv.conversion.steps import StepCall, StepInput

    def report(fraction: float, words: str) -> None:
        channel.send({"progress": fraction, "message": words})

    call = StepCall(
        kind=StepKind(message["kind"]),
        name=message["name"],
        options=message["options"],
        inputs={
            role: StepInput(Path(given["folder"]), given["digest"], given["facts"])
            for role, given in message["inputs"].items()
        },
        folder=Path(message["folder"]),
        scratch=Path(message["scratch"]),
        seed=message["seed"],
    )
    reset_peak()
    began_ns = time.monotonic_ns()
    try:
        outcome = runner.run(call, report)
    except EdgeconvError as error:
        return {"failed": error.to_json()}
    except MemoryError:
        error = EdgeconvError(
            Reason.LIMIT_EXCEEDED, f"{call.name} needed more memory than allowed.", step=call.name
        )
        return {"failed": error.to_json()}
    except Exception as fault:
        # A fault of ours or of a library: the trace goes to the log, never on the wire.
        traceback.print_exc()
        error = EdgeconvError(
            Reason.INTERNAL,
            f"{call.name} failed: {type(fault).__name__}: {str(fault).splitlines()[0][:300]}"
            if str(fault)
            else f"{call.name} failed: {type(fault).__name__}",
            step=call.name,
        )
        return {"failed": error.to_json()}
    return {
        "done": {
            **outcome.to_json(),
            "wall_ns": time.monotonic_ns() - began_ns,
            "peak_memory_bytes": read_peak().peak_bytes,
        }
    }
