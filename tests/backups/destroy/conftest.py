"""Two customers with the same files, shipped and backed up; the one's end is approved, and has cooled off. Its neighbour goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile

from audit import freezes
from audit.grants import grant_role
from audit.roles import Role
from backups.destroy import carrying_out, planning
from backups.destroy.carrying_out import Report
from backups.hot import shipper
from backups.policies import ensure_first_policy
from backups.vault import Vault
from subscriptions.ending import receipts, requests, returns
from subscriptions.models import Customer, DataRecord, DeletionRequest, Link, UploadedContent
from subscriptions.onboarding import add_customer
from tests.backups.conftest import Clock
from tests.backups.test_back_up import backed_up
from tests.factory.models import Downtime, Line, Site

CODE, NEIGHBOUR = "acme", "acme2"
# Past the cooling-off, and past each sweep.
COOLED = {"hours": 73}


@pytest.fixture
def clock() -> Clock:
    """From now on, for journal and locations go by the database's clock."""
    found = Clock()
    found.now = datetime.now(UTC).replace(microsecond=0)
    return found


@pytest.fixture
def people(acting: Any, transactional_db: None, settings: Any) -> dict[str, User]:
    """Ada manages the customers, rita approves."""
    settings.L2L_SAMPLE = True  # only there may roles have begun before
    ensure_first_policy()
    found, now = {}, datetime.now(UTC)
    for name, role in (("ada", Role.ACCOUNT_MANAGER), ("rita", Role.RECEIPT_APPROVER)):
        found[name] = User.objects.create_user(name, password="pw")
        grant_role(found[name], role, reason="a test", now=now, since=now - timedelta(days=700))
    return found


def fill(customer: Any) -> None:
    """Of every kind, with versions and a deleted item; the same bytes for every customer."""
    for number in range(5):
        DataRecord.objects.create(customer=customer, kind="part", reference=f"P-{number}", data={"Note": f"part {number}"})
    DataRecord.objects.create(customer=customer, kind="part", reference="gone").delete()
    record = DataRecord.objects.get(customer=customer, reference="P-1")
    record.data = {"Note": "changed"}
    record.save()
    Link.objects.create(customer=customer, reference="a", url="https://example.org/a")
    upload = UploadedContent.objects.create(customer=customer, name="plan.txt", file=ContentFile(b"the plan" * 500, name="x"))
    upload.file = ContentFile(b"the second plan" * 500, name="x")
    upload.save()
    site = Site.objects.create(customer=customer, name="Kassel")
    line = Line.objects.create(site=site, name="Line 1")
    began = datetime(2026, 1, 1, tzinfo=UTC)
    Downtime.objects.create(line=line, began_at=began, details={"a": 1}, photo=ContentFile(b"photo", name="p"))


@pytest.fixture
def acme(people: dict[str, User], vault: Vault, clock: Clock) -> Customer:
    """Its subscription is over; its data was backed up, twice."""
    customer = add_customer(CODE, "Acme Bicycles", start=date(2026, 1, 1))
    return lived(customer, vault, people, clock)


@pytest.fixture
def acme2(people: dict[str, User], vault: Vault, clock: Clock) -> Customer:
    customer = add_customer(NEIGHBOUR, "Acme Two", start=date(2026, 1, 1))
    return lived(customer, vault, people, clock)


def lived(customer: Customer, vault: Vault, people: dict[str, User], clock: Clock) -> Customer:
    customer.account_manager = people["ada"]
    customer.save()
    fill(customer)
    assert shipper.ship_once(vault) == []
    backed_up(vault, customer)
    clock.forward(minutes=1)
    DataRecord.objects.create(customer=customer, kind="part", reference="late")
    assert shipper.ship_once(vault) == []
    backed_up(vault, customer)
    return customer


@pytest.fixture
def received(acme: Customer, people: dict[str, User], vault: Vault, tmp_path: Path) -> DeletionRequest:
    """Returned and acknowledged: the package lies there."""
    subscription = acme.subscriptions.get()
    subscription.end = (vault.clock() - timedelta(days=5)).date()
    subscription.save_terms()
    request = requests.open_request(acme, by=people["ada"], why="the contract ended", now=vault.clock())
    request = returns.begin(request, by=people["ada"], now=vault.clock())
    freezes.freeze(request.stream, reason=requests.freeze_reason(request))
    package = tmp_path / "acme.zip"
    package.write_bytes(b"a package")
    sha256 = hashlib.sha256(b"a package").hexdigest()
    made = returns.returned(
        request,
        set_id=acme.pk,
        package_sha256=sha256,
        manifest_sha256="cd" * 32,
        size=9,
        file_name="acme.zip",
        path=str(package),
        encrypted_to="",
        counts={},
        now=vault.clock(),
    )
    receipts.acknowledge(
        made, package_sha256=sha256, verified_by="Ann", how="sha256sum -c", verified_at=vault.clock(), by=people["ada"], now=vault.clock()
    )
    return DeletionRequest.objects.get(pk=request.pk)


Approve = Callable[[], DeletionRequest]


@pytest.fixture
def approve(received: DeletionRequest, people: dict[str, User], vault: Vault, clock: Clock) -> Approve:
    """Rita approves what the plan lists now; then it cools off."""

    def approved() -> DeletionRequest:
        request = DeletionRequest.objects.get(pk=received.pk)
        seen = planning.plan_of(vault, request).digest
        planning.approve(vault, request, seen=seen, by=people["rita"], password="pw", code=CODE, why="received", now=vault.clock())
        clock.forward(**COOLED)
        return DeletionRequest.objects.get(pk=received.pk)

    return approved


@pytest.fixture
def approved(approve: Approve) -> DeletionRequest:
    return approve()


def looked(vault: Vault) -> Report:
    return carrying_out.look(vault, vault.clock())


def state_of(request: DeletionRequest) -> str:
    return DeletionRequest.objects.get(pk=request.pk).state
