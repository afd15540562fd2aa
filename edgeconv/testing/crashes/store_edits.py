"""What happens to a store from outside: blobs rot, time goes by, plans are of another version,
and connections break."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from edgeconv.server.records import StepOutput
from edgeconv.server.store import tables
from edgeconv.testing.crashes.outputs import Aged, Stored, blob_path, digests_of, read_store


def damage_artifact(url: str, blobs: Path, model: str) -> str:
    """Damages the files of a verified variant of a model's job; gives the order of the step
    that made them. Blocks."""
    stored = read_store(url)
    conversion = _conversion_of(stored, model)
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


def age(url: str, model: str) -> Aged:
    """Makes a model's job, its steps and their blobs ones that were not used for decades.
    Blocks."""
    stored = read_store(url)
    conversion = _conversion_of(stored, model)
    keys = {row["key"] for row in stored.reports if row["conversion"] == conversion}
    digests = digests_of(row for row in stored.steps if row["key"] in keys)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for table, mine, values in (
            (
                tables.conversions,
                tables.conversions.c.id == conversion,
                {"used_ns": 1, "end_ns": 1},
            ),
            (tables.steps, tables.steps.c.key.in_(keys), {"used_ns": 1}),
            (tables.blobs, tables.blobs.c.digest.in_(digests), {"touched_ns": 1}),
        ):
            connection.execute(sa.update(table).where(mine).values(values))
    engine.dispose()
    return Aged(conversion, frozenset(keys), frozenset(digests))


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


def cut_connections(url: str) -> int:
    """Ends all connections of others to a PostgreSQL database, and says how many. Blocks."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        ended = connection.execute(
            sa.text(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        ).scalar_one()
    engine.dispose()
    return int(ended)


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


def _conversion_of(stored: Stored, model: str) -> str:
    (conversion,) = (
        row["id"] for row in stored.conversions if row["model_version"].split("/")[1] == model
    )
    return str(conversion)
