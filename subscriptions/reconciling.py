"""Our customers are held against billing's list (P1): whom we do not know, nobody backs up.

Each comparison is kept with the digest of the file that was given, is an event, and opens or closes the one finding about it. Stands inside
`audit.acting(...)`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any, BinaryIO

from django.db import transaction
from django.utils.timezone import localdate

import audit
from audit import actors, findings
from audit.errors import AuditError
from audit.events import Event, record
from audit.roles import EVERY_CUSTOMER
from subscriptions import billing
from subscriptions.billing import Billed, Comparison, Kind, Ours
from subscriptions.importing import cells, sheets
from subscriptions.importing.report import Problems, counted
from subscriptions.models import Customer, Reconciliation, Subscription
from subscriptions.models.customer import CODE
from subscriptions.past_term import today_of

RECONCILES = "l2l_subscriptions.add_reconciliation"
COLUMNS = sheets.Columns(("code",), ("agreement_number", "billed_from", "billed_to"))
# What the finding is about.
SUBJECT = "billing"
LONGEST_NUMBER = 64

# What each difference means, and what to do about it.
MEANINGS: dict[Kind, tuple[str, str]] = {
    Kind.UNKNOWN_HERE: (
        "billed, and unknown here",
        "Nobody backs them up: add them (manage.py import_customers), or correct the short code.",
    ),
    Kind.NOT_RUNNING_HERE: (
        "billed, and no subscription runs here",
        "Renew the subscription before the customer's data is returned and destroyed, or tell billing that it ended.",
    ),
    Kind.NOT_AT_BILLING: ("served here, and unknown to billing", "Tell billing, or give the subscription its last day."),
    Kind.NOT_BILLED_TODAY: (
        "served here, and not billed on that day",
        "Billing's dates lie before or after: give the subscription its last day, or tell billing that it runs.",
    ),
    Kind.AGREEMENT_NOT_HERE: (
        "billed by an agreement that does not run here",
        "Renew it here under that number, or correct it at billing.",
    ),
    Kind.AGREEMENT_NOT_BILLED: ("an agreement that runs here and is not billed", "Tell billing, or give it its last day."),
}


class ReconcilingRefused(AuditError):
    """This person may not compare with billing."""


def reconcile(file: BinaryIO, name: str, *, now: datetime, by: Any = None) -> Reconciliation:
    """The comparison as it is kept. `by` is who does it in the admin, None for the command line. Raises `FileRefused` with every problem
    and its line, and `ReconcilingRefused`; then nothing was written."""
    if by is not None and not by.has_perms((RECONCILES, EVERY_CUSTOMER)):  # what differs names customers of everybody
        raise ReconcilingRefused(f"{by} may not compare with billing: it needs the rights {RECONCILES} and {EVERY_CUSTOMER}.")
    problems = Problems(name)
    sheet = sheets.read(file, COLUMNS, problems)
    lines = list(_billed(sheet, problems))
    problems.refuse()
    with transaction.atomic(), audit.because("compared with billing"):
        found = billing.compare(lines, ours(now), localdate(now))
        return _kept(found, sheet.sha256, now)


def ours(now: datetime) -> dict[str, Ours]:
    """Every customer by its short code, with the agreements that run on its own day; two queries."""
    agreements: dict[Any, list[tuple[str, date, date | None]]] = defaultdict(list)
    for customer, number, start, end in Subscription.objects.order_by().values_list("customer", "agreement_number", "start", "end"):
        agreements[customer].append((number, start, end))
    return {one.code: _on_its_day(one, agreements[one.pk], today_of(one, now)) for one in Customer.objects.order_by()}


def _on_its_day(customer: Customer, agreements: list[tuple[str, date, date | None]], day: date) -> Ours:
    running = frozenset(number for number, start, end in agreements if start <= day and (end is None or day <= end))
    return Ours(customer.code, day, running)


def differences(kept: Reconciliation) -> list[tuple[Kind, list[list[str]]]]:
    """What differed, in the order in which people look at it."""
    return [(kind, kept.differences[kind.value]) for kind in Kind if kept.differences.get(kind.value)]


def differing(kept: Reconciliation) -> int:
    return sum(len(names) for _, names in differences(kept))


def summary(kept: Reconciliation) -> str:
    """`2 billed, and unknown here; 1 served here, and unknown to billing`; empty when nothing differed."""
    return "; ".join(f"{len(names):,} {MEANINGS[kind][0]}" for kind, names in differences(kept))


def _kept(found: Comparison, sha256: str, now: datetime) -> Reconciliation:
    kept = Reconciliation(at=now, by=actors.current().name[:200], source_sha256=sha256)
    kept.billed, kept.ours, kept.matched = found.billed, found.ours, found.matched
    kept.differences = {kind.value: [list(names) for names in those] for kind, those in found.differences.items()}
    kept.save()
    _tell(kept, now)
    facts = {"sha256": sha256, "billed": found.billed, "ours": found.ours, "matched": found.matched, "differ": found.count}
    record(Event.CUSTOMERS_RECONCILED, subject=kept, facts=facts)
    return kept


def _tell(kept: Reconciliation, now: datetime) -> None:
    if kept.differences:
        text = f"{counted(differing(kept), 'difference')} to billing's list: {summary(kept)}. The comparison names them."
        findings.open_finding(findings.Kind.CUSTOMERS_DIFFER, subject=SUBJECT, customer=None, text=text, now=now)
    else:
        resolution = "billing's list and ours are the same again"
        findings.close_as_mended(findings.Kind.CUSTOMERS_DIFFER, subject=SUBJECT, resolution=resolution, now=now)


def _billed(sheet: sheets.Sheet, problems: Problems) -> Iterator[Billed]:
    for line in sheet.lines:
        days: dict[str, date | None] = {}
        for column in ("billed_from", "billed_to"):
            try:
                days[column] = cells.day(line.cells[column]) if line.cells.get(column) else None
            except ValueError as problem:
                problems.add(str(problem), line.number, column)
        code, number = line.cells["code"], line.cells.get("agreement_number", "")
        if not re.fullmatch(CODE.regex, code):
            problems.add(f"is no short code of ours: {CODE.message}", line.number, "code")
        elif len(number) > LONGEST_NUMBER:
            problems.add(f"is longer than {LONGEST_NUMBER} characters", line.number, "agreement_number")
        elif len(days) == 2:
            yield Billed(code, number, days["billed_from"], days["billed_to"])
