"""The promises P1 to P14, as the policy says them to the customers, and the criteria of SOC 2 under which an auditor looks for each.

Pure. `audit.controls` measures them, `audit.populations` proves them, `tests/policy/` holds one file for each.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Standing(StrEnum):
    """How a promise stands, from best to worst."""

    KEPT = "kept"
    AT_RISK = "at risk"
    BROKEN = "broken"

    @property
    def rank(self) -> int:
        return list(Standing).index(self)


@dataclass(frozen=True, slots=True)
class Promise:
    """`number` as in P1; `sentence` is the policy's own; `criteria` of SOC 2 (trust services criteria) that ask for it."""

    number: str
    sentence: str
    criteria: tuple[str, ...]


PROMISES: dict[str, Promise] = {
    one.number: one
    for one in (
        Promise("P1", "Every night a full backup of every customer's data is made.", ("A1.2",)),
        Promise("P2", "Between the nights, hot backups follow every change up to the second.", ("A1.2",)),
        Promise("P3", "Copies are kept in several locations, at least one of them offsite.", ("A1.2",)),
        Promise("P4", "Backups are whole: every stored byte is read again and checked, damage is found and mended.", ("A1.2", "CC7.1")),
        Promise(
            "P5",
            "Only appropriate people get in, and no one person can destroy or overwrite.",
            ("CC6.1", "CC6.2", "CC6.3", "C1.1"),
        ),
        Promise("P6", "Nightly sets are kept for 4 weeks, then weekly sets for 52 weeks, then monthly sets.", ("A1.2", "C1.1")),
        Promise("P7", "Test restores are made regularly, and prove that the backups work.", ("A1.3", "CC7.5")),
        Promise(
            "P8",
            "Every change to data records, uploaded content and links is tracked: who, what, when and why; it cannot be altered unseen.",
            ("CC7.1", "CC7.2", "C1.1"),
        ),
        Promise(
            "P9",
            "Data is kept for the subscription or 20 years, whichever is first, or for the term that was agreed.",
            ("C1.1", "C1.2"),
        ),
        Promise("P10", "When the subscription ends, for whatever reason, the data is returned.", ("C1.2",)),
        Promise("P11", "The customer acknowledges the receipt, and staff approve it.", ("C1.2", "CC6.3")),
        Promise(
            "P12",
            "Then all live data and every backup copy is destroyed within 30 days, or as agreed, with a certificate.",
            ("C1.2", "CC6.5"),
        ),
        Promise("P13", "There is evidence of all that, for any period.", ("CC7.2", "CC7.3", "CC7.4")),
        Promise("P14", "Any record, file or link comes back from any restore point, by itself, whenever it is needed.", ("A1.2", "A1.3")),
    )
}
