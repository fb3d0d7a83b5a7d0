"""A customer's end, step by step by the real verbs, up to where a test wants it. Its package is a few bytes: what is in it is P10's."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

from audit import freezes
from subscriptions.ending import receipts, requests, returns
from subscriptions.models import Customer, DataReturn, DeletionRequest
from tests.policy.service import Service

PACKAGE = b"a package"
SHA256 = hashlib.sha256(PACKAGE).hexdigest()


def over(customer: Customer, service: Service, *, days: int = 5) -> Customer:
    """Its last subscription ended so many days ago."""
    subscription = customer.subscriptions.get()
    subscription.end = (service.clock() - timedelta(days=days)).date()
    subscription.save_terms()
    return customer


def packed(customer: Customer, service: Service, folder: Path) -> DataReturn:
    """The end opened by itself; the package is made, and was handed over just now."""
    requests.open_due(service.clock())
    request = returns.begin(DeletionRequest.objects.get(customer=customer), now=service.clock())
    freezes.freeze(request.stream, reason=requests.freeze_reason(request))
    (folder / "package.zip").write_bytes(PACKAGE)
    package = returns.returned(
        request,
        set_id=customer.pk,
        package_sha256=SHA256,
        manifest_sha256="cd" * 32,
        size=len(PACKAGE),
        file_name="package.zip",
        path=str(folder / "package.zip"),
        encrypted_to="",
        counts={},
        now=service.clock(),
    )
    returns.delivered(package, way="staff", now=service.clock())
    package.refresh_from_db()
    return package


def received(package: DataReturn, by: Any, service: Service, **about: Any) -> DeletionRequest:
    """The customer told `by` that it has verified the package."""
    said: dict[str, Any] = {"package_sha256": SHA256, "verified_by": "Ann Acme", "how": "sha256sum -c", "verified_at": service.clock()}
    receipts.acknowledge(package, by=by, now=service.clock(), **said | about)
    return DeletionRequest.objects.get(pk=package.request_id)
