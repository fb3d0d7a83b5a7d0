"""The sample customers and people of `make run`: made by the real verbs, in a home that is marked as a sample for ever."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model

import audit
from audit import clock
from audit.grants import grant_role
from audit.models import Stream
from audit.roles import Role
from backups import vault as vaults
from backups.hot import shipper
from backups.models import LossHour
from backups.nightly import back_up
from backups.returning import carrying_out as returning
from backups.returning import freezing
from subscriptions.ending import beginning
from subscriptions.importing import import_content
from subscriptions.models import Customer, DataRecord
from subscriptions.onboarding import add_customer
from subscriptions.sample_content import write_sample

PEOPLE = {
    "ada": ("account manager", "Ada Account"),
    "bo": ("account manager", "Bo Broker"),
    "olga": ("backup operator", "Olga Operator"),
    "rita": ("receipt approver", "Rita Receipt"),
    "aud": ("auditor", "Aud Auditor"),
    "anna": ("administrator", "Anna Administrator"),
    "admin": ("", "Administrator"),
}
# Long enough for a role to approve.
SINCE = timedelta(days=30)
CUSTOMERS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "northwind": ("Northwind Bicycles", "ada", "Europe/Berlin", {}),
    "kasseler": ("Kasseler Gießerei GmbH", "ada", "Europe/Berlin", {"agreed_retention_years": 10, "agreed_destruction_days": 14}),
    "maple": ("Maple Leaf Motors", "bo", "America/Toronto", {"end": date.today() + timedelta(days=80)}),  # noqa: DTZ011  (a date on paper)
    # Over since some days: its data is returned, and the package waits for its receipt.
    "lindqvist": ("Lindqvist Marin AB", "bo", "Europe/Stockholm", {"end": date.today() - timedelta(days=3)}),  # noqa: DTZ011
}


def sign_in_file() -> Path:
    return settings.L2L_HOME / "sample-sign-ins.txt"


def sign_ins() -> list[str]:
    """The sample's names and passwords, for the person at the keyboard; nothing in a real home."""
    path = sign_in_file()
    if not settings.L2L_SAMPLE or not path.exists():
        return ["Sign in with a user made by 'manage.py createsuperuser'."]
    return ["Sign in as:", *(f"  {line}" for line in path.read_text().splitlines())]


def add_sample() -> Iterator[str]:
    """People, customers with content, two nights of sets, an end under way; what is there already is left alone."""
    with audit.acting("sample", reason="sample data", source="init --sample"):
        yield from _add_people()
        for number, code in enumerate(CUSTOMERS):
            if not Customer.objects.filter(code=code).exists():
                yield f"Adding the sample customer {code}"
                _add_customer(code, number)
        yield from _return_what_is_over()
        _forget_measurements()


def _add_people() -> Iterator[str]:
    users, path, lines = get_user_model().objects, sign_in_file(), []
    if users.exists():
        return
    for name, (role, full_name) in PEOPLE.items():
        password = secrets.token_urlsafe(9)
        first, _, last = full_name.partition(" ")
        user = users.create_user(
            name, f"{name}@example.org", password, first_name=first, last_name=last, is_staff=True, is_superuser=not role
        )
        if role:
            grant_role(user, Role(role), reason="sample data", now=clock.now(), since=clock.now() - SINCE)
        lines.append(f"{name:<8}{password:<16}{role or 'administrator of everything (sample only)'}")
    path.touch(mode=0o600)
    path.write_text("\n".join(lines) + "\n")
    yield f"Made {len(PEOPLE)} sample people"


def _add_customer(code: str, number: int) -> None:
    name, manager, zone, terms = CUSTOMERS[code]
    customer = add_customer(
        code, name, start=date(2024, 1, 1 + number), account_manager=get_user_model().objects.get(username=manager), zone=zone, **terms
    )
    with tempfile.TemporaryDirectory() as folder:
        write_sample(Path(folder), seed=number, size="small")
        import_content(customer, Path(folder))
    stream, vault = Stream.objects.get(pk=customer.pk), vaults.from_settings()
    for change in (_nothing, _edit):
        change(customer)
        shipper.ship_once(vault)
        back_up(vault, stream)


def _return_what_is_over() -> Iterator[str]:
    """As the worker does when a last subscription is over: the end opens, the data is frozen, and the package is made."""
    begun = beginning.begin_due(clock.now()).begun
    if begun:
        freezing.keep_frozen()
        returning.look(clock.now())
    for pk in returning.waiting(clock.now()):
        work = returning.carry_out(vaults.from_settings(), pk)
        if work is not None:
            yield f"The end of {work.request.customer.code}: {work.get_state_display()}{f', {work.trouble}' if work.trouble else ''}"


def _nothing(customer: Customer) -> None:
    """The content as it was imported."""


def _forget_measurements() -> None:
    """How long changes took while a sample was made, with no shipper running, says nothing of the service that is about to begin."""
    LossHour.objects.all().delete()


def _edit(customer: Customer) -> None:
    """A few changes by hand, so that history has something to show."""
    with audit.because("corrected after a call with the customer"):
        for record in DataRecord.objects.filter(customer=customer).order_by("pk")[:5]:
            record.data = {**record.data, "Note": "checked by telephone"}
            record.save()
    with audit.because("entered twice"):
        DataRecord.objects.filter(customer=customer).order_by("-pk")[0].delete()
