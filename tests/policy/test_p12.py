"""Then all live data and every backup copy is destroyed within 30 days, or as agreed, with a certificate."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from audit.promises import Standing
from backups.destroy import carrying_out, checking, planning
from backups.models import Certificate
from subscriptions.ending import clock as clocks
from subscriptions.models import DataRecord, DeletionRequest
from tests.policy.ending import over, packed, received
from tests.policy.promise import promise
from tests.policy.service import Service

pytestmark = [
    pytest.mark.django_db(transaction=True),
    promise("P12"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. .function ServerCursorMixin:pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def ending(today: Any, service: Service, acme: Any, people: Any, tmp_path: Path) -> DeletionRequest:
    """Acme, backed up, returned and received."""
    acme.account_manager = people["ada"]
    acme.save()
    service.work()
    service._lead()
    return received(packed(over(acme, service), service, tmp_path), people["ada"], service)


def destroyed(service: Service, request: DeletionRequest, by: Any) -> DeletionRequest:
    """Approved by another person, cooled off, destroyed, looked for again after a day."""
    seen = planning.plan_of(service.vault, request).digest
    planning.approve(service.vault, request, seen=seen, by=by, password="pw", code="acme", why="received", now=service.clock())
    for hours in (73, 25):
        service.clock.forward(hours=hours)
        assert carrying_out.look(service.vault, service.clock()).troubles == {}
    return DeletionRequest.objects.get(pk=request.pk)


@pytest.mark.slow
def test_a_day_that_passes_turns_it_red_until_everything_is_gone(
    ending: DeletionRequest, service: Service, people: Any, folders: dict[str, Path]
) -> None:
    due = clocks.of(ending, service.clock())
    assert due is not None and due.due_at is not None
    service.night((due.due_at - timedelta(days=6)).date())
    assert service.measured()["P12"] is Standing.AT_RISK
    service.night((due.due_at + timedelta(days=1)).date())
    service.verify()
    assert service.broken() == {"P12"}
    assert service.state("destruction").figure == "1 customer to be destroyed, 1 overdue, 0 on hold"
    assert service.state("destruction").value == 1 and service.findings()[-1] == "control:destruction"
    done = destroyed(service, ending, people["rita"])
    assert done.state == "destroyed" and "P12" not in service.broken()
    certificate = Certificate.objects.get(request=done, kind="certificate")
    assert checking.check(certificate.document.encode(), service.vault.fingerprint).document["customer"]["code"] == "acme"
    assert not DataRecord.objects.filter(customer=done.customer_id).exists()
    for folder in folders.values():
        assert not list((folder / "customers").glob(f"{done.stream}/**/*.age"))
