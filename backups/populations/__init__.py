"""What this app lists for an auditor (P1 to P7, P9 to P14): everything that was owed, kept, tested, restored, removed and destroyed in a
period, each list with the condition that chose it. Registered when the app is ready."""

from __future__ import annotations

from audit.populations import register_all


def register() -> None:
    from backups.populations import approvals, copies, ends, nights, retention, tests

    for module in (nights, copies, tests, retention, ends, approvals):
        register_all(module.POPULATIONS)
