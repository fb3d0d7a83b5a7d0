"""Many customers at once from one CSV file, a row for each with its first subscription: the whole file checked first, all or nothing (P1).

Imported again, only what is new is added. What is there already and says something else is refused with the way that changes it: terms,
names and account managers each have a verb of their own, and none of them is a spreadsheet.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from django.core.exceptions import ValidationError
from django.db import transaction

from audit.errors import AuditError
from audit.models import Stream
from subscriptions.handing_over import account_managers
from subscriptions.importing import cells, sheets
from subscriptions.importing.report import Problems, short
from subscriptions.importing.sheets import Line
from subscriptions.models import Customer, Subscription
from subscriptions.onboarding import add_customers

ADDS = "l2l_subscriptions.add_customer"
COLUMNS = sheets.Columns(
    ("code", "name", "start"),
    (
        "zone",
        "account_manager",
        "end",
        "agreement_number",
        "plan",
        "agreed_years",
        "destroy_within_days",
        "return_days",
        "deemed_receipt",
        "notice_contacts",
    ),
)
# By column, the attribute that it fills.
OF_CUSTOMER = {"code": "code", "name": "name", "zone": "zone", "account_manager": "account_manager_id"}
OF_SUBSCRIPTION = {
    "agreement_number": "agreement_number",
    "plan": "plan",
    "start": "start",
    "end": "end",
    "agreed_years": "agreed_retention_years",
    "destroy_within_days": "agreed_destruction_days",
    "return_days": "return_days",
    "deemed_receipt": "deemed_receipt_allowed",
    "notice_contacts": "notice_contacts",
}
# By column, what changes it where the customer is known already.
OTHERWISE = {
    **dict.fromkeys(("name", "zone"), "change it on the customer's page"),
    "account_manager": "hand the customer over to somebody else, on its page",
    **dict.fromkeys(("end", "agreed_years", "destroy_within_days"), "change the terms (manage.py terms, or the subscription's page)"),
    "start": "a contract keeps its first day; one that follows is a renewal, on the customer's page",
    **dict.fromkeys(("plan", "return_days", "deemed_receipt", "notice_contacts"), "change it on the subscription's page"),
}


class ImportRefused(AuditError):
    """This person may not add customers."""


@dataclass(slots=True)
class Imported:
    """Short codes of those added (with a dry run: of those that would be), and how many were known already, as the file has them."""

    dry_run: bool
    added: list[str] = field(default_factory=list)
    known: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """One row as it would be stored."""

    line: int
    columns: frozenset[str]
    customer: Customer
    subscription: Subscription


@dataclass(slots=True)
class Known:
    """What there is already, read once."""

    customers: dict[str, Customer]
    subscriptions: dict[tuple[uuid.UUID, str], Subscription]
    codes: set[str]
    numbers: set[str]
    managers: dict[str, Any]
    lines: dict[str, int] = field(default_factory=dict)  # of the file: where each code stands


def import_customers(file: BinaryIO, name: str, *, by: Any = None, dry_run: bool = False) -> Imported:
    """What was added and what was known. `by` is who does it in the admin, None for the command line. Raises `FileRefused` with every
    problem and its line; then nothing was written. Stands inside `audit.acting(...)`."""
    if by is not None and not by.has_perm(ADDS):
        raise ImportRefused(f"{by} may not add customers: it needs the right {ADDS}.")
    problems = Problems(name)
    sheet = sheets.read(file, COLUMNS, problems)
    with transaction.atomic():
        known, done = _known(), Imported(dry_run)
        new = [wanted for line in sheet.lines if (wanted := _checked(line, known, problems, done)) is not None]
        problems.refuse()
        if not dry_run:
            add_customers((one.customer, one.subscription) for one in new)
    done.added = [one.customer.code for one in new]
    return done


def _known() -> Known:
    customers = {one.code: one for one in Customer.objects.select_related("account_manager")}
    subscriptions = {(one.customer_id, one.agreement_number): one for one in Subscription.objects.all()}
    return Known(
        customers,
        subscriptions,
        set(Stream.objects.values_list("name", flat=True)),
        {number for _, number in subscriptions},
        {one.get_username(): one for one in account_managers()},
    )


def _checked(line: Line, known: Known, problems: Problems, done: Imported) -> Wanted | None:
    """The row when it is to be added; None for one that is known, or has a problem."""
    before = len(problems)
    wanted = _wanted(line, known, problems)
    if (first := known.lines.setdefault(line.cells["code"], line.number)) != line.number:
        problems.add(f"stands in line {first} already: a customer has one row, and further subscriptions are renewals", line.number, "code")
    if wanted is None or len(problems) > before:
        return None
    stored = known.customers.get(wanted.customer.code)
    if stored is not None:
        _compare(wanted, stored, known, problems)
        done.known += 1
        return None
    _check_unused(wanted, known, problems)
    return wanted if len(problems) == before else None


def _check_unused(wanted: Wanted, known: Known, problems: Problems) -> None:
    code, number = wanted.customer.code, wanted.subscription.agreement_number
    if code in known.codes:
        problems.add(f"the code {code!r} was used before; codes are never used again", wanted.line, "code")
    if number in known.numbers:
        problems.add(f"the agreement {short(number)!r} is another one's already", wanted.line, "agreement_number")
    known.numbers.add(number)


# One row


def _wanted(line: Line, known: Known, problems: Problems) -> Wanted | None:
    values = _values(line, known, problems)
    if values is None:
        return None
    customer = Customer(id=uuid.uuid4(), **_filled(values, OF_CUSTOMER))
    subscription = Subscription(customer=customer, **_filled(values, OF_SUBSCRIPTION))
    if not subscription.agreement_number:
        subscription.agreement_number = f"{customer.code}-1"
    _validate(customer, OF_CUSTOMER, ("account_manager",), line, problems)
    _validate(subscription, OF_SUBSCRIPTION, ("customer", "document"), line, problems)
    return Wanted(line.number, frozenset(line.cells), customer, subscription)


def _filled(values: Mapping[str, Any], attributes: Mapping[str, str]) -> dict[str, Any]:
    return {attribute: values[column] for column, attribute in attributes.items() if values.get(column) not in (None, "")}


def _values(line: Line, known: Known, problems: Problems) -> dict[str, Any] | None:
    parsers: dict[str, Callable[[str], Any]] = {**PARSERS, "account_manager": lambda name: _manager(name, known)}
    values, broken = {}, False
    for column, text in line.cells.items():
        try:
            values[column] = parsers[column](text) if column in parsers and text else text or None
        except ValueError as problem:
            problems.add(str(problem), line.number, column)
            broken = True
    for column in COLUMNS.required:
        if not line.cells.get(column):
            problems.add("is empty", line.number, column)
            broken = True
    return None if broken else values


def _validate(row: Any, attributes: Mapping[str, str], exclude: tuple[str, ...], line: Line, problems: Problems) -> None:
    columns = {attribute: column for column, attribute in attributes.items()}
    for check in (lambda: row.clean_fields(exclude=exclude), row.clean):
        try:
            check()
        except ValidationError as problem:
            for attribute, messages in problem.message_dict.items():
                problems.add(" ".join(messages), line.number, columns.get(attribute, attribute))


def _compare(wanted: Wanted, stored: Customer, known: Known, problems: Problems) -> None:
    subscription = known.subscriptions.get((stored.pk, wanted.subscription.agreement_number))
    if subscription is None:
        number = wanted.subscription.agreement_number
        problems.add(f"{stored.code} has no agreement {short(number)!r}: renew the one that it has, on its page", wanted.line)
        return
    for column in _differing(wanted, stored, subscription):
        problems.add(f"{stored.code} is known with another value: {OTHERWISE[column]}", wanted.line, column)


def _differing(wanted: Wanted, stored: Customer, subscription: Subscription) -> Iterator[str]:
    """The columns of the file that say something else than what is stored."""
    for new, old, attributes in ((wanted.customer, stored, OF_CUSTOMER), (wanted.subscription, subscription, OF_SUBSCRIPTION)):
        for column, attribute in attributes.items():
            if column in wanted.columns and getattr(new, attribute) != getattr(old, attribute):
                yield column


# One cell


def _manager(name: str, known: Known) -> Any:
    if name not in known.managers:
        raise ValueError(
            f"there is no active account manager {short(name)!r}: add one with 'manage.py add_person NAME --role account_manager'"
        )
    return known.managers[name].pk


PARSERS: dict[str, Callable[[str], Any]] = {
    "start": cells.day,
    "end": cells.day,
    "agreed_years": cells.number,
    "destroy_within_days": cells.number,
    "return_days": cells.number,
    "deemed_receipt": cells.yes_or_no,
    "notice_contacts": cells.addresses,
}
