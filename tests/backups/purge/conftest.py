"""A customer with content of twenty-one years ago and of today, shipped and in a set; the one who looks after it, and an approver."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.db import connection

import audit
from audit.grants import grant_role
from audit.roles import Role
from backups.hot import shipper
from backups.models import PurgeRequest
from backups.policies import ensure_first_policy
from backups.purge import carrying_out, requests
from backups.purge.carrying_out import Report
from backups.vault import Vault
from subscriptions.models import DataRecord, Link, UploadedContent
from tests.backups.test_back_up import backed_up
from tests.factory.models import Downtime, Line, Site
from tests.past import at

# Stands wherever content of the old items can: nothing of it may be left.
MARK = "MARK7f3a"
OLD = "2005-06-01T12:00:00+00:00"
OLD_RECORDS, OLD_ITEMS = 3, 9

Purged = Callable[..., Report]


@pytest.fixture
def people(acting: Any, transactional_db: None, settings: Any) -> dict[str, User]:
    """Ada manages acme, alan another customer; rita approves, otto audits; all for a long time."""
    settings.L2L_SAMPLE = True
    ensure_first_policy()
    roles = {
        "ada": Role.ACCOUNT_MANAGER,
        "alan": Role.ACCOUNT_MANAGER,
        "rita": Role.RECEIPT_APPROVER,
        "otto": Role.AUDITOR,
    }
    now, found = datetime.now(UTC), {}
    for name, role in roles.items():
        found[name] = User.objects.create_user(name, password="pw")
        grant_role(found[name], role, reason="a test", now=now, since=now - timedelta(days=700))
    return found


def fill_old(customer: Any) -> None:
    """Records, one of them deleted and one changed since; a link; an upload with two versions; a site with a line and its downtime."""
    with audit.because(f"imported from {MARK}"):
        for number in range(OLD_RECORDS):
            DataRecord.objects.create(customer=customer, kind="part", reference=f"{MARK}-{number}", data={"Note": f"{MARK} ü {number}"})
        DataRecord.objects.create(customer=customer, kind="part", reference=f"{MARK}-deleted").delete()
        row = DataRecord.objects.get(customer=customer, reference=f"{MARK}-1")
        row.data = {"Note": f"{MARK} again"}
        row.save()
        Link.objects.create(customer=customer, reference=f"{MARK}-link", url=f"https://example.org/{MARK}")
        upload = UploadedContent.objects.create(customer=customer, name=f"{MARK}.txt", file=ContentFile(f"{MARK} 1".encode(), name="x"))
        upload.file = ContentFile(f"{MARK} 2".encode(), name="x")
        upload.save()
        site = Site.objects.create(customer=customer, name=f"{MARK} site")
        line = Line.objects.create(site=site, name=f"{MARK} line")
        began = datetime(2005, 1, 1, tzinfo=UTC)
        Downtime.objects.create(line=line, began_at=began, details={"a": MARK}, photo=ContentFile(f"{MARK} photo".encode(), name="p"))


def fill_new(customer: Any) -> None:
    for number in range(4):
        DataRecord.objects.create(customer=customer, kind="part", reference=f"new-{number}", data={"n": number})
    UploadedContent.objects.create(customer=customer, name="new.txt", file=ContentFile(b"new", name="x"))
    Site.objects.create(customer=customer, name="new site")


@pytest.fixture
def aged(acme: Any, people: dict[str, User], vault: Vault, settings: Any) -> Any:
    """Acme with old and new content, all of it shipped, and one protected set."""
    acme.account_manager = people["ada"]
    acme.save()
    with at(settings, OLD):
        fill_old(acme)
    fill_new(acme)
    assert shipper.ship_once(vault) == []
    backed_up(vault, acme)
    return acme


def ask(customer: Any, people: dict[str, User], vault: Vault, by: str = "ada", term: str = "standard", **ahead: float) -> PurgeRequest:
    now = vault.clock()
    return requests.ask(customer, term, (now + timedelta(**ahead)).date(), by=people[by], why="its term is over", now=now)


def approve(asked: PurgeRequest, people: dict[str, User], vault: Vault, by: str = "rita", password: str = "pw") -> PurgeRequest:
    return requests.approve(asked, by=people[by], password=password, now=vault.clock())


@pytest.fixture
def purged(people: dict[str, User], vault: Vault) -> Callable[..., Report]:
    """Asked by ada, approved by rita, carried out without trouble."""

    def purge(customer: Any, **what: Any) -> Report:
        approve(ask(customer, people, vault, **what), people, vault)
        report = carrying_out.look(vault)
        assert report.troubles == {}
        return report

    return purge


def tables_with(text: str) -> list[str]:
    """The tables of the database in one of whose rows the text stands."""
    found = []
    for table in connection.introspection.table_names():
        with connection.cursor() as cursor:
            cursor.execute(f'SELECT * FROM "{table}"')
            if any(text in str(bytes(value) if isinstance(value, memoryview) else value) for row in cursor.fetchall() for value in row):
                found.append(table)
    return sorted(found)


def files_with(folder: Path, text: str) -> list[str]:
    """The files below the folder, or their names, in which the text stands."""
    return [str(path) for path in folder.rglob("*") if path.is_file() and (text in path.name or text.encode() in path.read_bytes())]
