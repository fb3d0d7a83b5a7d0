"""`manage.py test_restore [CUSTOMER ...] [--location NAME] [--set ID] [--at TIME] [--plan]`: proves that backups can be restored (P7)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import transaction

from audit import actors
from audit.commands import BackOfficeCommand
from audit.models import Stream
from audit.moments import in_utc, length
from audit.sizes import in_units
from backups import vault as vaults
from backups.choosing import At
from backups.errors import BackupError
from backups.management.commands.restore import moment_of
from backups.models import TestCell, TestOrder, TestRestore
from backups.stores.contract import StoreError
from backups.test_restores import coverage, orders
from backups.test_restores.carrying_out import carry_out, recover
from backups.test_restores.coverage import Debt
from backups.test_restores.orders import Plan
from backups.vault import Vault


class Command(BackOfficeCommand):
    help = (
        "Restores sets and random seconds from one location each into a scratch database, judges, times, removes and signs. Without a "
        "customer: what tonight's plan takes."
    )
    known = (BackupError, StoreError)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("customers", nargs="*", metavar="CUSTOMER", help="short codes, or 'system'; what is owed tonight when left out")
        parser.add_argument("--location", metavar="NAME", help="from this location alone; from each one in its turn when left out")
        parser.add_argument("--set", dest="set_id", metavar="ID", help="this set, by its id or its beginning; of one customer")
        parser.add_argument(
            "--at", type=moment_of, metavar="TIME", help="this second instead of a random one, e.g. 2026-03-04T02:05:09+01:00"
        )
        parser.add_argument("--reason", default="asked at the command line", help="why; stands beside the result")
        parser.add_argument("--plan", action="store_true", help="only show what is owed, and what tonight takes")

    def work(
        self,
        *,
        customers: list[str],
        location: str | None,
        set_id: str | None,
        at: At | None,
        reason: str,
        plan: bool,
        **options: Any,
    ) -> None:
        vault, now = vaults.from_settings(), vaults.clock()
        _refuse_unclear(customers, set_id, at, location)
        if plan:
            self._show(vault, now)
            return
        with actors.acting(actors.of_shell("test_restore", reason)), transaction.atomic():
            recover(vault, now)
            if customers:
                asked = [
                    one
                    for code in customers
                    for one in orders.ask(
                        vault, _stream(code), now, reason=reason, location=location, set_id=set_id, at=at.moment if at else None
                    )
                ]
            else:
                planned = _plan(vault, now)
                orders.order(planned.cells, planned.seed, now, reason="owed tonight", owed=True)
                asked = orders.waiting()
        tell = self.progress()
        done = [made for one in asked if (made := carry_out(vault, one.pk, progress=tell)) is not None]
        self._report(done, coverage.debt(vaults.clock()))

    def _show(self, vault: Vault, now: datetime) -> None:
        planned, debt = _plan(vault, now), coverage.debt(now)
        days = planned.policy.test_days
        lines = [
            f"Version {planned.policy.number} of the policy: every customer, tier and location within {days} days, at least "
            f"{planned.policy.tests_a_night} a night.",
            *_lines_of_debt(debt),
            *(f"{name} is out of reach, and stays owed: {why}" for name, why in planned.out_of_reach.items()),
            f"Tonight takes {len(planned.cells)}:",
            *(
                f"  {cell.stream.name}  {cell.tier}  {cell.location.name}  due {in_utc(cell.due_at)}  {_last(cell)}"
                for cell in planned.cells
            ),
        ]
        document = {
            "policy": planned.policy.number,
            "debt": _document_of_debt(debt),
            "out_of_reach": planned.out_of_reach,
            "tonight": [
                {
                    "customer": cell.stream.name,
                    "tier": cell.tier,
                    "location": cell.location.name,
                    "due_at": cell.due_at.isoformat(),
                    "tested_at": cell.tested_at.isoformat() if cell.tested_at else None,
                }
                for cell in planned.cells
            ],
        }
        self.report([*lines, "Nothing was tested. Without --plan it is."], document)

    def _report(self, done: list[TestOrder], debt: Debt) -> None:
        lines = [line for one in done for line in _lines(one)]
        if not done:
            lines.append("No test is owed tonight.")
        self.report([*lines, *_lines_of_debt(debt)], {"tests": [_document(one) for one in done], "debt": _document_of_debt(debt)})
        bad = [one for one in done if one.result is None or not one.result.passed]
        if bad:
            failed = sum(one.result is not None for one in bad)
            raise CommandError(
                f"{failed} of {len(done)} test restores failed and {len(bad) - failed} could not be made. Each failure is a "
                "finding with an owner and a due date; see above for what was found."
            )


def _refuse_unclear(customers: list[str], set_id: str | None, at: At | None, location: str | None) -> None:
    if (set_id or at) and len(customers) != 1:
        raise CommandError("--set and --at are of one customer: name just one.")
    if at is not None and at.moment is None:
        raise CommandError("--at needs a moment: what is newest now is tested as soon as a later second is covered.")
    if location and not customers:
        raise CommandError("--location needs customers: what is owed tonight has its locations.")


def _stream(code: str) -> Stream:
    found = Stream.objects.filter(name=code).first()
    if found is None:
        raise CommandError(f"There is no customer {code!r}.")
    return found


def _plan(vault: Vault, now: datetime) -> Plan:
    planned = orders.plan(vault, now)
    if planned is None:
        raise CommandError("There is no backup policy. 'manage.py init' makes the first version.")
    return planned


def _last(cell: TestCell) -> str:
    return f"last passed {in_utc(cell.tested_at)}" if cell.tested_at else "never tested"


def _lines(one: TestOrder) -> list[str]:
    head = f"{one.stream.name}  {one.tier}  {one.location.name}"
    test = one.result
    if test is None:
        return [f"{head}  not tested: {one.trouble}"]
    second = f", and as of {test.second.isoformat()}" if test.second else ", no second is covered there"
    took = f"restored in {_ms(test.rto_ms)}, judged in {_ms(test.judge_ms)}, {in_units(test.read_bytes)} read"
    told = [f"  {line}" for line in test.text.split("\n") if line]
    return [f"{head}  {test.result}: set {str(test.set_id)[:8]} of the night of {test.night}{second}; {took}", *told]


def _ms(count: int) -> str:
    return length(timedelta(milliseconds=count))


def _document(one: TestOrder) -> dict[str, Any]:
    test: TestRestore | None = one.result
    return {
        "customer": one.stream.name,
        "tier": one.tier,
        "location": one.location.name,
        "result": test.result if test else "not tested",
        "trouble": one.trouble,
        "test": test.pk if test else None,
        "document": test.document if test else None,
    }


def _lines_of_debt(debt: Debt) -> list[str]:
    oldest = f", the oldest since {in_utc(debt.oldest)}" if debt.oldest else ""
    return [
        f"{debt.owed} cells (customer x tier x location): {debt.tested} tested, {debt.never} never yet, {debt.late} overdue{oldest}, "
        f"{debt.failed} whose last test failed."
    ]


def _document_of_debt(debt: Debt) -> dict[str, Any]:
    return {
        "owed": debt.owed,
        "tested": debt.tested,
        "never": debt.never,
        "late": debt.late,
        "soon": debt.soon,
        "failed": debt.failed,
        "oldest": debt.oldest.isoformat() if debt.oldest else None,
    }
