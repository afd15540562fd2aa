"""The client's pure pieces: parts, patience, the event cursor, errors, finding a server."""

from __future__ import annotations

import inspect
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.state_folder import Endpoint, ensure_token, locked, write_endpoint
from edgeconv.client.aio import AsyncClient
from edgeconv.client.discovery import check_address, find_server
from edgeconv.client.event_cursor import EventCursor
from edgeconv.client.parts import MESSAGE_BYTES, PART_BYTES, cut, plan_parts
from edgeconv.client.patience import Patience
from edgeconv.client.rpc_errors import from_rpc_error
from edgeconv.client.sync import Client
from edgeconv.results.status import to_status
from edgeconv.v1 import conversions_pb2

MIB = 1024 * 1024


@given(st.integers(0, 10_000), st.integers(1, 500))
def test_parts_cover_a_file_once_and_in_order(size: int, part: int) -> None:
    spans = plan_parts(size, part)
    assert sum(span.size for span in spans) == size
    assert [span.offset for span in spans] == [part * place for place in range(len(spans))]
    assert all(span.size == part for span in spans[:-1])
    assert all(0 < span.size <= part for span in spans)


def test_parts_have_the_sizes_that_the_wire_asks_for() -> None:
    assert 8 * MIB <= PART_BYTES <= 32 * MIB
    assert MESSAGE_BYTES <= MIB


@given(st.binary(max_size=200), st.integers(1, 50))
def test_pieces_of_a_part_are_the_part(data: bytes, size: int) -> None:
    pieces = list(cut(memoryview(data), size))
    assert b"".join(pieces) == data
    assert all(0 < len(piece) <= size for piece in pieces)


@given(st.floats(0.001, 1), st.floats(0.001, 10), st.floats(0.01, 100), st.integers(0, 200))
def test_patience_grows_within_its_bounds_and_ends(
    first: float, longest: float, limit: float, tries: int
) -> None:
    patience = Patience(first_s=first, longest_s=longest, limit_s=limit)
    pauses = []
    while patience.pause_s is not None and len(pauses) < tries:
        pauses.append(patience.pause_s)
        patience = patience.after_pause()
    assert sum(pauses) <= limit * 1.000001
    assert pauses == sorted(pauses)
    assert all(pause <= longest for pause in pauses)
    assert patience.renewed() == Patience(first_s=first, longest_s=longest, limit_s=limit)


def test_patience_without_a_limit_never_ends() -> None:
    patience = Patience(limit_s=float("inf"), tries=10**9)
    assert patience.pause_s == patience.longest_s


def event(sequence: int, state: int = 0) -> conversions_pb2.ConversionEvent:
    made = conversions_pb2.ConversionEvent(sequence=sequence)
    if state:
        made.state_changed.state = state  # type: ignore[assignment]
    return made


@given(st.integers(1, 12), st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12))))
def test_any_reconnects_deliver_each_event_once_and_in_order(
    total: int, streams: list[tuple[int, int]]
) -> None:
    cursor, delivered = EventCursor(), []
    for overlap, length in [*streams, (0, total)]:
        begin = max(cursor.sequence - overlap, 0)
        for sequence in range(begin + 1, min(begin + length, total) + 1):
            cursor, new = cursor.take(event(sequence))
            if new:
                delivered.append(sequence)
    assert delivered == list(range(1, total + 1))


@given(st.integers(0, 100), st.integers(2, 50))
def test_a_gap_is_refused_and_the_cursor_stays(at: int, ahead: int) -> None:
    cursor = EventCursor(at)
    with pytest.raises(EdgeconvError) as caught:
        cursor.take(event(at + ahead))
    assert caught.value.metadata == {"sequence": str(at + ahead), "expected": str(at + 1)}


@pytest.mark.parametrize("state", conversions_pb2.ConversionState.values())
def test_a_watch_ends_at_terminal_states_only(state: int) -> None:
    cursor, _ = EventCursor().take(event(1, state))
    name = conversions_pb2.ConversionState.Name(state)  # type: ignore[arg-type]
    ended = ("SUCCEEDED", "FAILED", "CANCELLED")
    assert cursor.ended == name.endswith(ended)


def rpc_error(
    code: grpc.StatusCode, details: str = "", *trailing: tuple[str, bytes]
) -> EdgeconvError:
    error = grpc.aio.AioRpcError(
        code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing), details=details
    )
    return from_rpc_error(error, "10.0.0.1:7400")


@pytest.mark.parametrize("reason", Reason)
def test_what_a_server_sends_arrives_whole(reason: Reason) -> None:
    sent = EdgeconvError(reason, "It is so.", fix="Do that.", field="x")
    status = ("grpc-status-details-bin", to_status(sent).SerializeToString())
    assert rpc_error(grpc.StatusCode.UNKNOWN, "", status).to_json() == sent.to_json()


@pytest.mark.parametrize("code", grpc.StatusCode)
def test_a_bare_code_becomes_an_error_that_names_the_server(code: grpc.StatusCode) -> None:
    error = rpc_error(code, "the details")
    assert error.metadata["address"] == "10.0.0.1:7400"
    gone = code in (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    )
    assert (error.reason is Reason.SERVER_UNREACHABLE) == gone


@pytest.mark.parametrize("value", [b"\xff\xff", b"", b"\x08\x05\x12\x02hi"])
def test_details_of_another_make_are_not_taken_for_ours(value: bytes) -> None:
    error = rpc_error(grpc.StatusCode.UNAVAILABLE, "gone", ("grpc-status-details-bin", value))
    assert error.reason is Reason.SERVER_UNREACHABLE


def test_the_blocking_client_has_the_same_calls_with_the_same_arguments() -> None:
    def calls(of: type) -> dict[str, list[inspect.Parameter]]:
        return {
            name: list(inspect.signature(method).parameters.values())
            for name, method in inspect.getmembers(of, inspect.isfunction)
            if not name.startswith("_") and name not in ("run", "connect")
        }

    assert calls(Client) == calls(AsyncClient)


def test_a_named_server_is_used_before_all_others(tmp_path: Path) -> None:
    environment = {"EDGECONV_SERVER": "there:1", "EDGECONV_TOKEN": "from-environment"}
    assert find_server(tmp_path, environment={}) is None
    assert find_server(tmp_path, environment=environment) == Endpoint("there:1", "from-environment")
    found = find_server(tmp_path, server="named:1", token="given", environment=environment)
    assert found == Endpoint("named:1", "given")
    assert find_server(tmp_path, server="named:1", environment={}) == Endpoint("named:1", "")


def test_the_server_of_the_state_folder_is_found_while_it_runs(tmp_path: Path) -> None:
    with locked(tmp_path):
        token = ensure_token(tmp_path)
        write_endpoint(tmp_path, "127.0.0.1:7400", version="0")
        here = Endpoint("127.0.0.1:7400", token)
        assert find_server(tmp_path, environment={}) == here
        assert find_server(tmp_path, server=here.address, environment={}) == here
        other = find_server(tmp_path, server="elsewhere:1", environment={})
        assert other == Endpoint("elsewhere:1", "")
    assert find_server(tmp_path, environment={}) is None


@pytest.mark.parametrize(
    "address",
    [
        "localhost:1",
        "127.0.0.1:65535",
        "[::1]:50051",
        "unix:/tmp/s",
        "dns:///a.b:7",
        "ipv4:1.2.3.4:5",
    ],
)
def test_forms_of_an_address(address: str) -> None:
    check_address(address)


@pytest.mark.parametrize(
    "address",
    ["localhost", "nonsense", "a:", ":1", "a:0", "a:65536", "a:b", "http://a:1", "::1:5", "a b:1"],
)
def test_what_is_no_address_is_refused_without_a_call(address: str) -> None:
    with pytest.raises(EdgeconvError) as caught:
        Client.connect(address, timeout_s=0.0)
    assert caught.value.reason is Reason.FIELD_INVALID
    assert f"{address!r} does not have the form host:port" in caught.value.message
