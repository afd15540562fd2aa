"""Collects by and by while a server runs."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from edgeconv.base.quantities import NS_PER_S, format_bytes
from edgeconv.server.retention.collector import Collector
from edgeconv.server.retention_rules import GRACE_NS

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class RetentionSettings:
    """What a server removes by itself.

    Attributes:
        keep_for_s: Results of steps and files of ended conversions are removed that were not
            used for so long. None keeps them: what a team counts on does not vanish because
            nobody said so.
        cap_bytes: What all blobs may take; None is without a cap.
        first_s: How long after the start it begins.
        grace_s: What was used or touched more recently than that stays in any case.
        every_s: How often it collects. What nobody refers to goes whatever is set above.
    """

    keep_for_s: float | None = None
    cap_bytes: int | None = None
    first_s: float = 60.0
    every_s: float = 3600.0
    grace_s: float = GRACE_NS / NS_PER_S


async def collect_forever(collector: Collector, settings: RetentionSettings) -> None:
    """Collects again and again until it is cancelled."""
    await asyncio.sleep(settings.first_s)
    while True:
        try:
            await _collect(collector, settings)
        except Exception:
            # The next round may do better; without one the disk fills up.
            _LOG.exception("retention failed")
        await asyncio.sleep(settings.every_s)


async def _collect(collector: Collector, settings: RetentionSettings) -> None:
    keep_for = settings.keep_for_s
    outcome = await collector.collect(
        older_than_ns=None if keep_for is None else round(keep_for * NS_PER_S),
        cap_bytes=settings.cap_bytes,
    )
    for each in outcome.removed:
        _LOG.info(
            "retention removed %s of %d × %s: %s", format_bytes(each.size_bytes), each.count,
            each.kind.value, each.why.value,
        )  # fmt: skip
    if outcome.over_cap_bytes:
        _LOG.warning(
            "blobs take %s more than the cap: the rest is needed; delete models or datasets, or"
            " raise the cap", format_bytes(outcome.over_cap_bytes),
        )  # fmt: skip
