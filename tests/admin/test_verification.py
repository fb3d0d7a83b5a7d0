"""What people see of verification, and how an operator changes it: with a reason, and never an auditor (P4)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from audit.models import Event
from backups.models import Copy, Damage, Location, UnknownObject, VerificationPass
from tests.admin.conftest import Belongings, url

As = Callable[[str], Client]
NOW = datetime(2026, 3, 10, 14, 30, 5, tzinfo=UTC)
PAGE = url("verificationpass_changelist")


@pytest.fixture
def primary(own: Belongings, monkeypatch: pytest.MonkeyPatch) -> Location:
    """One night's pass, one object damaged at every location, one unknown."""
    monkeypatch.setattr("audit.clock.now", lambda: NOW)
    location = Location.objects.get(name="primary")
    VerificationPass.objects.create(
        location=location,
        night=date(2026, 3, 9),
        started_at=NOW,
        turn_at=NOW,
        ended_at=NOW,
        allowed=4096,
        objects_read=7,
        bytes_read=4000,
        found=1,
        stored_objects=200,
        stored_bytes=90 * 1024**3,
        in_time=199,
        oldest_at=NOW - timedelta(days=29),
    )
    about: dict[str, Any] = {"name": own.blob.name, "kind": "content", "what": "altered", "found_at": NOW, "blob": own.blob}
    Damage.objects.create(location=location, stream_id=own.customer.pk, beyond_at=NOW, **about)
    UnknownObject.objects.create(location=location, name="customers/stray", size=1, found_at=NOW, seen_at=NOW)
    return location


def test_the_page_says_how_far_it_is_what_it_costs_and_what_was_found(as_: As, primary: Location, own: Belongings) -> None:
    Location.objects.filter(pk=primary.pk).update(read_price="0.09")
    page = as_("otto").get(PAGE).content.decode()
    assert "199 of 200 objects within 30 days" in page and "11 Mar 2026" in page
    assert "90.0 GiB and" in page and "8.10 at 0.09" in page
    assert own.blob.name in page and "whole nowhere" in page and "1 object that nothing here put there" in page
    assert "9 Mar: 3.9 KiB read, 7 objects; 1 wrong" in page and "Change how it is read" not in page
    assert "Change how it is read" in as_("olga").get(PAGE).content.decode()


def test_what_is_whole_nowhere_is_no_debt_that_the_next_backup_pays(as_: As, primary: Location, own: Belongings) -> None:
    Copy.objects.filter(blob=own.blob, location=primary).update(state=Copy.State.OWED)
    assert "primary is owed" not in as_("otto").get("/").content.decode()
    Damage.objects.update(mended_at=NOW)
    assert "primary is owed 1 copy" in as_("otto").get("/").content.decode()


def test_an_operator_changes_how_it_is_read_and_nobody_else(as_: As, primary: Location) -> None:
    page = url("location_reading", primary.pk)
    wanted = {"recheck_days": "14", "nightly_mib": "2048", "read_price": "0.09", "reason": "the bucket is cheap to read"}
    assert as_("otto").post(page, wanted).status_code == 403
    asked = as_("olga").get(page).content.decode()
    assert "within 7 days: 385.7 GiB" in asked and "within 90 days: 30.0 GiB" in asked
    assert as_("olga").post(page, {**wanted, "reason": " "}).status_code == 200 and not Event.objects.filter(event="location:changed")
    assert as_("olga").post(page, wanted).status_code == 302
    primary.refresh_from_db()
    assert (primary.recheck_days, primary.nightly_bytes, primary.terms_by) == (14, 2048 * 1024**2, "olga")
    assert Event.objects.get(event="location:changed").facts["days"] == 14
    shown = as_("olga").get(url("location_change", primary.pk)).content.decode()
    assert "within 14 days, at most 2.0 GiB a night" in shown and "the bucket is cheap to read" in shown
