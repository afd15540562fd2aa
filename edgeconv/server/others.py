"""Wakes those who watch what another server on the same database has changed."""

from __future__ import annotations

import asyncio
import logging

from edgeconv.base.errors import EdgeconvError
from edgeconv.server.changes import Changes
from edgeconv.server.store.stamps import Stamps

_LOG = logging.getLogger(__name__)

_LOOK_S = 0.5
_KINDS = ("conversions/", "datasets/", "models/")


async def follow_others(changes: Changes, stamps: Stamps) -> None:
    """Looks at all that is watched here, twice a second and with one transaction for all
    watchers; at nothing while nobody watches."""
    known: dict[str, str | None] = {}
    while True:
        await asyncio.sleep(_LOOK_S)
        names = [topic for topic in changes.topics() if topic.startswith(_KINDS)]
        if not names:
            known = {}
            continue
        try:
            found = await stamps.read(names)
        except EdgeconvError:
            # The database is lost: a watcher that looks by itself is told so.
            continue
        except Exception:
            # Watchers look by themselves, too, but seldom.
            _LOG.exception("what other servers have changed could not be read")
            continue
        # One that is new may have changed after its watcher's look and before this one.
        changes.touch(name for name in names if name not in known or known[name] != found.get(name))
        known = {name: found.get(name) for name in names}
