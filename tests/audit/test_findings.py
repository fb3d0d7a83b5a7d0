"""Findings are opened once, owned, postponed and closed with reasons; what comes again is a new one (P13)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User

from audit import findings
from audit.findings import FindingRefused, Kind
from audit.models import Event, Finding
from audit.roles import Role, ensure_roles

NOW = datetime(2026, 3, 4, 2, 0, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def olga(db: None) -> User:
    ensure_roles()
    person = User.objects.create_user("olga", is_staff=True)
    person.groups.add(Group.objects.get(name=Role.BACKUP_OPERATOR.value))
    return person


def found(acme: Any, text: str = "a blob is damaged at primary", now: datetime = NOW) -> Finding:
    return findings.open_finding(Kind.OBJECT_DAMAGED, subject="blob:7", customer=acme.pk, text=text, now=now)


def test_what_is_found_again_is_the_same_finding_until_it_is_closed(acme: Any, olga: User) -> None:
    first = found(acme)
    assert (first.due_on, first.opened_by) == (date(2026, 3, 7), "ada")
    again = found(acme, "a blob is damaged at both", NOW + DAY)
    assert (again.pk, again.seen_at, again.opened_at, again.due_on) == (first.pk, NOW + DAY, NOW, first.due_on)
    findings.close(first, cause="a disk", resolution="replaced it", by=olga, now=NOW + DAY)
    assert found(acme, now=NOW + 2 * DAY).pk != first.pk
    assert list(Event.objects.filter(event__startswith="finding:").order_by("number").values_list("event", flat=True)) == [
        "finding:opened",
        "finding:closed",
        "finding:opened",
    ]


def test_found_every_hour_it_is_written_once_a_day(acme: Any) -> None:
    first = found(acme)
    for hour in range(1, 49):
        found(acme, now=NOW + timedelta(hours=hour))
    assert Finding.history.filter(id=first.pk).count() == 3


def test_whoever_closes_says_cause_and_resolution_and_has_the_right(acme: Any, olga: User) -> None:
    finding = found(acme)
    with pytest.raises(FindingRefused, match=r"may not decide on findings: it needs the right l2l_audit\.change_finding"):
        findings.close(finding, cause="x", resolution="y", by=User.objects.create_user("nina"), now=NOW)
    with pytest.raises(FindingRefused, match="Say what was the cause, and what was done"):
        findings.close(finding, cause="x", resolution=" ", by=olga, now=NOW)
    closed = findings.close(finding, cause="a disk", resolution="replaced it", by=olga, now=NOW + DAY)
    assert (closed.cause, closed.resolution, closed.closed_at) == ("a disk", "replaced it", NOW + DAY)
    with pytest.raises(FindingRefused, match="It was closed on"):
        findings.close(finding, cause="a disk", resolution="replaced it", by=olga, now=NOW + DAY)


def test_an_owner_can_close_it_and_the_old_date_stays_in_its_history(acme: Any, olga: User) -> None:
    finding = found(acme)
    with pytest.raises(FindingRefused, match="may not close findings, and so cannot own one"):
        findings.take(finding, owner=User.objects.create_user("nina"), by=olga, now=NOW)
    findings.take(finding, owner=olga, by=olga, now=NOW)
    with pytest.raises(FindingRefused, match="That day is over"):
        findings.postpone(finding, due_on=date(2026, 3, 3), why="x", by=olga, now=NOW)
    late = findings.postpone(finding, due_on=date(2026, 3, 20), why="the disk is on its way", by=olga, now=NOW)
    assert (late.owner, late.due_on, late.is_overdue(date(2026, 3, 20)), late.is_overdue(date(2026, 3, 21))) == (
        olga,
        date(2026, 3, 20),
        False,
        True,
    )
    assert {row.due_on for row in Finding.history.filter(id=finding.pk)} == {date(2026, 3, 7), date(2026, 3, 20)}


def test_what_the_back_office_mends_it_closes_itself(acme: Any) -> None:
    finding = found(acme)
    closed = findings.close_as_mended(Kind.OBJECT_DAMAGED, subject="blob:7", resolution="put back from offsite", now=NOW + DAY)
    assert closed is not None and (closed.pk, closed.is_open, closed.resolution) == (finding.pk, False, "put back from offsite")
    assert findings.close_as_mended(Kind.OBJECT_DAMAGED, subject="blob:7", resolution="again", now=NOW + DAY) is None
