"""What the queue calls: one verb each. Every task is safe to run twice."""

from __future__ import annotations

from audit import actors, clock
from subscriptions import term_requests
from subscriptions.term_requests import TermsNotMade


def begin_terms() -> str:
    """Approved changes of terms whose day has come are made: hourly, in the worker cluster. Raises `TermsNotMade`, after all were tried."""
    with actors.acting("worker", reason="agreed terms that begin", source="begin_terms"):
        found = term_requests.make_due(clock.now())
    if found.failed:
        raise TermsNotMade("; ".join(f"request {key}: {why}" for key, why in found.failed.items()))
    return f"{len(found.made)} made, {len(found.void)} void"
