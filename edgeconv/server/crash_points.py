"""Named moments between two changes of the truth, where a test can have the server killed.

    EDGECONV_CRASH_AT="step claimed:2" edgeconv serve    dies when it gets there the second time
    EDGECONV_CRASH_AT="any:40" edgeconv serve            dies at the 40th moment, whichever it is

Death is SIGKILL: nothing is closed, flushed or told. Without the variable `reached` is a look
into an empty mapping. The suite kills a server at each of these and compares what comes out
with what a server makes that nobody disturbs.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from enum import StrEnum

VARIABLE = "EDGECONV_CRASH_AT"
ANY = "any"
SAID = "crash point reached: "
"""What stands on standard error between the process and the point that was its last."""


class CrashPoint(StrEnum):
    """What has just happened; named after it."""

    STORE_OPENED = "store opened"
    SCRATCH_SWEPT = "scratch swept"
    EXECUTOR_KNOWN = "executor known"
    OTHERS_DECLARED_DEAD = "others declared dead"
    LEFT_JOBS_CANCELLED = "left jobs cancelled"
    LEFT_JOBS_RESUMED = "left jobs resumed"
    LOST_JOBS_STARTED = "lost jobs started"
    LISTENING = "listening"
    NEEDLESS_JOBS_ENDED = "needless jobs ended"
    FLEET_SWEPT = "fleet swept"

    PART_STORED = "part stored"
    PART_KNOWN = "part known"
    MODEL_CREATED = "model created"
    MODEL_INSPECTED = "model inspected"
    MODEL_SETTLED = "model settled"
    DATASET_CREATED = "dataset created"
    DATASET_INSPECTED = "dataset inspected"
    DATASET_SETTLED = "dataset settled"
    CONVERSION_CREATED = "conversion created"

    JOB_QUEUED = "job queued"
    JOB_TAKEN = "job taken"
    JOB_DONE = "job done"
    JOB_LEFT = "job left"

    ATTEMPT_BEGUN = "attempt begun"
    STEP_CLAIMED = "step claimed"
    STEP_TOLD = "step told"
    CHILD_STARTED = "child started"
    INPUTS_BROUGHT = "inputs brought"
    STEP_SENT = "step sent"
    STEP_ANSWERED = "step answered"
    BLOB_WRITTEN = "blob written"
    FILES_TAKEN = "files taken"
    STEP_RECORDED = "step recorded"
    STEP_RELEASED = "step released"
    STEP_REPORTED = "step reported"
    RESULT_FORGOTTEN = "result forgotten"
    VARIANT_MADE = "variant made"
    VARIANTS_FAILED = "variants failed"
    CHILD_KEPT = "child kept"
    STEPS_FINISHED = "steps finished"
    CONVERSION_FAILED = "conversion failed"
    CHILD_ENDED = "child ended"

    CONVERSION_CANCELLED = "conversion cancelled"
    JOB_CANCELLED = "job cancelled"

    BENCHMARK_CREATED = "benchmark created"
    BENCHMARK_LEASED = "benchmark leased"
    RESULT_STORED = "result stored"
    RESULT_KNOWN = "result known"
    OUTCOME_TAKEN = "outcome taken"

    STEP_RETIRED = "step retired"
    CONVERSION_COLLECTED = "conversion collected"
    BYTES_REMOVED = "bytes removed"
    BLOB_REMOVED = "blob removed"
    STORE_COLLECTED = "store collected"

    EXECUTOR_RETIRED = "executor retired"


def reached(point: CrashPoint) -> None:
    """Dies here if this is where the process was told to."""
    if _left and (point.value in _left or ANY in _left):
        _count(point)


def _count(point: CrashPoint) -> None:
    with _counting:
        for name in (point.value, ANY):
            if name in _left:
                _left[name] -= 1
                if not _left[name] and _may_die[0]():
                    os.write(2, f"{os.getpid()} {SAID}{point.value}\n".encode())
                    os.kill(os.getpid(), signal.SIGKILL)


def arm(said: str, *, may_die: Callable[[], bool] = lambda: True) -> None:
    """Has this process die as `said` in the form of the variable; empty is never.

    Args:
        may_die: Asked when it has come there; where the answer is no, it goes on living.

    Raises:
        ValueError: there is no such point.
    """
    name, _, number = said.partition(":")
    known = name in (*CrashPoint, ANY) and number.isdecimal() and number != "0"
    with _counting:
        _left.clear()
        _may_die[0] = may_die
        if known:
            _left[name] = int(number)
    if said and not known:
        raise ValueError(f"{VARIABLE} is {said!r}; it takes a name of crash_points.py, as NAME:N")


_left: dict[str, int] = {}
_may_die: list[Callable[[], bool]] = [lambda: True]
_counting = threading.Lock()
arm(os.environ.get(VARIABLE, ""))
