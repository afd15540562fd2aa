"""The gRPC server: all services behind the edge, with health and reflection."""

from __future__ import annotations

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from edgeconv.server.rpc.agents import AgentService
from edgeconv.server.rpc.benchmarks import BenchmarkService
from edgeconv.server.rpc.conversions import ConversionService
from edgeconv.server.rpc.datasets import DatasetService
from edgeconv.server.rpc.devices import DeviceService
from edgeconv.server.rpc.edge import Edge, TokenCheck
from edgeconv.server.rpc.files import FileService
from edgeconv.server.rpc.models import ModelService
from edgeconv.server.rpc.service_tools import ServiceTools
from edgeconv.server.rpc.storage import StorageService
from edgeconv.v1 import (
    agents_pb2,
    agents_pb2_grpc,
    benchmarks_pb2,
    benchmarks_pb2_grpc,
    conversions_pb2,
    conversions_pb2_grpc,
    datasets_pb2,
    datasets_pb2_grpc,
    devices_pb2,
    devices_pb2_grpc,
    files_pb2,
    files_pb2_grpc,
    models_pb2,
    models_pb2_grpc,
    storage_pb2,
    storage_pb2_grpc,
)

MAX_REQUEST_BYTES = 4 * 1024 * 1024
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Raw samples of a long benchmark are the largest answer."""

MAX_STREAMS = 1000
"""Calls that one connection can have open; more wait at its other end."""


def build_server(tools: ServiceTools, token: str) -> grpc.aio.Server:
    """A server with all services; it listens nowhere yet."""
    server = grpc.aio.server(
        interceptors=[Edge(TokenCheck(token), tools.gates)],
        # Only what comes faster than it can be looked at meets this one.
        maximum_concurrent_rpcs=tools.gates.most_calls,
        options=[
            ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
            ("grpc.max_send_message_length", MAX_ANSWER_BYTES),
            # Two servers on one port would share callers without a word.
            ("grpc.so_reuseport", 0),
            # Clients ask by pings every 10 s whether the server is still there.
            ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
            # A machine that is gone does not close its connections: they are asked as well.
            ("grpc.keepalive_time_ms", 30_000),
            ("grpc.keepalive_timeout_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.max_connection_idle_ms", 900_000),
            ("grpc.server_handshake_timeout_ms", 10_000),
            ("grpc.max_concurrent_streams", MAX_STREAMS),
            ("grpc.max_allowed_incoming_connections", tools.gates.limits.most_connections),
        ],
    )
    files_pb2_grpc.add_FileServiceServicer_to_server(FileService(tools), server)
    models_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(tools), server)
    datasets_pb2_grpc.add_DatasetServiceServicer_to_server(DatasetService(tools), server)
    conversions_pb2_grpc.add_ConversionServiceServicer_to_server(ConversionService(tools), server)
    benchmarks_pb2_grpc.add_BenchmarkServiceServicer_to_server(BenchmarkService(tools), server)
    devices_pb2_grpc.add_DeviceServiceServicer_to_server(DeviceService(tools), server)
    agents_pb2_grpc.add_AgentServiceServicer_to_server(AgentService(tools), server)
    storage_pb2_grpc.add_StorageServiceServicer_to_server(StorageService(tools), server)
    checker = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checker, server)
    protos = (
        files_pb2, models_pb2, datasets_pb2, conversions_pb2, benchmarks_pb2, devices_pb2,
        agents_pb2, storage_pb2,
    )  # fmt: skip
    names = [name for proto in protos for name in _services(proto)]
    reflection.enable_server_reflection(
        [*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server
    )
    return server


def _services(proto: object) -> list[str]:
    descriptor = proto.DESCRIPTOR  # type: ignore[attr-defined]
    return [service.full_name for service in descriptor.services_by_name.values()]
