"""How much is read tonight (pure; P4, design section 6).

Each object has its day: its last check and the location's period. What must be read tonight is the least that, read every night from now
on, oldest check first, lets no object pass its day: so a full location is read in even parts, and none is read twice as often as promised.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """What one night reads: `bytes`; `asked` is what the period asks for, which a limit may be below; `total` is all that is stored.
    `behind`: with this limit not everything is read in time, and a whole round takes `nights`."""

    bytes: int
    asked: int
    total: int

    @property
    def behind(self) -> bool:
        return self.bytes < self.asked

    @property
    def nights(self) -> int:
        return math.ceil(self.total / self.bytes) if self.bytes else 0


def share(due_in: Mapping[int, int], limit: int | None) -> Share:
    """Tonight's share. `due_in` are the bytes whose day comes in so many whole days (0: tonight, or it is over); `limit` bytes a night at
    most, None for none."""
    asked = running = 0
    for days in sorted(due_in):
        running += due_in[days]
        asked = max(asked, math.ceil(running / max(days, 1)))
    return Share(asked if limit is None else min(asked, limit), asked, running)
