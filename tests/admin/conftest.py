"""People in their roles, two customers with content, and a browser-less client for each person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.files.base import ContentFile
from django.test import Client
from django.urls import reverse

import audit
from audit.models import Stream
from audit.roles import ensure_roles
from backups.models import BackupSet, Blob, Copy, ItemExport, Location, Run
from subscriptions.models import Customer, DataRecord, Export, Link, Subscription, UploadedContent
from subscriptions.onboarding import add_customer
from tests.admin.measured import fourteen, measured  # noqa: F401  (fixtures)

PDF = b"%PDF-1.4 the first version"
ROLES = {
    "ada": "account manager",
    "rita": "receipt approver",
    "olga": "backup operator",
    "otto": "auditor",
    "anna": "administrator",
}


@dataclass
class Belongings:
    """One customer and a row of each kind of it."""

    customer: Customer
    subscription: Subscription
    record: DataRecord
    upload: UploadedContent
    link: Link
    backup_set: BackupSet
    blob: Blob
    copy: Copy
    run: Run
    export: Export
    item_export: ItemExport


@pytest.fixture
def people(db: None) -> dict[str, User]:
    ensure_roles()
    found = {"root": User.objects.create_superuser("root", password="pw")}
    for name, role in ROLES.items():
        found[name] = User.objects.create_user(name, password="pw", is_staff=True)
        found[name].groups.add(Group.objects.get(name=role))
    found["nobody"] = User.objects.create_user("nobody", password="pw", is_staff=True)
    return found


@pytest.fixture
def as_(people: dict[str, User]) -> Callable[[str], Client]:
    """A client that is signed in as that person."""

    def signed_in(name: str) -> Client:
        client = Client()
        client.force_login(people[name])
        return client

    return signed_in


@pytest.fixture
def belongings(people: dict[str, User]) -> Callable[..., Belongings]:
    def make(code: str, account_manager: User | None = None) -> Belongings:
        with audit.acting("setup", reason="a test", source="test"):
            customer = add_customer(code, f"{code} works", start=date(2026, 1, 1), account_manager=account_manager)
            record = DataRecord(customer=customer, kind="product", reference="P-1", data={"colour": "blue", "weight": 3, "note": None})
            record.save()
            upload = UploadedContent(customer=customer, name="manuals/Über.pdf", content_type="text/html")
            upload.file = ContentFile(PDF, "x")
            upload.save()
            link = Link(customer=customer, reference="L-1", title="Handbook", url="https://example.com/?a=1&b=2")
            link.save()
        backup_set, blob, copy = _a_set(customer)
        run, export, item = _a_run(customer, backup_set), _an_export(customer), _an_item(customer)
        return Belongings(customer, customer.subscriptions.get(), record, upload, link, backup_set, blob, copy, run, export, item)

    return make


def _a_set(customer: Customer) -> tuple[BackupSet, Blob, Copy]:
    place, _ = Location.objects.get_or_create(
        name="primary", defaults={"url": "file:///somewhere/primary", "last_seen_at": datetime.now(UTC)}
    )
    now = datetime.now(UTC)
    backup_set = BackupSet.objects.create(
        stream=Stream.objects.get(pk=customer.pk),
        state=BackupSet.State.MADE,
        night=(now - timedelta(hours=12)).date(),
        started_at=now,
        ended_at=now + timedelta(seconds=3),
        complete_at=now,
        protected_at=now,
        content_bytes=5000,
        new_bytes=900,
    )
    blob = Blob.objects.create(
        stream_id=customer.pk,
        kind="envelope",
        state="stored",
        name=f"customers/{customer.pk}/sets/1.json",
        sha256="ab" * 32,
        size=99,
        made_by=backup_set,
    )
    return backup_set, blob, Copy.objects.create(blob=blob, location=place, state="present", checked_at=now)


def _a_run(customer: Customer, backup_set: BackupSet) -> Run:
    """Last night's, done."""
    now = datetime.now(UTC)
    return Run.objects.create(
        stream_id=customer.pk,
        night=backup_set.night,
        state=Run.State.DONE,
        policy=1,
        due_at=now - timedelta(hours=1),
        ends_at=now + timedelta(hours=12),
        next_try_at=now - timedelta(hours=1),
        attempts=1,
        started_at=now,
        ended_at=now + timedelta(seconds=3),
        backup_set=backup_set,
    )


def _an_export(customer: Customer) -> Export:
    now = datetime.now(UTC)
    return Export.objects.create(customer=customer, what="restore of everything", by="olga", reason="a test", made_at=now, expires_at=now)


def _an_item(customer: Customer) -> ItemExport:
    return ItemExport.objects.create(
        stream_id=customer.pk, model="l2l_subscriptions.datarecord", key="1", by="olga", reason="a test", asked_at=datetime.now(UTC)
    )


@pytest.fixture
def own(belongings: Callable[..., Belongings], people: dict[str, User]) -> Belongings:
    """Ada's customer."""
    return belongings("acme", people["ada"])


@pytest.fixture
def foreign(belongings: Callable[..., Belongings]) -> Belongings:
    """Somebody else's."""
    return belongings("bolt")


APPS = {
    "auth": ("user", "group"),
    "l2l_audit": ("grant", "event", "finding", "alarm", "reading", "anchor"),
    "l2l_backups": (
        "location",
        "backupset",
        "run",
        "blob",
        "copy",
        "itemexport",
        "backuppolicy",
        "policychangerequest",
        "liverestorerequest",
        "purgerequest",
        "purge",
        "hotstate",
        "verificationpass",
        "damage",
        "unknownobject",
        "retentionlook",
    ),
    "django_q": ("schedule", "ormq", "failure"),
}


def url(name: str, *arguments: Any) -> str:
    """The address of an admin page: `datarecord_change`."""
    model = name.partition("_")[0]
    app = next((app for app, models in APPS.items() if model in models), "l2l_subscriptions")
    return reverse(f"admin:{app}_{name}", args=arguments)


def form_of(client: Client, address: str, **changes: Any) -> dict[str, Any]:
    """What a browser would send from the form at that address, with some fields filled in."""
    form = client.get(address).context["adminform"].form
    values = {name: form[name].value() for name in form.fields}
    sent = {name: value for name, value in values.items() if value is not None and not hasattr(value, "storage")}
    return {**sent, **changes}
