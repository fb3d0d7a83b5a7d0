"""The state at a moment: the longest prefix of a chain that consists of whole transactions and is no newer (pure; design section 4).

A transaction's effective time is the running maximum of `written_at` along the chain, so that no later change is older: as soon as one lies
behind the moment, all that follow do.
"""

from __future__ import annotations

from dataclasses import dataclass

from audit.chain import START, Head


@dataclass(frozen=True, slots=True)
class Step:
    """One change of the chain. `end`: whether its transaction ends with it; None where only the next change tells."""

    head: Head
    transaction: str
    written_at: str
    end: bool | None = None


@dataclass(slots=True)
class Prefix:
    """Takes the chain step by step. `at` as changes have it (`2026-01-31T23:59:59.000000Z`), None for all there is.

    `head` is the newest change in the state and `effective_at` when that transaction was made; `beyond` says that a later one was seen, so
    that nothing which follows can alter the answer.
    """

    at: str | None
    head: Head = START
    effective_at: str = ""
    beyond: bool = False
    latest: str = ""
    _last: Step | None = None

    def add(self, step: Step) -> None:
        if self._last is not None and self._last.transaction != step.transaction:
            self._take(self._last)
        self.latest = max(self.latest, step.written_at)
        if self.at is not None and self.latest > self.at:
            self.beyond = True
        elif step.end:
            self._take(step)
        else:
            self._last = step

    def finish(self, *, goes_on: bool) -> None:
        """The chain is known no further: its last transaction ends there, unless it is told that it goes on."""
        if self._last is not None and self._last.end is None and not goes_on and not self.beyond:
            self._take(self._last)

    @property
    def open(self) -> str:
        """The transaction of which only a part was seen; empty when there is none."""
        return self._last.transaction if self._last else ""

    def _take(self, step: Step) -> None:
        if not self.beyond:
            self.head, self.effective_at = step.head, self.latest
        self._last = None
