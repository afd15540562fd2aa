"""What stands in a store in the end, without what may differ from run to run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from edgeconv.server.records import StepOutput
from edgeconv.server.store import tables
from edgeconv.server.store.store import Store

_TIMES = ("wall_ns", "peak_memory_bytes")

Row = dict[str, Any]


@dataclass(frozen=True)
class Stored:
    """The rows of a store, as they are at one moment."""

    conversions: list[Row]
    variants: list[Row]
    reports: list[Row]
    events: list[Row]
    benchmarks: list[Row]
    steps: list[Row]
    models: list[Row]
    datasets: list[Row]
    blobs: list[Row]


@dataclass(frozen=True)
class Aged:
    """What nobody has used for long: a conversion, the keys of its steps, and their blobs."""

    conversion: str
    keys: frozenset[str]
    digests: frozenset[str]


@dataclass(frozen=True)
class Book:
    """What is asked of a store after each death.

    Attributes:
        recorded: Steps whose result is recorded, by key, with the token of the claim that did
            it.
        lost_runs: The most runs lost of a step that is not done, with the one that is under way.
        lost_attempts: The most attempts lost in a row of a conversion that is under way.
    """

    recorded: dict[str, int]
    lost_runs: int
    lost_attempts: int


def read_book(url: str) -> Book:
    """Reads no more than that; blocks."""
    steps, conversions = tables.steps.c, tables.conversions.c
    done = sa.select(steps.key, steps.token).where(steps.state == "done")
    under_way = sa.case((steps.state == "running", 1), else_=0)
    runs = sa.select(sa.func.max(steps.lost_runs + under_way)).where(steps.state != "done")
    attempts = sa.select(sa.func.max(conversions.lost_attempts))
    attempts = attempts.where(conversions.state == "converting")
    engine = sa.create_engine(url)
    try:
        with engine.connect() as connection:
            return Book(
                {row.key: row.token for row in connection.execute(done)},
                connection.execute(runs).scalar_one() or 0,
                connection.execute(attempts).scalar_one() or 0,
            )
    finally:
        engine.dispose()


def read_store(url: str) -> Stored:
    """All rows that a trial looks at; blocks."""
    engine = sa.create_engine(url)
    try:
        with engine.connect() as connection:

            def rows(table: sa.Table) -> list[Row]:
                return [dict(row) for row in connection.execute(sa.select(table)).mappings()]

            return Stored(
                rows(tables.conversions), rows(tables.variants), rows(tables.conversion_steps),
                rows(tables.events), rows(tables.benchmarks), rows(tables.steps),
                rows(tables.model_versions), rows(tables.datasets), rows(tables.blobs),
            )  # fmt: skip
    finally:
        engine.dispose()


def job_outputs(stored: Stored) -> dict[str, Any]:
    """What came of each job, by the name of its model."""
    found: dict[str, Any] = {}
    for row in sorted(stored.conversions, key=lambda row: row["seq"]):
        mine = [each for each in stored.variants if each["conversion"] == row["id"]]
        found[row["model_version"].split("/")[1]] = {
            "state": row["state"],
            "error": _message(row["error"]),
            "notes": row["notes"],
            "variants": {each["name"]: _variant(each) for each in mine},
            "steps": {
                each["id"]: each["key"]
                for each in stored.reports
                if each["conversion"] == row["id"]
            },
            "benchmarks": sorted(
                [each["variant"], each["state"], each["record_digest"], each["outputs_digest"]]
                for each in stored.benchmarks
                if each["conversion"] == row["id"]
            ),
        }
    return found


def step_outputs(stored: Stored) -> dict[str, Any]:
    """What each recorded step made, by its key."""
    return {
        row["key"]: _without_times(row["output"]) for row in stored.steps if row["state"] == "done"
    }


def differences(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Where what was found is not what was expected, in words; what is more counts, too."""
    words = []
    for name in sorted({*expected, *found}):
        if name not in found:
            words.append(f"{name} is missing")
        elif name not in expected:
            words.append(f"{name} is there and was not expected: {found[name]}")
        elif found[name] != expected[name]:
            words.append(f"{name} is {found[name]}, not {expected[name]}")
    return words


async def held_digests(url: str) -> dict[str, str]:
    """Every blob that something in a store refers to, with what does, as retention reads it:
    uploads, datasets, results, artifacts, and what devices sent."""
    store = await Store.open(url, touch=lambda topics: None)
    try:
        return {
            digest: f"{holder.id.kind.value} {holder.id.name}"
            async for page in store.retention.holders()
            for holder in page
            if not holder.deleted
            for digest in holder.digests
        }
    finally:
        await store.close()


def sent_by_devices(stored: Stored) -> dict[str, str]:
    """Digest → whose it is, of the files of one part that ended benchmarks say were sent for
    them: whatever retention knows of these, they are to be there."""
    collected = {row["id"] for row in stored.conversions if row["collected_ns"]}
    found = {}
    for row in stored.benchmarks:
        found[row["record_digest"]] = f"the record of benchmark {row['id']}"
        if row["conversion"] not in collected:
            found[row["outputs_digest"]] = f"the outputs of benchmark {row['id']}"
    found.pop("", None)
    return found


def damaged_blobs(digests: Iterable[str], blobs: Path) -> list[str]:
    """Those whose bytes are missing or others; blocks."""
    return sorted(digest for digest in digests if _digest_of(blobs, digest) != digest)


def digests_of(steps: Iterable[Row]) -> set[str]:
    """The blobs that recorded steps among these made."""
    files = [
        file
        for row in steps
        if row["state"] == "done"
        for file in StepOutput.model_validate(row["output"]).files
    ]
    return {part.digest for file in files for part in file.parts}


def blob_path(blobs: Path, digest: str) -> Path:
    """Where a local store keeps a blob."""
    hexadecimal = digest.removeprefix("sha256:")
    return blobs / "sha256" / hexadecimal[:2] / hexadecimal


def _digest_of(blobs: Path, digest: str) -> str:
    try:
        return f"sha256:{hashlib.sha256(blob_path(blobs, digest).read_bytes()).hexdigest()}"
    except FileNotFoundError:
        return ""


def _variant(row: Row) -> list[Any]:
    return [
        row["state"], row["digest"], _message(row["error"]), row["effects"], row["agreement"],
        row["notes"], row["on_pareto_front"],
    ]  # fmt: skip


def _message(error: Any) -> str:
    return json.dumps(error, sort_keys=True) if error else ""


def _without_times(output: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in output.items() if key not in _TIMES}
