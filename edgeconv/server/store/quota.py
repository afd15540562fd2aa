"""Whether there is room for one more job, inside the transaction that would add it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.server.store.database import Transaction


@dataclass(frozen=True)
class Quota:
    """So many jobs of one kind may be queued or run.

    Attributes:
        noun: What is counted, in words, after a number.
        limit: Name of the server's setting.
        retry_s: When one that is refused had better come again.
    """

    noun: str
    limit: str
    most: int
    retry_s: float = 10.0

    def check(self, tx: Transaction, state: sa.Column[Any], open_states: Collection[str]) -> None:
        """Refuses one more.

        Args:
            state: The column of the table of such jobs.
            open_states: Those of jobs that have not ended.

        Raises:
            EdgeconvError: LIMIT_REACHED.
        """
        count = sa.select(sa.func.count()).where(state.in_(open_states))
        found = tx.execute(count).scalar_one()
        if found >= self.most:
            raise EdgeconvError(
                Reason.LIMIT_REACHED,
                f"There is room for {self.most} {self.noun}, and {found} have not ended.",
                fix="Call again when some have ended, or cancel some.",
                retry_s=self.retry_s,
                limit=self.limit,
                most=self.most,
            )
