"""When the subscription ends, for whatever reason, the data is returned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from audit.promises import Standing
from subscriptions.ending import requests, returns
from subscriptions.models import DeletionRequest
from tests.backups.returning.conftest import attempt
from tests.backups.returning.test_returned import unpacked
from tests.policy.ending import over
from tests.policy.promise import promise
from tests.policy.service import Service
from tests.subscriptions.test_bag import accepted

pytestmark = [
    pytest.mark.django_db(transaction=True),
    promise("P10"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. .function ServerCursorMixin:pytest.PytestUnraisableExceptionWarning"),
]


def test_an_end_that_nobody_asked_for_turns_it_red_until_it_opens_by_itself(today: Any, service: Service, acme: Any, people: Any) -> None:
    assert service.broken() == set()
    over(acme, service)
    assert service.broken() == {"P10"}
    assert service.state("ends").figure == "1 customer ended without a request, 0 returns owed" and service.state("ends").value == 1
    assert service.findings() == ["control:ends"]
    assert len(requests.open_due(service.clock())) == 1
    assert service.broken() == set() and service.state("ends").figure.endswith("1 return owed")


def test_a_return_that_is_not_made_turns_it_red_after_the_days_agreed(today: Any, service: Service, acme: Any) -> None:
    over(acme, service)
    requests.open_due(service.clock())
    service.clock.forward(days=8)
    assert service.measured()["P10"] is Standing.AT_RISK
    service.clock.forward(days=23)
    assert service.measured()["P10"] is Standing.BROKEN


@pytest.mark.slow
def test_the_package_is_all_of_it_and_verified_by_the_standard_tool(
    today: Any, service: Service, acme: Any, settings: Any, tmp_path: Path
) -> None:
    settings.L2L_EXPORTS = tmp_path / "exports"
    over(acme, service)
    requests.open_due(service.clock())
    request = returns.begin(DeletionRequest.objects.get(), now=service.clock())
    attempt(service.vault, request)
    package = returns.current(request)
    assert package is not None and request.state == "returned"
    accepted(unpacked(package, tmp_path / "out"))
    assert service.measured()["P10"] is Standing.KEPT
