"""The states of a run and what may follow each (pure)."""

from __future__ import annotations

NEXT: dict[str, frozenset[str]] = {
    "owed": frozenset({"running", "stopped", "paused", "excused", "missed", "done"}),
    "running": frozenset({"done", "complete", "owed", "failed", "stopped"}),
    "complete": frozenset({"running", "done"}),
    "failed": frozenset({"owed", "paused", "excused", "missed", "done"}),
    "stopped": frozenset({"owed", "paused", "excused", "missed", "done"}),
    "paused": frozenset({"owed", "excused", "done"}),
    "done": frozenset(),
    "excused": frozenset(),
    "missed": frozenset(),
}

# A set may yet fill the night, or a person must see that none does.
UNFILLED = ("owed", "failed", "stopped")


class NotAllowed(Exception):
    """The run's state does not allow that; the message says what it is."""


def check_transition(state: str, following: str) -> None:
    """`NotAllowed` unless a run may go from the one state to the other."""
    if following not in NEXT[state]:
        raise NotAllowed(f"A run that is {state} cannot become {following}.")
