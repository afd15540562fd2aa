"""The job child: does the steps of one model, one after another, as its parent asks.

Entry point for `edgeconv.sandbox`: `edgeconv.conversion.job_child:main`. Messages, all
JSON objects:

    parent → child   {"do": "warm"}                     load the heavy libraries; "done" {}
                     {"do": "step", "kind", "name", "options", "seed",
                      "inputs": {role: {"folder", "digest", "facts"}},
                      "folder", "scratch"}
    child → parent   {"progress": fraction, "message"}  any number of times
                     {"done": {"facts", "effect", "agreement", "wall_ns",
                      "peak_memory_bytes"}}
                     {"failed": EdgeconvError as JSON}
"""

from __future__ import annotations

import math
import re
import time
import traceback
from pathlib import Path
from typing import Any

from edgeconv.base.errors import EdgeconvError
from edgeconv.bench.lock import Report, shared_lock
from edgeconv.bench.memory import read_peak, reset_peak
from edgeconv.conversion.calls import as_error
from edgeconv.recipe.specs import StepKind
from edgeconv.sandbox.channel import Channel

_BETWEEN_FRACTIONS_S = 0.05
_LONGEST_TEXT = 1500
_LONG_WORD = re.compile(r"\S{300,}")
_WORD_KEPT = 60


def main(channel: Channel) -> None:
    """Answers messages until the parent closes the channel.

    Whatever computes does so under the machine's shared lock, never beside a measurement.
    """
    runner: Any = None
    while (message := channel.receive()) is not None:
        if runner is None:
            from edgeconv.conversion.steps import StepRunner

            runner = StepRunner()
        if message["do"] == "warm":
            with shared_lock(_reporting(channel)):
                _reporting(channel)(-1.0, "loading libraries")
                _load_libraries()
            channel.send({"done": {}})
        else:
            channel.send(_answer(runner, message, channel))


def _reporting(channel: Channel) -> Report:
    """Tells the parent (fraction or -1, words), of fractions no more than anybody can see."""
    told_s = -math.inf

    def report(fraction: float, words: str) -> None:
        nonlocal told_s
        now_s = time.monotonic()
        if fraction >= 0:
            if now_s - told_s < _BETWEEN_FRACTIONS_S:
                return
            told_s = now_s
        channel.send({"progress": fraction, "message": words})

    return report


def _load_libraries() -> None:
    import litert_torch
    import onnxruntime
    import torch.onnx

    del litert_torch, onnxruntime, torch


def _answer(runner: Any, message: dict[str, Any], channel: Channel) -> dict[str, Any]:
    call = _read_call(message)
    report = _reporting(channel)
    try:
        with shared_lock(report):
            # A wait is over; what the step says of itself may come late or never.
            report(-1.0, "")
            reset_peak()
            began_ns = time.monotonic_ns()
            outcome = runner.run(call, report)
    except ImportError:
        # A child that can't load its libraries is of no more use.
        raise
    except Exception as fault:
        # The trace of an unexpected one goes to the log.
        if not isinstance(fault, EdgeconvError):
            traceback.print_exception(fault)
        return {"failed": _printable(as_error(call.kind, call.name, fault).to_json())}
    return {
        "done": {
            **outcome.to_json(),
            "wall_ns": time.monotonic_ns() - began_ns,
            "peak_memory_bytes": read_peak().peak_bytes,
        }
    }


def _printable(value: Any) -> Any:
    """An error that can be kept and shown: its words come out of files as often as not."""
    if isinstance(value, dict):
        return {_printable(key): _printable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_printable(each) for each in value]
    if not isinstance(value, str):
        return value
    text = value.encode(errors="backslashreplace").decode().replace("\0", "\\x00")
    # A name without end would leave no room for what is wrong with it.
    text = _LONG_WORD.sub(lambda word: f"{word[0][:_WORD_KEPT]}…{word[0][-_WORD_KEPT:]}", text)
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]} …"


def _read_call(message: dict[str, Any]) -> Any:
    from edgeconv.conversion.steps import StepCall, StepInput

    return StepCall(
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
