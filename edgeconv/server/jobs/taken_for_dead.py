"""How a job ends whose executor was taken for dead: at once, with nothing written about it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from edgeconv.base.errors import EdgeconvError, Reason

_LOG = logging.getLogger(__name__)


@contextmanager
def ending_with_its_executor() -> Iterator[None]:
    """Cancels the job that is told in the block that its executor does not live.

    It is no failure of what the job works on: another executor does it, and this process ends.

    Raises:
        CancelledError: for DECLARED_DEAD.
    """
    try:
        yield
    except EdgeconvError as error:
        if error.reason is not Reason.DECLARED_DEAD:
            raise
        _LOG.info("%s", error.message)
        raise asyncio.CancelledError from error
