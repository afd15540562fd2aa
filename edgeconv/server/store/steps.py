"""The memory of steps: what was made from what, once, whoever asks.

A step is claimed by a living executor, which gets a token that grows with each claim. Only the
newest owner and token may say that the step is done, so a worker that was thought dead and comes
back is refused. A step that is held is given back when its owner dies. Tokens begin anew when
retention has forgotten a step: then nobody holds it, and who is dead comes back under another name.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from edgeconv.server.records import StepOutput
from edgeconv.server.store.blob_rows import hold
from edgeconv.server.store.database import Database, Transaction, insert_new, transaction
from edgeconv.server.store.living import check_lives
from edgeconv.server.store.tables import steps

MAX_LOST_RUNS = 3


@dataclass(frozen=True)
class StepDone:
    """The step's result is known, and under which claim it was made."""

    output: StepOutput
    owner: str
    token: int


@dataclass(frozen=True)
class StepClaim:
    """The caller is to run the step."""

    token: int


@dataclass(frozen=True)
class StepBusy:
    """Another executor, or another job of this one, runs it."""


@dataclass(frozen=True)
class StepGivenUp:
    """Executors died too often while they ran it; said once, then the count begins anew."""


Claim = StepDone | StepClaim | StepBusy | StepGivenUp


@dataclass(frozen=True)
class Steps:
    """All steps by key."""

    database: Database

    @transaction
    def claim(self, tx: Transaction, key: str, name: str, owner: str) -> Claim:
        """Takes a step, unless it is done or held.

        Raises:
            EdgeconvError: DECLARED_DEAD when the owner does not live.
        """
        check_lives(tx, owner)
        insert_new(
            tx, steps,
            {
                "key": key, "name": name, "state": "new", "owner": "", "token": 0,
                "lost_runs": 0, "output": None, "changed_ns": tx.now_ns, "used_ns": 0,
            },
        )  # fmt: skip
        claimed = tx.row(
            sa.update(steps)
            .where(steps.c.key == key, steps.c.state == "new")
            .values(state="running", owner=owner, token=steps.c.token + 1, changed_ns=tx.now_ns)
            .returning(steps.c.token, steps.c.lost_runs)
        )
        if claimed is None:
            row = tx.row(
                sa.select(steps.c.output, steps.c.owner, steps.c.token).where(steps.c.key == key)
            )
            if row is not None and row["output"] is not None:
                tx.execute(sa.update(steps).where(steps.c.key == key).values(used_ns=tx.now_ns))
                output = StepOutput.model_validate(row["output"])
                return StepDone(output, row["owner"], row["token"])
            return StepBusy()
        if claimed["lost_runs"] >= MAX_LOST_RUNS:
            tx.execute(sa.update(steps).where(steps.c.key == key).values(lost_runs=0, state="new"))
            return StepGivenUp()
        return StepClaim(claimed["token"])

    @transaction
    def output(self, tx: Transaction, key: str) -> StepOutput | None:
        """A known result."""
        row = tx.row(sa.select(steps.c.output).where(steps.c.key == key))
        return StepOutput.model_validate(row["output"]) if row and row["output"] else None

    @transaction
    def finish(self, tx: Transaction, key: str, owner: str, token: int, output: StepOutput) -> bool:
        """Keeps a result; False when the claim was lost, since its owner was taken for dead.

        Raises:
            EdgeconvError: PART_MISSING as in `hold`.
        """
        done = tx.execute(
            sa.update(steps)
            .where(_held(key, owner, token))
            .values(
                state="done",
                output=output.model_dump(mode="json"),
                lost_runs=0,
                changed_ns=tx.now_ns,
                used_ns=tx.now_ns,
            )
        )
        tx.changed.add(f"steps/{key}")
        if not done.rowcount:
            return False
        hold(tx, output.files)
        return True

    @transaction
    def release(self, tx: Transaction, key: str, owner: str, token: int) -> None:
        """Gives a claim back, because the step failed or was cancelled."""
        tx.execute(
            sa.update(steps)
            .where(_held(key, owner, token))
            .values(state="new", lost_runs=0, changed_ns=tx.now_ns)
        )
        tx.changed.add(f"steps/{key}")

    @transaction
    def forget(self, tx: Transaction, key: str, owner: str, token: int) -> None:
        """Drops a result, because its files are damaged; it will be made again.

        Only the one that was made under that claim: another job may have found it damaged, too,
        and have made it again since.
        """
        tx.execute(
            sa.update(steps)
            .where(_claimed(key, owner, token), steps.c.state == "done")
            .values(state="new", output=None, changed_ns=tx.now_ns)
        )
        tx.changed.add(f"steps/{key}")


def _held(key: str, owner: str, token: int) -> sa.ColumnElement[bool]:
    return sa.and_(_claimed(key, owner, token), steps.c.state == "running")


def _claimed(key: str, owner: str, token: int) -> sa.ColumnElement[bool]:
    return sa.and_(steps.c.key == key, steps.c.owner == owner, steps.c.token == token)
