"""Two operators and an approver, a customer with content of every kind and a set of it, and what the tests read back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile

from audit import registry, rows
from audit.grants import grant_role
from audit.roles import Role
from backups.choosing import Only
from backups.live_restore import carrying_out, requests
from backups.live_restore.sources import Which
from backups.models import LiveRestore, LiveRestoreRequest
from backups.policies import ensure_first_policy
from backups.vault import Vault
from tests.backups.test_back_up import backed_up, fill
from tests.factory.models import Downtime, Line, Site, Specimen

State = dict[str, list[str]]


@pytest.fixture
def people(acting: Any, transactional_db: None, settings: Any) -> dict[str, User]:
    """Olga and oskar operate, rita approves, otto audits, ada manages customers that are not these; all for a long time."""
    settings.L2L_SAMPLE = True
    ensure_first_policy()
    roles = {
        "olga": Role.BACKUP_OPERATOR,
        "oskar": Role.BACKUP_OPERATOR,
        "rita": Role.RECEIPT_APPROVER,
        "otto": Role.AUDITOR,
        "ada": Role.ACCOUNT_MANAGER,
    }
    now, found = datetime.now(UTC), {}
    for name, role in roles.items():
        found[name] = User.objects.create_user(name, password="pw")
        grant_role(found[name], role, reason="a test", now=now, since=now - timedelta(days=400))
    return found


def fill_factory(customer: Any) -> None:
    """Rows of the vendor's models: two foreign keys away, of every kind of column, with a file."""
    for name in ("Kassel", "Bremen"):
        site = Site.objects.create(customer=customer, name=name, opened=date(2020, 2, 29))
        for number in range(2):
            line = Line.objects.create(site=site, name=f"{name} {number}", speed=Decimal("12.500"))
            Downtime.objects.create(
                line=line,
                began_at=datetime(2026, 1, 31, 23, 59, 59, 5, tzinfo=UTC),
                lasted=timedelta(microseconds=7),
                factor=0.1,
                details={"b": [1, 1e22, None], "a": "ü"},
                photo=ContentFile(f"photo of {line.name}".encode(), name="p"),
            )
    Specimen.objects.create(customer=customer, label="empty")
    Specimen.objects.create(
        customer=customer,
        label="full",
        text='é "x"\n\\',
        whole=-1,
        large=2**62,
        small=3,
        flag=True,
        moment=datetime(1999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        day=date(2024, 2, 29),
        hour=time(1, 2, 3, 4),
        span=timedelta(days=-1),
        key=UUID(int=5),
        amount=Decimal("-0.0001"),
        ratio=1e-300,
        raw=b"\x00\xff",
        free={"x": [1.5, None]},
        fixed={"y": "z"},
    )


@pytest.fixture
def kept(acme: Any, people: dict[str, User], vault: Vault) -> Any:
    """Acme with content and one protected set."""
    fill(acme)
    fill_factory(acme)
    backed_up(vault, acme)
    return acme


def state_of(customer: Any) -> State:
    """Every live row of the customer, as canonical text."""
    return {
        one.label: sorted(rows.instance_json(row) for row in one.model._base_manager.filter(**{one.customer: customer.pk}))
        for one in registry.of_stream(customer.pk)
    }


def newest_versions(customer: Any) -> State:
    """What history says is live: the newest version of each row that was not deleted."""
    found: State = {}
    for one in registry.of_stream(customer.pk):
        texts: dict[Any, str | None] = {}
        for version in one.history_model.objects.filter(history_stream=customer.pk).order_by("history_id"):
            values = {column.attname: getattr(version, column.attname) for column in rows.columns(one.model)}
            key = getattr(version, str(one.model._meta.pk.attname))
            texts[key] = None if version.history_type == "-" else rows.row_json(one.model, values)
        found[one.label] = sorted(text for text in texts.values() if text is not None)
    return found


def same_as_history(customer: Any) -> bool:
    return state_of(customer) == newest_versions(customer)


@pytest.fixture
def restored(vault: Vault, people: dict[str, User], clock: Any) -> Callable[..., LiveRestore]:
    """Asked by olga, approved by rita, carried out."""

    def restore(customer: Any, **what: Any) -> LiveRestore:
        asked = ask(vault, customer, people, **what)
        approve(vault, asked, people)
        done = carrying_out.carry_out(vault, asked.pk)
        assert done is not None
        return done

    return restore


def ask(
    vault: Vault, customer: Any, people: dict[str, User], by: str = "olga", only: Only | None = None, **which: Any
) -> LiveRestoreRequest:
    return requests.ask(vault, customer, Which(**which), by=people[by], why="the import was wrong", now=datetime.now(UTC), only=only)


def approve(vault: Vault, asked: LiveRestoreRequest, people: dict[str, User], by: str = "rita", password: str = "pw") -> LiveRestore:
    return requests.approve(vault, asked, by=people[by], password=password, now=datetime.now(UTC))
