"""A small service in a scratch home: people with roles, customers with content, nights, segments. Run inside of it, by `manage.py`."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.test import Client

import audit
from audit.models import JournalRow, Stream
from audit.people import add_person
from audit.registry import SYSTEM_STREAM
from audit.roles import Role
from backups import vault as vaults
from backups.catching_up import missing_at
from backups.hot import shipper
from backups.models import BackupSet, HotState, SegmentCopy
from backups.nightly import back_up
from backups.policies import change_policy
from subscriptions import holds
from subscriptions.models import Customer, DataRecord, Link, UploadedContent
from subscriptions.onboarding import add_customer
from tests.backups.recovery.contents import content_of

PASSWORD = "correct horse battery"
CODES = ("acme", "beta", "gone", "young")


def build() -> dict[str, Any]:
    """Two nights of three customers, one of whom is destroyed since; one customer of today; changes behind the last set."""
    now, vault = datetime.now(UTC), vaults.from_settings()
    with audit.acting("setup", reason="a test", source="test"):
        for name, role in (("ada", Role.ACCOUNT_MANAGER), ("olga", Role.BACKUP_OPERATOR), ("rita", Role.RECEIPT_APPROVER)):
            add_person(name, role, password=PASSWORD, now=now)
        User.objects.create_superuser("root", "root@example.org", PASSWORD)
        for code in CODES[:3]:
            fill(add_customer(code, f"{code} Ltd", start=date(2026, 1, 1), account_manager=User.objects.get(username="ada")))
        change_policy(reason="kept longer", nightly_days=35)
        for night in (2, 1):
            shipper.ship_once(vault)
            label = (now - timedelta(days=night)).date()
            for stream in Stream.objects.exclude(pk=SYSTEM_STREAM):
                back_up(vault, stream, workers=0, night=label, policy=1)
            back_up(vault, Stream.objects.get(pk=SYSTEM_STREAM), workers=0, night=label, policy=1)
            for customer in Customer.objects.all():
                edit(customer, night)
        beta, ada = Customer.objects.get(code="beta"), User.objects.get(username="ada")
        holds.place(beta, holder="A court", basis="12 O 34/26", review_on=(now + timedelta(days=30)).date(), by=ada, now=now)
        fill(add_customer("young", "Young Ltd", start=date(2026, 1, 1)))
        shipper.ship_once(vault)
        gone = Customer.objects.get(code="gone")
        marker = vault.signer.sign({"format": 1, "kind": "ended", "customer": str(gone.pk)})
        for place in vault.places:
            place.store.put(f"ended/{gone.pk}.json", json.dumps(marker).encode())
    return {"segment": HotState.objects.get(pk=1).last_segment}


def fill(customer: Customer) -> None:
    for number in range(60):
        DataRecord.objects.create(customer=customer, kind="part", reference=f"part-{number}", data={"n": number, "ü": "ß"})
    Link.objects.create(customer=customer, reference="manual", title="Manual", url="https://example.org/manual")
    for number in range(3):
        UploadedContent.objects.create(customer=customer, name=f"drawing-{number}.txt", file=ContentFile(b"%d" % number * 50_000, name="x"))


def edit(customer: Customer, night: int) -> None:
    row = DataRecord.objects.get(customer=customer, reference=f"part-{night}")
    row.data = {"n": "changed"}
    row.save()
    DataRecord.objects.get(customer=customer, reference=f"part-{50 + night}").delete()
    upload = UploadedContent.objects.get(customer=customer, name="drawing-1.txt")
    upload.file = ContentFile(b"%d again" % night * 1000, name="x")
    upload.save()


def write_on(code: str, count: int) -> None:
    """Changes one after another, while the shipper ships and is killed."""
    customer = Customer.objects.get(code=code)
    with audit.acting("ada", reason="work", source="test"):
        for number in range(count):
            DataRecord.objects.create(customer=customer, kind="late", reference=f"late-{number}", data={"n": number})


def durable_offsite() -> dict[str, list[list[Any]]]:
    """Of each customer the changes whose segment is recorded offsite: number and digest."""
    there = set(SegmentCopy.objects.filter(location__name="offsite", durable_at__isnull=False).values_list("segment", flat=True))
    return {code: [[n, d] for n, d, segment in _numbered(code) if segment in there] for code in CODES}


def numbered() -> dict[str, list[list[Any]]]:
    return {code: [[n, d] for n, d, _ in _numbered(code)] for code in CODES}


def _numbered(code: str) -> list[Any]:
    rows = JournalRow.objects.filter(stream=Customer.objects.get(code=code).pk, number__isnull=False)
    return list(rows.order_by("number").values_list("number", "digest", "segment"))


def contents(*codes: str) -> dict[str, Any]:
    return {code: content_of(Customer.objects.get(code=code).pk) for code in codes}


def newest_sets() -> list[list[Any]]:
    """Of the last four: whose, its proof, whether it reused anything."""
    return [[one.stream.name, one.proof, one.reused_blobs > 0] for one in BackupSet.objects.order_by("-started_at")[:4]]


def missing_sets() -> list[str]:
    """What the catalogue calls protected and is not whole at the location, read from there."""
    vault = vaults.from_settings()
    return [str(one) for one in BackupSet.objects.exclude(protected_at=None) if any(missing_at(place, one) for place in vault.places)]


def sign_ins(*names: str) -> list[bool]:
    return [Client().login(username=name, password=PASSWORD) for name in names]


def rights() -> dict[str, Any]:
    ada, root = (User.objects.get(username=name) for name in ("ada", "root"))
    held = list(Customer.objects.filter(pk__in=holds.held()).values_list("code", flat=True))
    return {"ada views customers": ada.has_perm("l2l_subscriptions.view_customer"), "root is a superuser": root.is_superuser, "held": held}
