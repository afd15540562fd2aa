"""What a trial of crashes looks at in the end: the bytes of all that anything refers to."""

from __future__ import annotations

import asyncio
from pathlib import Path

from edgeconv.base.digests import digest_bytes
from edgeconv.server.store.store import Store
from edgeconv.testing.crashes.outputs import blob_path, damaged_blobs, held_digests
from edgeconv.testing.crashes.store_edits import cut_connections
from edgeconv.testing.postgresql import Cluster
from edgeconv.testing.running_server import quick_service

ONE = "version: 1\ntargets: [onnx]\nvariants: {fp32: {}}"


def test_the_bytes_of_uploads_datasets_and_artifacts_are_read(tmp_path: Path) -> None:
    blobs = tmp_path / "state" / "blobs"

    async def scenario() -> dict[str, str]:
        async with quick_service(tmp_path) as service:
            model = await service.model()
            uploads = [digest_bytes((tmp_path / "model.json").read_bytes())]
            await service.dataset("d", x=("float32", [8, 4]))
            uploads.append(digest_bytes((tmp_path / "data.npz").read_bytes()))
            made, _ = await service.convert(model, ONE)
        held = await held_digests(f"sqlite:///{tmp_path / 'state' / 'edgeconv.db'}")
        kinds = [held[digest].split(" ")[0] for digest in uploads]
        assert kinds == ["model", "dataset"]
        assert {made.variants[0].files[0].digest} < held.keys()
        return held

    held = asyncio.run(scenario())
    assert damaged_blobs(held, blobs) == []
    for number, digest in enumerate(sorted(held)):
        if number % 2:
            blob_path(blobs, digest).unlink()
        else:
            blob_path(blobs, digest).write_bytes(b"rotten")
    assert damaged_blobs(held, blobs) == sorted(held)


def test_all_connections_of_a_database_are_cut_and_a_store_goes_on(cluster: Cluster) -> None:
    url, other = cluster.new_database(), cluster.new_database()

    async def scenario() -> None:
        stores = [await Store.open(each, touch=lambda topics: None) for each in (url, other)]
        try:
            known = [await each.installation.identity() for each in stores]
            held_open = cluster.tell(
                f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{_name(url)}'"
            )
            assert await asyncio.to_thread(cut_connections, url) == held_open[0][0]
            assert held_open[0][0]
            assert [await each.installation.identity() for each in stores] == known
        finally:
            for store in stores:
                await store.close()

    asyncio.run(scenario())


def _name(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]
