"""Whether our own telling is measured: heads made and sent outside (P8), ways that get through, a digest that is not late (P13)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from audit.anchors import anchoring
from audit.events import Event as Kind
from audit.events import record
from audit.models import Telling
from audit.promises import Standing
from audit.signing import Signer
from l2l.controls import measure_anchors, measure_telling

NOW = datetime(2026, 3, 2, 7, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
KEPT, RISK, BROKEN = Standing


def made() -> None:
    anchoring.make(Signer(b"k" * 32), day=NOW.date(), timeline=1, now=NOW)


@pytest.fixture
def outside(settings: Any) -> None:
    settings.EMAIL_HOST, settings.DEFAULT_FROM_EMAIL, settings.L2L_AUDITOR_ADDRESS = "mail", "l2l@example.org", "a@example.com"


def test_heads_that_are_not_made(db: None, acting: Any) -> None:
    assert measure_anchors(NOW).state is KEPT and measure_anchors(NOW).figure.startswith("no head made yet")
    began = record(Kind.SIGNED_IN).at
    assert [measure_anchors(began + hours * HOUR).state for hours in (36, 37)] == [KEPT, RISK]  # the worker should have made one
    made()
    assert [measure_anchors(NOW + hours * HOUR).state for hours in (0, 36, 37, 73)] == [KEPT, KEPT, RISK, BROKEN]
    assert measure_anchors(NOW).figure == "newest head made less than a minute ago; nobody outside is named"


def test_heads_that_stay_in_the_house(db: None, acting: Any, outside: None) -> None:
    made()
    assert measure_anchors(NOW).state is RISK and "never sent" in measure_anchors(NOW).why
    for days, state in ((8, KEPT), (9, RISK), (15, RISK), (16, BROKEN)):
        record(Kind.ANCHORED, facts={"day": (NOW - days * DAY).date().isoformat(), "root": "ab" * 32, "addresses": 1})
        assert measure_anchors(NOW).state is state


def test_a_way_that_does_not_get_through(db: None) -> None:
    assert measure_telling(NOW).state is KEPT
    Telling.objects.create(way="mail", since=NOW, next_at=NOW)
    row = Telling.objects.create(way="webhook", since=NOW, next_at=NOW, attempts=3, trouble="The webhook answered 500.")
    assert [measure_telling(NOW + hours * HOUR).state for hours in (1, 2, 24, 25)] == [KEPT, RISK, RISK, BROKEN]
    assert measure_telling(NOW + 2 * HOUR).figure == "1 of 2 ways of telling get through, no digest yet"
    assert "The webhook does not get through: 3 tries in vain" in measure_telling(NOW + 2 * HOUR).why
    row.attempts = 0
    row.save()
    assert measure_telling(NOW + 25 * HOUR).state is KEPT


def test_a_digest_that_is_late(db: None, acting: Any) -> None:
    record(Kind.DIGEST_SENT, facts={"day": NOW.date().isoformat(), "addresses": 1})
    assert [measure_telling(NOW + days * DAY).state for days in (0, 8, 9, 16)] == [KEPT, KEPT, RISK, BROKEN]
