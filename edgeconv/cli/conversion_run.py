"""Runs one conversion on a server from upload to result; Ctrl-C cancels it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.exit_codes import ExitCode
from edgeconv.results.job import JobResult

if TYPE_CHECKING:
    from edgeconv.cli.convert_request import ConvertRequest
    from edgeconv.cli.terminal import Terminal
    from edgeconv.client.sync import Client

_ENDED = ("succeeded", "partly_succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class Measuring:
    """How the variants are measured.

    Attributes:
        device: A selector; "none" measures nothing.
        threads: Of the runtime; 0 leaves it to the device.
    """

    device: str
    effort: str
    threads: int = 0


def run_conversion(
    client: Client,
    request: ConvertRequest,
    model: Sequence[Path],
    *,
    shapes: Mapping[str, str],
    measuring: Measuring,
    terminal: Terminal,
) -> JobResult:
    """Uploads, converts, measures, and gives the result.

    Data that can't be read is refused before anything is sent, and data that does not fit
    the model before it is sent itself.

    Raises:
        EdgeconvError: DATASET_INVALID, DATASET_MISMATCH; what the server refuses at the call.
        KeyboardInterrupt: after the job was cancelled.
    """
    from edgeconv.cli.dataset_files import check_declared, read_declared
    from edgeconv.cli.uploads import upload_dataset, upload_model
    from edgeconv.v1 import benchmarks_pb2

    declared = {path: read_declared(path) for path in dict.fromkeys(request.files.values())}
    version = upload_model(client, model, terminal)
    if declared:
        check_declared(declared, version, shapes)
    uploaded: dict[Path, str] = {}
    datasets = dict(request.datasets)
    for role, path in request.files.items():
        if path not in uploaded:
            uploaded[path] = upload_dataset(client, path, terminal).name
        datasets[role] = uploaded[path]
    conversion = client.create_conversion(
        version.name,
        recipe=request.recipe,
        datasets=datasets,
        shapes=shapes,
        device_selector=measuring.device,
        benchmark=benchmarks_pb2.BenchmarkRequest(
            effort=measuring.effort, threads=measuring.threads
        ),
    )
    return follow(client, conversion.name, terminal, cancel_on_interrupt=True)


def follow(
    client: Client, name: str, terminal: Terminal, *, cancel_on_interrupt: bool
) -> JobResult:
    """Shows a conversion's events until it has ended, and gives its result.

    Raises:
        EdgeconvError: SERVER_UNREACHABLE when the server was lost and did not come back.
        KeyboardInterrupt: after the job was cancelled, where that is asked for.
    """
    from edgeconv.cli.job_progress import showing
    from edgeconv.results.wire import job_result

    try:
        with showing(terminal) as progress:
            for event in client.watch_conversion(name):
                progress.take(event)
    except EdgeconvError as error:
        if error.reason is Reason.SERVER_UNREACHABLE:
            error.fix = f"When it runs again, `edgeconv jobs watch {name}` goes on."
        raise
    except KeyboardInterrupt:
        if cancel_on_interrupt:
            terminal.say(f"Cancelling {name} …")
            # The server may be gone too; the interrupt is what counts.
            with suppress(EdgeconvError):
                client.cancel_conversion(name)
        raise
    return job_result(client.get_conversion(name))


def exit_code_of(result: JobResult) -> ExitCode:
    """The exit code of a command that ends with this result; DONE while it runs."""
    if result.state == "cancelled":
        return ExitCode.INTERRUPTED
    if result.state == "partly_succeeded":
        return ExitCode.PARTLY_DONE
    if result.state != "failed":
        return ExitCode.DONE
    reasons = [result.error.reason] if result.error else []
    if reasons in ([], [Reason.NO_VARIANT.name]):
        # One cause for all variants says more than that none could be made.
        found = {variant.error.reason for variant in result.variants if variant.error}
        reasons = list(found) if len(found) == 1 else reasons
    reason = reasons[0] if reasons else Reason.NO_VARIANT.name
    known = Reason[reason] if reason in Reason.__members__ else Reason.INTERNAL
    return known.exit_code


def has_ended(result: JobResult) -> bool:
    """Whether the job's state will not change any more."""
    return result.state in _ENDED
