"""What is wrong with a request's fields, by their paths."""

from __future__ import annotations

import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.server.rpc.fields import check_fields
from edgeconv.v1 import agents_pb2


def _word() -> agents_pb2.SynchronizeRequest:
    device = agents_pb2.AgentDevice(name="devices/a", labels={"kind": "test"})
    return agents_pb2.SynchronizeRequest(agent="a", incarnation="1", devices=[device])


def _paths(request: agents_pb2.SynchronizeRequest) -> list[str]:
    with pytest.raises(EdgeconvError) as caught:
        check_fields(request)
    assert caught.value.reason is Reason.FIELD_INVALID
    assert "\0" not in caught.value.message
    return [violation.field for violation in caught.value.violations]


def test_text_with_a_nul_is_refused_by_its_path() -> None:
    check_fields(_word())
    request = _word()
    request.agent = "a\0"
    request.devices[0].name = "\0"
    lease = agents_pb2.Lease(benchmark="benchmarks/b", token=1)
    request.leases.add(message="a\0b", lease=lease)
    request.devices[0].capabilities.runtimes["onnxruntime"] = "1\0"
    assert set(_paths(request)) == {
        "agent", "devices[0].name", "devices[0].capabilities.runtimes", "leases[0].message",
    }  # fmt: skip


@pytest.mark.parametrize(("key", "value"), [("a\0", "b"), ("a", "b\0")])
def test_a_map_is_named_without_its_key(key: str, value: str) -> None:
    request = _word()
    request.devices[0].labels[key] = value
    assert _paths(request) == ["devices[0].labels"]
