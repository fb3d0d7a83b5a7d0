"""Nightly sets are kept for 4 weeks, then weekly sets for 52 weeks, then monthly sets."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from backups.models import BackupSet, Slot
from backups.prune import carrying_out as pruning
from tests.policy.promise import promise
from tests.policy.service import Service

pytestmark = [
    pytest.mark.django_db(transaction=True),
    promise("P6"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. .function ServerCursorMixin:pytest.PytestUnraisableExceptionWarning"),
]

NINTH, TENTH = date(2026, 3, 9), date(2026, 3, 10)
# One night of each week, and the one whose morning it is in the end: nothing else decides what is kept.
LATER = [date(2026, 3, 17), date(2026, 3, 24), date(2026, 3, 31), date(2026, 4, 8)]


@pytest.mark.slow
def test_a_set_that_nothing_keeps_turns_it_red_until_it_is_gone(service: Service, acme: Any) -> None:
    """Of two nights of one week the later one is kept for the week, and the other goes after four weeks."""
    for night in (NINTH, TENTH):
        service.night(night)
        pruning.carry_out(service.vault)
    for night in LATER:
        service.night(night)
    assert service.broken() == {"P6"}
    assert "2 sets kept too long" in service.state("slots").figure and service.state("slots").value == 2  # the system's too
    assert service.findings() == ["control:slots"]
    pruning.carry_out(service.vault)
    kept = dict(BackupSet.objects.filter(stream=acme.pk).values_list("night", "state"))
    assert kept == {NINTH: "removed", TENTH: "made"} | dict.fromkeys(LATER, "made")
    assert BackupSet.objects.get(stream=acme.pk, night=TENTH).slots.get().key == "week:2026-W11"
    assert service.broken() == set()


def test_a_week_that_had_no_set_turns_it_red_for_a_week(service: Service, acme: Any) -> None:
    """What is missed stays missed: it is told for a week, and stands in the ledger for good."""
    service.night(NINTH)
    about = {"first": NINTH, "last": NINTH, "policy": 1, "decided_at": service.clock()}
    Slot.objects.create(stream_id=acme.pk, key="week:2026-W09", state=Slot.State.MISSED, **about)
    Slot.objects.create(stream_id=acme.pk, key="week:2026-W10", state=Slot.State.STOOD_IN, **about)
    assert service.broken() == {"P6"}
    assert service.state("slots").figure.startswith("1 week or month missed, 1 stood in for in the last 7 days")
    service.night(date(2026, 3, 17))
    assert service.broken() == set()
