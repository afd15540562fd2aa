"""Every call of the wire with every field bad in every way its type allows.

The table is made from the descriptors, so that a field or a call that is new is in it by
itself. Whatever is sent, the answer is a result or a refusal out of the catalogue; the
server's log has no trace, and the server goes on answering.
"""

from __future__ import annotations

import asyncio
import importlib
import math
import pkgutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.rpc import status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

import edgeconv.v1
from edgeconv.base.digests import digest_bytes
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.results.status import from_status
from edgeconv.testing.running_server import QuickService, quick_service

ONE = "version: 1\ntargets: [onnx]\nvariants: {fp32: {}}"
PART = b"one part"
TEXTS = (
    "\x00", "a\x00b", "../../../etc/passwd", "/", "models/", "a/b/c/d/e", "' OR 1=1 --",
    "Größe 漢字 \u202e\U000e0041", "\r\n\x1b[2J", "-1", "9223372036854775808", "9" * 19, "9" * 5000,
    "sha256:" + "0" * 64, "{a: [", "version: 1\nvariants: {a: {min_snr_db: .nan}}", "x" * 40_000,
)  # fmt: skip
INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-1, 0, 1, 2**31 - 1, -(2**31)),
    FieldDescriptor.CPPTYPE_INT64: (-1, 0, 1, 2**63 - 1, -(2**63)),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_ENUM: (0, 1, 99, -1),
}
FLOATS = (math.nan, math.inf, -math.inf, -0.0, 1e308)
MAX_DEPTH = 4
DOCUMENTED = {"OK", *Reason.__members__} - {"INTERNAL"}


def services() -> list[Any]:
    """All services of the wire, whatever file they stand in."""
    found: dict[str, Any] = {}
    for module in pkgutil.iter_modules(edgeconv.v1.__path__):
        if module.name.endswith("_pb2"):
            proto = importlib.import_module(f"edgeconv.v1.{module.name}")
            found |= {each.full_name: each for each in proto.DESCRIPTOR.services_by_name.values()}
    return [found[name] for name in sorted(found)]


def methods() -> list[MethodDescriptor]:
    """All calls; what others need comes first, and what takes something away last."""
    every = [method for service in services() for method in service.methods]
    late = ("Synchronize", "Cancel", "Delete")
    return sorted(every, key=lambda each: (each.name.startswith(late), each.name != "UploadPart"))


@dataclass
class World:
    """What a good request names, so that what is bad in one is the field that was changed."""

    service: QuickService
    good: dict[str, Any] = field(default_factory=dict)

    async def fill(self) -> None:
        """Makes a resource of every kind, the benchmark leased by an agent."""
        client, agent = self.service.client, self.service.agent()
        model = await self.service.model()
        dataset = await self.service.dataset("d", x=("float32", [8, 4]))
        await client.wait_dataset(dataset)
        conversion, _ = await self.service.convert(model, ONE)
        variant = f"{conversion.name}/variants/{conversion.variants[0].name}"
        await agent.synchronize()
        benchmark = await client.create_benchmark(variant, "any")
        (given,) = (await agent.synchronize()).assignments
        self.good = {
            "model": "models/m", "model_version": model, "dataset": dataset,
            "conversion": conversion.name, "variant": variant, "benchmark": benchmark.name,
            "device": "devices/a", "device_selector": "any", "size_bytes": len(PART),
            "digest": digest_bytes(PART), "token": given.lease.token, "role": "record",
            "recipe": ONE, "agent": "other", "incarnation": "1", "file": "model.bin",
            "resource": variant, "effort": "quick", "FetchFile.digest": given.files[0].digest,
            "CreateDataset.name": "datasets/new", "AgentDevice.name": "devices/b",
            "CreateDataset.File.name": "new.npz", "File.name": "model.json",
        }  # fmt: skip

    def request(self, method: MethodDescriptor) -> Message:
        """A request that is good as a whole."""
        return self._message(method.input_type, method.name)

    def _message(self, descriptor: Descriptor, method: str) -> Message:
        made: Message = message_factory.GetMessageClass(descriptor)()
        for each in descriptor.fields:
            if is_map(each) or each.name in ("result", "error"):
                continue
            if each.message_type is None:
                value = self._value(each, method)
                if value is not None and not each.is_repeated:
                    setattr(made, each.name, value)
            elif each.message_type.file.package == descriptor.file.package:
                put(made, each, self._message(each.message_type, method))
        return made

    def _value(self, field: FieldDescriptor, method: str) -> Any:
        owner, name = field.containing_type.name, field.name
        for key in (f"{method}.{owner}.{name}", f"{method}.{name}", f"{owner}.{name}"):
            if key in self.good and not (owner == "File" and key == f"{method}.{name}"):
                return self.good[key]
        if name != "name":
            return self.good.get(name)
        kinds = ("model_version", "dataset", "conversion", "benchmark", "device")
        return next(self.good[k] for k in kinds if k.title().replace("_", "") in method)


def spoiled(message: Message, depth: int = 0) -> Iterator[tuple[str, Message]]:
    """Copies of a message with one field bad, and which."""
    for each in message.DESCRIPTOR.fields:
        for place, bad in enumerate(bad_values(each)):
            copy = without(message, each)
            put(copy, each, bad)
            yield f"{each.name}#{place}", copy
        if each.message_type is None or is_map(each) or depth == MAX_DEPTH:
            continue
        held = getattr(message, each.name)
        if each.is_repeated:
            held = held[0] if held else empty(each)
        for place, inner in spoiled(held, depth + 1):
            copy = without(message, each)
            put(copy, each, inner)
            yield f"{each.name}.{place}", copy


def bad_values(field: FieldDescriptor) -> list[Any]:
    """Values that the type allows and nobody means; lists of them for what is repeated."""
    if is_map(field):
        values = scalars(field.message_type.fields_by_name["value"])
        return [{}, *({text: values[n % len(values)]} for n, text in enumerate(TEXTS))]
    if field.message_type is not None:
        return [[], [empty(field)] * 5000] if field.is_repeated else [empty(field)]
    found = scalars(field)
    return [[], *([each] for each in found), found * 300] if field.is_repeated else found


def scalars(field: FieldDescriptor) -> list[Any]:
    """Bad values of one element."""
    if field.message_type is not None:
        return [empty(field)]
    if field.type == FieldDescriptor.TYPE_BYTES:
        return [b"", b"\x00\xff", b"z" * 2_000_000]
    return {
        FieldDescriptor.CPPTYPE_STRING: ["", *TEXTS],
        FieldDescriptor.CPPTYPE_BOOL: [False, True],
        FieldDescriptor.CPPTYPE_DOUBLE: list(FLOATS),
        FieldDescriptor.CPPTYPE_FLOAT: list(FLOATS),
        **{kind: list(values) for kind, values in INTEGERS.items()},
    }[field.cpp_type]


def is_map(field: FieldDescriptor) -> bool:
    """Whether a field is a map, which the descriptor shows as repeated entries."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def empty(field: FieldDescriptor) -> Message:
    """A message of the field's type with nothing in it."""
    made: Message = message_factory.GetMessageClass(field.message_type)()
    return made


def without(message: Message, field: FieldDescriptor) -> Message:
    """A copy with the field cleared."""
    copy = type(message)()
    copy.CopyFrom(message)
    copy.ClearField(field.name)
    return copy


def put(message: Message, field: FieldDescriptor, value: Any) -> None:
    """Sets a field of any kind; of a repeated one, to one element or to a list."""
    held = getattr(message, field.name)
    if is_map(field):
        for key, each in value.items():
            held[key] = each
    elif field.is_repeated:
        held.extend(value if isinstance(value, list) else [value])
    elif field.message_type is not None:
        held.SetInParent()
        held.CopyFrom(value)
    else:
        setattr(message, field.name, value)


async def call(service: QuickService, method: MethodDescriptor, request: Message | bytes) -> str:
    """Makes one call; "OK", or the reason it was refused with."""
    answer = message_factory.GetMessageClass(method.output_type)
    kinds = (
        "stream" if it else "unary" for it in (method.client_streaming, method.server_streaming)
    )
    make = getattr(service.channel, "_".join(kinds))(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=lambda sent: (
            sent if isinstance(sent, bytes) else sent.SerializeToString()
        ),
        response_deserializer=answer.FromString,
    )
    sent = messages(request) if method.client_streaming else request
    running = make(sent, metadata=service.metadata, timeout=30)
    try:
        if method.server_streaming:
            async for _ in running:
                pass
        else:
            await running
    except grpc.aio.AioRpcError as error:
        return reason_of(error)
    return "OK"


async def messages(first: Message | bytes) -> AsyncIterator[Message | bytes]:
    """A stream that begins with a header, good or bad, and goes on with data."""
    yield first
    if not isinstance(first, bytes):
        more = type(first)()
        put(more, first.DESCRIPTOR.fields_by_name["data"], PART)
        yield more


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """The reason of the catalogue; without one, the words of the transport."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            said = from_status(status_pb2.Status.FromString(value))
            check_words(said, error)
            return said.reason.name
    return f"{error.code().name}: {error.details()}"[:200]


def check_words(said: EdgeconvError, error: grpc.aio.AioRpcError) -> None:
    """A refusal has its reason's code, a sentence, and names the fields that are wrong."""
    assert error.code().value[0] == said.reason.status.code
    assert said.message.strip()
    if said.reason in (Reason.FIELD_INVALID, Reason.RECIPE_INVALID):
        assert said.violations, said.message


async def still_well(service: QuickService) -> None:
    """The server answers health and a call of its own."""
    health = health_pb2_grpc.HealthStub(service.channel)
    answer = await health.Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert await service.client.list_model_versions() is not None


def faults(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log traced."""
    return sorted({repr(each.exc_info[1])[:300] for each in caplog.records if each.exc_info})


def test_a_bad_field_is_refused_in_words_and_nothing_breaks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with quick_service(tmp_path) as service:
            world = World(service)
            await world.fill()
            wrong, good = [], {}
            for method in methods():
                whole = world.request(method)
                good[method.name] = await call(service, method, whole)
                for name, request in [("empty", type(whole)()), *spoiled(whole)]:
                    answer = await call(service, method, request)
                    if answer not in DOCUMENTED:
                        wrong.append((method.name, name, answer))
            assert wrong == []
            assert {name: answer for name, answer in good.items() if answer != "OK"} == {
                # Nothing was measured, and the device still holds the benchmark.
                "GetBenchmarkRecord": "NOT_READY",
                "DeleteDevice": "NOT_READY",
            }
            await still_well(service)

    asyncio.run(main())
    assert faults(caplog) == []


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_nul_in_any_text_is_refused_whatever_the_database(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = request.getfixturevalue("cluster").new_database() if kind == "postgresql" else ""

    async def main() -> None:
        async with quick_service(tmp_path, database=database) as service:
            world = World(service)
            await world.fill()
            wrong, tried = [], 0
            for method in methods():
                for name, request in spoiled(world.request(method)):
                    text = str(request)
                    if "\\000" not in text or "\\377" in text:
                        continue
                    tried += 1
                    answer = await call(service, method, request)
                    # A status is what something else said: that is kept, with the NUL seen.
                    expected = ["OK", "FIELD_INVALID"] if "error." in name else ["FIELD_INVALID"]
                    if answer not in expected:
                        wrong.append((method.name, name, answer))
            assert wrong == []
            assert tried > 100
            await still_well(service)

    asyncio.run(main())
    assert faults(caplog) == []


def test_bytes_that_are_no_message_are_refused_in_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with quick_service(tmp_path) as service:
            for method in methods():
                for garbage in (b"\xff", b"\x0a\xff\xff\xff\xff\x0f"):
                    assert await call(service, method, garbage) == "FIELD_INVALID"
            await still_well(service)

    asyncio.run(main())
    assert faults(caplog) == []
