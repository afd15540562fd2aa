"""What happens to a store from outside: blobs rot, and plans are of another version."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from edgeconv.server.records import StepOutput
from edgeconv.server.store import tables
from edgeconv.testing.crashes.outputs import blob_path, read_store


def damage_artifact(url: str, blobs: Path, model: str) -> str:
    """Damages the files of a verified variant of a model's job; gives the order of the step
    that made them. Blocks."""
    stored = read_store(url)
    (conversion,) = (
        row["id"] for row in stored.conversions if row["model_version"].split("/")[1] == model
    )
    digests = {
        variant["digest"]: variant["files"][0]["parts"][0]["digest"]
        for variant in stored.variants
        if variant["conversion"] == conversion and variant["target"] == "onnx"
    }
    (part,) = digests.values()
    for row in stored.steps:
        if row["state"] != "done":
            continue
        output = StepOutput.model_validate(row["output"])
        if any(each.digest == part for file in output.files for each in file.parts):
            blob_path(blobs, part).write_bytes(b"rotten")
            return str(output.facts["order"])
    raise LookupError(f"no step made {part}")


def spoil_plan(url: str, conversion: str) -> None:
    """Makes the plan of a conversion one that this version can't read. Blocks."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(
            sa.update(tables.conversions)
            .where(tables.conversions.c.id == conversion.removeprefix("conversions/"))
            .values(plan={"steps": "of another version"})
        )
    engine.dispose()


def state_of(url: str, conversion: str) -> str:
    """How a conversion stands. Blocks."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        state = connection.execute(
            sa.select(tables.conversions.c.state).where(
                tables.conversions.c.id == conversion.removeprefix("conversions/")
            )
        ).scalar_one()
    engine.dispose()
    return str(state)
