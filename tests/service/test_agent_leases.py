"""An agent under a server that assigns, revokes, forgets and goes away.

The server holds its queue in memory and speaks the agents' service over real gRPC; the devices
are scripted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from edgeconv.agent.run import run_agent
from edgeconv.agent.settings import AgentSettings
from edgeconv.base.digests import digest_bytes
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.client.patience import Patience
from edgeconv.results.status import from_status
from edgeconv.testing.agent_server import AgentServer
from edgeconv.testing.fake_device import FakeDevice, Script
from edgeconv.v1 import agents_pb2, benchmarks_pb2

ARTIFACT = b"not a model, and nobody here reads it" * 1000
QUICKLY = Patience(first_s=0.01, longest_s=0.05, limit_s=float("inf"))
LIMIT_S = 20.0


def assignment(token: int = 1, benchmark: str = "b1", **changes: Any) -> agents_pb2.Assignment:
    made = agents_pb2.Assignment(
        lease=agents_pb2.Lease(benchmark=f"benchmarks/{benchmark}", token=token),
        lease_duration=Duration(seconds=30),
        device="devices/fake",
        format="onnx",
        files=[
            agents_pb2.AssignedFile(
                role="artifact",
                name="net.onnx",
                digest=digest_bytes(ARTIFACT),
                size_bytes=len(ARTIFACT),
            )
        ],
        request=benchmarks_pb2.BenchmarkRequest(effort="quick"),
    )
    made.MergeFrom(agents_pb2.Assignment(**changes))
    return made


@dataclass
class Site:
    """A server, and agents that are started on one state folder."""

    server: AgentServer
    address: str
    state: Path
    said: list[str] = field(default_factory=list)
    spoke: asyncio.Event = field(default_factory=asyncio.Event)

    def say(self, sentence: str) -> None:
        self.said.append(sentence)
        self.spoke.set()

    async def hears(self, words: str) -> None:
        while not any(words in sentence for sentence in self.said):
            self.spoke.clear()
            await self.spoke.wait()

    async def during(
        self, device: FakeDevice, use: Callable[[], Awaitable[None]], **changes: Any
    ) -> None:
        """Runs an agent while `use` runs, and lets it leave afterwards."""
        stop = asyncio.Event()
        settings = AgentSettings(server=self.address, state=self.state, **changes)
        agent = asyncio.create_task(
            run_agent(settings, stop, self.say, drivers=[device], patience=QUICKLY)
        )
        using = asyncio.create_task(self._use(use))
        await asyncio.wait({agent, using}, return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        async with asyncio.timeout(LIMIT_S):
            await agent
            await using

    async def _use(self, use: Callable[[], Awaitable[None]]) -> None:
        async with asyncio.timeout(LIMIT_S):
            await use()


def on_site(tmp_path: Path, play: Callable[[Site], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        server = AgentServer(files={digest_bytes(ARTIFACT): ARTIFACT})
        async with server.listening() as address:
            await play(Site(server, address, tmp_path / "agent"))

    asyncio.run(main())


def test_a_benchmark_is_fetched_measured_uploaded_and_reported(tmp_path: Path) -> None:
    async def play(site: Site) -> None:
        server = site.server
        samples = agents_pb2.AssignedFile(
            role="samples", name="samples.npz", digest=digest_bytes(b"in"), size_bytes=2
        )
        server.files[samples.digest] = b"in"
        server.assigned.append(assignment(files=[samples]))
        device = FakeDevice(scripts=[Script(record={"a": 1}, outputs=b"npz")])
        await site.during(device, lambda: server.until(lambda: server.results))
        result = server.results[1]
        assert server.uploads[result.record_digest] == b'{"a": 1}'
        assert server.uploads[result.outputs_digest] == b"npz"
        assert not result.HasField("error")
        (job,) = device.measured
        assert (job.file, job.format, job.effort) == ("net.onnx", "onnx", "quick")
        assert not device.prepared
        assert not list((site.state / "work").iterdir())

    on_site(tmp_path, play)


def test_the_same_artifact_is_fetched_once(tmp_path: Path) -> None:
    async def play(site: Site) -> None:
        server = site.server
        device = FakeDevice()

        async def use() -> None:
            server.assigned.append(assignment(1, "b1"))
            await server.until(lambda: 1 in server.results)
            server.assigned.append(assignment(2, "b2"))
            await server.tell()
            await server.until(lambda: 2 in server.results)

        await site.during(device, use)
        assert server.fetches == [0]
        assert len(device.measured) == 2

    on_site(tmp_path, play)


def test_a_fetch_goes_on_after_a_restart(tmp_path: Path) -> None:
    async def play(site: Site) -> None:
        server = site.server
        cache = site.state / "cache"
        cache.mkdir(parents=True)
        name = digest_bytes(ARTIFACT).removeprefix("sha256:")
        (cache / f"{name}.part").write_bytes(ARTIFACT[:1234])
        server.assigned.append(assignment())
        await site.during(FakeDevice(), lambda: server.until(lambda: server.results))
        assert server.fetches == [1234]
        assert not server.results[1].HasField("error")

    on_site(tmp_path, play)


def test_a_revoked_lease_ends_the_measurement_at_once(tmp_path: Path) -> None:
    async def play(site: Site) -> None:
        server, device = site.server, FakeDevice(scripts=[Script(hangs=True), Script()])
        server.assigned.append(assignment(1))

        async def use() -> None:
            await device.began.wait()
            server.revoked.append(assignment(1).lease)
            server.assigned.append(assignment(2))
            await server.tell()
            await server.until(lambda: 2 in server.results)
            assert device.running == 0

        await site.during(device, use)
        assert set(server.results) == {2}
        assert device.most_at_once == 1

    on_site(tmp_path, play)


def test_a_lease_that_expires_unheard_ends_the_measurement(tmp_path: Path) -> None:
    async def play(site: Site) -> None:
        server, device = site.server, FakeDevice(scripts=[Script(hangs=True)])
        server.assigned.append(assignment(1, lease_duration=Duration(seconds=-29)))

        async def use() -> None:
            await device.began.wait()
            server.assigned.clear()
            server.refusal = EdgeconvError(Reason.LIMIT_REACHED, "Too many agents.")
            await device.ended.wait()

        await site.during(device, use)
        assert not server.results

    on_site(tmp_path, play)


def test_a_lease_lost_while_fetching_is_dropped_without_a_result(tmp_path: Path) -> None:
    async def play(site: Site) -> None:
        server, device = site.server, FakeDevice()
        server.lost = True
        server.assigned.append(assignment(1))

        async def use() -> None:
            await server.until(lambda: server.words and server.words[-1].leases)
            await server.until(lambda: not server.words[-1].leases)
            server.assigned.clear()

        await site.during(device, use)
        assert not device.measured
        assert not server.results

    on_site(tmp_path, play)


@pytest.mark.parametrize(
    ("error", "owner"),
    [
        (EdgeconvError(Reason.RUNTIME_REFUSED, "no"), benchmarks_pb2.FAILURE_OWNER_MODEL),
        (EdgeconvError(Reason.DEVICE_FAILED, "no"), benchmarks_pb2.FAILURE_OWNER_DEVICE),
        (EdgeconvError(Reason.INTERNAL, "no"), benchmarks_pb2.FAILURE_OWNER_INFRASTRUCTURE),
    ],
)
def test_a_failure_is_reported_with_its_owner(
    tmp_path: Path, error: EdgeconvError, owner: int
) -> None:
    async def play(site: Site) -> None:
        server = site.server
        server.assigned.append(assignment())
        device = FakeDevice(scripts=[Script(error=error)])
        await site.during(device, lambda: server.until(lambda: server.results))
        assert from_status(server.results[1].error).reason is error.reason
        assert server.results[1].failure_owner == owner
        assert not device.prepared

    on_site(tmp_path, play)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": "tflite"}, Reason.FIELD_INVALID),
        ({"device": "devices/other"}, Reason.DEVICE_FAILED),
        (
            {"files": [agents_pb2.AssignedFile(role="/etc", name="a")]},
            Reason.FIELD_INVALID,
        ),
        (
            {"files": [agents_pb2.AssignedFile(role="samples", name="../a")]},
            Reason.FIELD_INVALID,
        ),
    ],
)
def test_an_assignment_that_makes_no_sense_is_answered(
    tmp_path: Path, changes: dict[str, Any], reason: Reason
) -> None:
    async def play(site: Site) -> None:
        server = site.server
        server.assigned.append(assignment(1, **changes))
        await site.during(FakeDevice(), lambda: server.until(lambda: server.results))
        assert from_status(server.results[1].error).reason is reason

    on_site(tmp_path, play)


@pytest.mark.parametrize("sent", [b"wrong" + ARTIFACT[5:], b"short", ARTIFACT + b"more"])
def test_an_artifact_with_wrong_bytes_is_never_measured(tmp_path: Path, sent: bytes) -> None:
    async def play(site: Site) -> None:
        server, device = site.server, FakeDevice()
        server.files[digest_bytes(ARTIFACT)] = sent
        server.assigned.append(assignment())
        await site.during(device, lambda: server.until(lambda: server.results))
        assert from_status(server.results[1].error).reason is Reason.DIGEST_MISMATCH
        assert server.results[1].failure_owner == benchmarks_pb2.FAILURE_OWNER_INFRASTRUCTURE
        assert not device.measured

    on_site(tmp_path, play)


def test_a_result_is_said_again_until_it_is_acknowledged(tmp_path: Path) -> None:
    async def play(site: Site) -> None:
        server = site.server
        server.acknowledges = False
        server.assigned.append(assignment())

        def said() -> int:
            return sum(bool(w.leases and w.leases[0].HasField("result")) for w in server.words)

        async def use() -> None:
            await server.until(lambda: said() >= 2)
            server.acknowledges = True
            await server.until(lambda: not server.words[-1].leases)

        await site.during(FakeDevice(), use)

    on_site(tmp_path, play)


def test_an_agent_keeps_its_id_and_gets_a_new_incarnation(tmp_path: Path) -> None:
    async def play(site: Site) -> None:
        server = site.server
        for count in (1, 2):
            await site.during(FakeDevice(), lambda: server.until(lambda: server.words))
            del server.words[: -1 if count == 1 else len(server.words) - 2]
        first, second = server.words[0], server.words[-1]
        assert first.agent == second.agent
        assert first.incarnation != second.incarnation

    on_site(tmp_path, play)


def test_leaving_gives_back_what_runs_and_still_reports_what_ended(tmp_path: Path) -> None:
    async def play(site: Site) -> None:
        server, device = site.server, FakeDevice(scripts=[Script(hangs=True)])
        server.assigned.append(assignment())
        await site.during(device, lambda: device.began.wait())
        assert device.running == 0
        assert server.words[-1].leaving
        assert not server.words[-1].leases
        assert not server.results

    on_site(tmp_path, play)


def test_leaving_does_not_wait_for_a_server_that_is_gone(tmp_path: Path) -> None:
    async def main() -> None:
        stop = asyncio.Event()
        said: list[str] = []
        settings = AgentSettings(server="127.0.0.1:1", state=tmp_path)

        def say(sentence: str) -> None:
            said.append(sentence)
            stop.set()

        async with asyncio.timeout(5):
            await run_agent(settings, stop, say, drivers=[FakeDevice()], patience=QUICKLY)
        assert "127.0.0.1:1" in said[0]

    asyncio.run(main())


def test_an_agent_outlives_its_server(tmp_path: Path) -> None:
    async def play(site: Site) -> None:
        servicer = site.server

        async def use() -> None:
            await servicer.until(lambda: servicer.words)
            servicer.refusal = EdgeconvError(Reason.SERVER_UNREACHABLE, "Going down.")
            servicer.assigned.append(assignment())
            await servicer.tell()
            await site.hears("Calling again")
            servicer.refusal = None
            await servicer.until(lambda: servicer.results)
            await site.hears("answers again")

        await site.during(FakeDevice(), use)

    on_site(tmp_path, play)


def test_an_agent_that_is_refused_ends_with_the_reason(tmp_path: Path) -> None:
    async def play(site: Site) -> None:
        site.server.refusal = EdgeconvError(Reason.UNAUTHENTICATED, "The token is wrong.")
        with pytest.raises(EdgeconvError, match="token is wrong"):
            await site.during(FakeDevice(), asyncio.Event().wait)  # type: ignore[arg-type]

    on_site(tmp_path, play)


def test_a_drain_is_told_to_the_operator(tmp_path: Path) -> None:
    async def play(site: Site) -> None:
        site.server.draining.append("devices/fake")
        await site.during(FakeDevice(), lambda: site.hears("drains devices/fake"))

    on_site(tmp_path, play)


def test_a_device_that_is_not_taken_is_told_to_the_operator_once(tmp_path: Path) -> None:
    async def play(site: Site) -> None:
        words = "'devices/fake' belongs to agent 'x', which is up."
        site.server.refused["devices/fake"] = EdgeconvError(
            Reason.ALREADY_EXISTS, words, fix="Give the device another name."
        )

        async def use() -> None:
            await site.hears("does not take devices/fake")
            heard = len(site.server.words)
            site.server.assigned.append(assignment())
            await site.server.until(lambda: len(site.server.words) > heard)
            site.server.refused.clear()
            await site.hears("takes devices/fake now")

        await site.during(FakeDevice(scripts=[Script(record={}, outputs=b"")]), use)
        (told,) = [sentence for sentence in site.said if "does not take" in sentence]
        assert words in told
        assert "another name" in told

    on_site(tmp_path, play)


def test_two_agents_do_not_share_a_state_folder(tmp_path: Path) -> None:
    async def play(site: Site) -> None:
        async def use() -> None:
            await site.server.until(lambda: site.server.words)
            settings = AgentSettings(server=site.address, state=site.state)
            with pytest.raises(EdgeconvError) as caught:
                await run_agent(settings, asyncio.Event(), print, drivers=[FakeDevice()])
            assert caught.value.reason is Reason.STATE_LOCKED

        await site.during(FakeDevice(), use)

    on_site(tmp_path, play)
