"""What a conversion says of the data it was given."""

from __future__ import annotations

import asyncio
from pathlib import Path

from edgeconv.testing.running_server import quick_service


def test_an_array_that_nothing_reads_is_told_by_name_and_the_split_in_samples(
    tmp_path: Path,
) -> None:
    async def scenario() -> list[str]:
        async with quick_service(tmp_path) as service:
            model = await service.model()
            arrays = {"x": ("float32", [8, 4]), "labels": ("int64", [8])}
            data = await service.dataset("digits", model=model, **arrays)
            await service.client.wait_dataset(data)
            roles = {"calibration": data, "evaluation": data}
            conversion, _ = await service.convert(model, "", datasets=roles)
            return [note.message for note in conversion.notes]

    split, unread = asyncio.run(scenario())
    assert "about a quarter of its 8 samples" in split
    assert "the others evaluate" in split
    assert unread.startswith("Array 'labels' of the data is not read")
    assert "'label'" in unread
