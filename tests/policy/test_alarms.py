"""A promise that breaks is one alarm, told once with the right figure, and once that it is over, with the controls as they are measured."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from django.core import mail as outbox

import audit
from audit.models import Alarm
from audit.promises import Standing
from l2l.alarms import looking, telling
from tests.policy.promise import promise
from tests.policy.service import Service

pytestmark = [pytest.mark.django_db(transaction=True), promise("P1", "P13")]

NINTH = date(2026, 3, 9)


def minute(service: Service) -> dict[str, Standing]:
    """The worker measures, then looks at the alarms and tells."""
    found = service.measured()
    with audit.acting("worker", source="policy"):
        looking.look(service.clock())
        telling.tell(service.clock())
    service.clock.forward(minutes=1)
    return found


def about_nights() -> list[Any]:
    return [one for one in outbox.outbox if "Nightly backups:" in one.body]


def test_a_night_without_backups_is_one_alarm_until_the_next_one_has_them(service: Service, acme: Any, settings: Any) -> None:
    settings.EMAIL_HOST, settings.DEFAULT_FROM_EMAIL, settings.L2L_ALARMS_TO = "mail", "l2l@example.org", ["ops@example.org"]
    service.night(NINTH)
    assert minute(service)["P1"] is not Standing.BROKEN and not about_nights()
    service.clock.forward(days=1)  # a night passes by
    service.vault.usable()
    assert all(minute(service)["P1"] is Standing.BROKEN for _ in range(3))
    (told,) = about_nights()
    assert "BROKEN  P1: Every night a full backup of every customer's data is made." in told.body
    assert service.state("nights").figure in told.body and "acme" not in told.body.lower()
    assert service.findings() == ["control:nights"] and not Alarm.objects.filter(subject__startswith="finding:").exists()
    service.night(NINTH + timedelta(days=2))
    for _ in range(12):
        assert minute(service)["P1"] is not Standing.BROKEN
    assert len(about_nights()) == 2 and "OVER  P1" in about_nights()[1].body
    assert Alarm.objects.get(subject="control:nights").ended_at is not None
