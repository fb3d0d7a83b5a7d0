"""A customer whose subscription is over, and the people who end it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from audit import freezes
from audit.grants import grant_role
from audit.roles import Role
from subscriptions.ending import receipts, requests, returns
from subscriptions.models import Customer, DataReturn, DeletionRequest, Receipt

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
PACKAGE = "ab" * 32
PLAN = {"customer": "acme", "objects": 3}


@pytest.fixture
def over(acme: Customer) -> Customer:
    """Its subscription ended some days ago."""
    subscription = acme.subscriptions.get()
    subscription.end = date.today() - timedelta(days=5)
    subscription.deemed_receipt_allowed = True
    subscription.save_terms()
    return acme


@pytest.fixture
def second(people: dict[str, User]) -> User:
    """Another approver."""
    user = User.objects.create_user("rob", password="pw")
    grant_role(user, Role.RECEIPT_APPROVER, reason="a test", now=datetime.now(UTC), since=datetime.now(UTC) - timedelta(days=30))
    return user


@pytest.fixture
def asked(over: Customer, people: dict[str, User]) -> DeletionRequest:
    return requests.open_request(over, by=people["ada"], why="the contract ended", now=NOW)


def made(request: DeletionRequest, **about: Any) -> DataReturn:
    """As the worker does when the package stands."""
    freezes.freeze(request.stream, reason=requests.freeze_reason(request))
    returns.frozen(request, at=NOW)
    facts: dict[str, Any] = {
        "set_id": uuid.uuid4(),
        "package_sha256": PACKAGE,
        "manifest_sha256": "cd" * 32,
        "size": 1000,
        "file_name": "acme.zip",
        "path": "/exports/acme.zip",
        "encrypted_to": "",
        "counts": {"l2l_subscriptions.datarecord": 3},
        "now": NOW,
    }
    return returns.returned(request, **facts | about)


@pytest.fixture
def package(asked: DeletionRequest, people: dict[str, User]) -> DataReturn:
    return made(returns.begin(asked, by=people["ada"], now=NOW))


@pytest.fixture
def receive(people: dict[str, User]) -> Callable[..., Receipt]:
    def received(package: DataReturn, **about: Any) -> Receipt:
        facts: dict[str, Any] = {
            "package_sha256": PACKAGE,
            "verified_by": "Ann Acme",
            "how": "sha256sum -c",
            "verified_at": NOW,
            "now": NOW,
        }
        return receipts.acknowledge(package, by=people["ada"], **facts | about)

    return received
