"""The tables. Portable SQL: the same on SQLite and PostgreSQL."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _seq() -> sa.Column[int]:
    return sa.Column("seq", _SEQ, primary_key=True, autoincrement=True)


class _Words(sa.types.TypeDecorator[str]):
    """Text whose U+0000, which PostgreSQL refuses, is seen as "\\x00" on every database.

    What callers send has none. What children and agents say comes out of files as often as not.
    """

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        """What is stored."""
        return value.replace("\0", "\\x00") if isinstance(value, str) else value


def _text(name: str, *, key: bool = False) -> sa.Column[str]:
    return sa.Column(name, _Words, primary_key=key, nullable=False)


def _number(name: str, *, key: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, primary_key=key, nullable=False, autoincrement=False)


def _data(name: str, *, optional: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.JSON(none_as_null=True), nullable=optional)


# Who sent which bytes: a digest alone gives nothing to one who did not send it.
blob_senders = sa.Table(
    "blob_senders", metadata,
    _text("principal", key=True), _text("digest", key=True), _number("size_bytes"),
)  # fmt: skip

# What is or was just stored. Who refers to a blob touches its row in the same transaction;
# who removes a blob removes its row with it, unless it was touched meanwhile.
blobs = sa.Table(
    "blobs", metadata, _text("digest", key=True), _number("size_bytes"), _number("touched_ns"),
)  # fmt: skip

model_versions = sa.Table(
    "model_versions", metadata,
    _seq(), _text("model"), _number("version"), _text("state"), _data("files"), _text("digest"),
    _data("inspection", optional=True), _data("error", optional=True), _number("create_ns"),
    sa.Column("deleted", sa.Boolean, nullable=False),
    sa.UniqueConstraint("model", "version"),
)  # fmt: skip

datasets = sa.Table(
    "datasets", metadata,
    _seq(), _text("dataset"), _text("state"), _data("files"), _text("digest"),
    _text("model_version"), _data("inspection", optional=True), _data("error", optional=True),
    _number("create_ns"),
    sa.UniqueConstraint("dataset"),
)  # fmt: skip

# Memory of steps across conversions: the truth of what was made from what.
steps = sa.Table(
    "steps", metadata,
    _text("key", key=True), _text("name"), _text("state"), _text("owner"), _number("token"),
    _number("lost_runs"), _data("output", optional=True), _number("changed_ns"),
    sa.Column("used_ns", sa.BigInteger, nullable=False, server_default="0"),
)  # fmt: skip

conversions = sa.Table(
    "conversions", metadata,
    _seq(), _text("id"), _text("model_version"), _text("recipe"), _data("plan"), _data("inputs"),
    _text("device_selector"), _data("benchmark"), _text("state"), _number("attempt"),
    _data("error", optional=True), _data("notes"), _data("toolchain"), _number("sequence"),
    _number("create_ns"), _number("end_ns"),
    sa.Column("used_ns", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("collected_ns", sa.BigInteger, nullable=False, server_default="0"),
    _text("executor"), _number("lost_attempts"),
    sa.UniqueConstraint("id"),
    sa.Index("ix_conversions_state", "state"),
)  # fmt: skip

conversion_steps = sa.Table(
    "conversion_steps", metadata,
    _text("conversion", key=True), _number("position", key=True), _text("id"), _text("key"),
    _number("wall_ns"), _number("peak_memory_bytes"),
    sa.Column("reused", sa.Boolean, nullable=False),
)  # fmt: skip

variants = sa.Table(
    "variants", metadata,
    _text("conversion", key=True), _text("name", key=True), _number("position"),
    _text("recipe_variant"), _text("target"), _text("precision"), _data("plan", optional=True),
    _text("state"), _data("error", optional=True), _data("files"), _text("digest"),
    _data("effects"), _data("agreement", optional=True), _data("notes"),
    sa.Column("on_pareto_front", sa.Boolean, nullable=False),
)  # fmt: skip

events = sa.Table(
    "events", metadata,
    _text("conversion", key=True), _number("sequence", key=True), _number("time_ns"),
    _text("kind"), _data("body"),
)  # fmt: skip

benchmarks = sa.Table(
    "benchmarks", metadata,
    _seq(), _text("id"), _text("conversion"), _text("variant"), _text("title"), _text("format"),
    _data("files"), _data("samples", optional=True), _data("outputs", optional=True),
    _text("device_selector"), _data("request"),
    _number("priority"), _text("state"), _text("device"), _text("agent"), _number("token"),
    _number("expires_ns"), _number("attempts"), _data("failed_on"),
    _data("error", optional=True), _text("failure_owner"), _data("summary", optional=True),
    _text("record_digest"), _text("outputs_digest"), _text("waiting_reason"),
    _number("create_ns"), _number("end_ns"),
    sa.UniqueConstraint("id"),
    sa.Index("ix_benchmarks_state", "state"),
    sa.Index("ix_benchmarks_conversion", "conversion"),
)  # fmt: skip

# Bytes that came under a lease, and for which benchmark.
benchmark_files = sa.Table(
    "benchmark_files", metadata,
    _text("benchmark", key=True), _text("digest", key=True), _number("token"),
    _data("file"),
)  # fmt: skip

devices = sa.Table(
    "devices", metadata,
    _text("device", key=True), _text("agent"), _data("capabilities"), _data("labels"),
    _text("state"), _text("reason"), _number("since_ns"), _text("benchmark"),
    _number("last_seen_ns"), _number("failures_in_row"), _text("held"), _text("held_reason"),
)  # fmt: skip

agents = sa.Table(
    "agents", metadata,
    _text("agent", key=True), _text("incarnation"), _text("version"), _number("last_seen_ns"),
    _text("place"),
)  # fmt: skip

executors = sa.Table(
    "executors", metadata,
    # `steady_ns`: since when it beats without a pause. `revision`: the newest migration that
    # its code knows.
    _text("executor", key=True), _number("heartbeat_ns"), _number("steady_ns"), _text("revision"),
)  # fmt: skip

requests = sa.Table(
    "requests", metadata,
    _text("principal", key=True), _text("request_id", key=True), _text("fingerprint"),
    _text("result"), _number("create_ns"),
)  # fmt: skip

# What is true of the database as a whole, by name.
installation = sa.Table(
    "installation", metadata, _text("name", key=True), _text("value")
)  # fmt: skip

# On PostgreSQL, of transactions that wrote: whether one was committed whose answer was lost.
commit_marks = sa.Table(
    "commit_marks", metadata, _text("mark", key=True), _number("create_ns")
)  # fmt: skip
