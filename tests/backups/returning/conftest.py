"""A customer whose last subscription is over, with content and hostile names, and whose return has begun."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db import models

from backups.hot.shipper import ship_once
from backups.models import ReturnWork
from backups.returning import carrying_out
from backups.vault import Vault
from subscriptions.ending import returns
from subscriptions.models import DataRecord, DeletionRequest, Link, Subscription, UploadedContent
from tests.backups.test_back_up import fill
from tests.subscriptions.test_bag import HOSTILE

END = date(2026, 2, 28)


@pytest.fixture(autouse=True)
def exports_folder(settings: Any, tmp_path: Path) -> Path:
    settings.L2L_EXPORTS = tmp_path / "exports"
    return settings.L2L_EXPORTS


def fill_hostile(customer: Any) -> None:
    """Whatever a customer may call a thing, and values that a CSV cannot say."""
    fill(customer)
    for number, name in enumerate(name for name in HOSTILE if name.strip() and name != "\ud800"):
        UploadedContent.objects.create(customer=customer, name=name[:500], file=ContentFile(f"content {number}".encode(), name="x"))
    for kind in ("a/b", "CON", ".hidden", "Part", "part ", "k" * 100, "a\nb"):
        DataRecord.objects.create(
            customer=customer, kind=kind, reference='"quoted", \n', data={"n": 1.5, "deep": [{"x": None}], "=1+1": "é"}
        )
    DataRecord.objects.create(customer=customer, kind="odd", reference="1", data=["no", "object"])
    DataRecord.objects.create(customer=customer, kind="odd", reference="2", data={"reference": "a column of its own"})
    Link.objects.create(customer=customer, reference='b"\r\n', title="", url="https://example.org/?a=1,2")


@pytest.fixture
def ended(acme: Any) -> Any:
    """Acme, ended, with content."""
    fill_hostile(acme)
    models.QuerySet(Subscription).filter(customer=acme).update(end=END)
    return acme


@pytest.fixture
def request_of(vault: Vault) -> Callable[[Any], DeletionRequest]:
    """A request of a customer, returning."""

    def begun(customer: Any) -> DeletionRequest:
        request = DeletionRequest(customer=customer, why="it is over", ends_on=END, requested_at=vault.clock())
        request.save()
        return returns.begin(request, now=vault.clock())

    return begun


@pytest.fixture
def asked(ended: Any, request_of: Callable[[Any], DeletionRequest]) -> DeletionRequest:
    return request_of(ended)


def attempt(vault: Vault, request: DeletionRequest, *, ship: bool = True) -> ReturnWork:
    """One look and one attempt, with everything shipped before it."""
    if ship:
        assert ship_once(vault) == []
    carrying_out.look(vault.clock())
    row = ReturnWork.objects.get(request=request)
    ReturnWork.objects.filter(pk=row.pk).update(next_try_at=None)
    done = carrying_out.carry_out(vault, row.pk)
    assert done is not None
    request.refresh_from_db()
    return done
