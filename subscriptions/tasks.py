"""What the queue calls: one verb each. Every task is safe to run twice."""

from __future__ import annotations

from audit import actors, clock
from subscriptions import term_requests
from subscriptions.ending import beginning
from subscriptions.ending.beginning import EndsNotBegun
from subscriptions.term_requests import TermsNotMade


def begin_terms() -> str:
    """Approved changes of terms whose day has come are made: hourly, in the worker cluster. Raises `TermsNotMade`, after all were tried."""
    with actors.acting("worker", reason="agreed terms that begin", source="begin_terms"):
        found = term_requests.make_due(clock.now())
    if found.failed:
        raise TermsNotMade("; ".join(f"request {key}: {why}" for key, why in found.failed.items()))
    return f"{len(found.made)} made, {len(found.void)} void"


def open_ends() -> str:
    """Customers whose last subscription is over: their end is opened, and the return begun. Hourly, in the worker cluster.

    Raises `EndsNotBegun`, after all were tried.
    """
    with actors.acting("worker", reason="the last subscription is over", source="open_ends"):
        found = beginning.begin_due(clock.now())
    if found.failed:
        raise EndsNotBegun("; ".join(f"{code}: {why}" for code, why in found.failed.items()))
    return f"{len(found.opened)} opened, {len(found.begun)} returns begun"
