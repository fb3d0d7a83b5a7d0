"""What a vendor does with one version of its software, in one process: `manage.py shell -c "from tests.deployed.driving import ..."`.

Each function prints one JSON document on its last line.
"""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection

import audit
from audit import clock
from audit.grants import grant_role
from audit.models import SchemaChange, SchemaVersion
from audit.roles import Role
from backups import vault as vaults
from backups.live_restore import requests
from backups.live_restore.carrying_out import carry_out
from backups.live_restore.sources import Which
from backups.models import Act, BackupSet
from subscriptions.models import Customer
from tests.deployed.models import Machine


def told(**facts: Any) -> None:
    print(json.dumps(facts, default=str))


def said(*command: Any, **options: Any) -> tuple[str, str]:
    """Standard output, and what was wrong."""
    out = StringIO()
    try:
        call_command(*command, stdout=out, stderr=StringIO(), **options)
    except CommandError as problem:
        return out.getvalue(), str(problem)
    return out.getvalue(), ""


def installed(*arguments: str) -> None:
    """`init`, and what stands behind it."""
    out, wrong = said("init", *arguments)
    version = SchemaVersion.objects.order_by("-number").first()
    told(
        said=out,
        wrong=wrong,
        version=version and version.number,
        document=version and {name: version.document[name] for name in ("tracked", "left", "lost", "renamed", "watched", "migrations")},
        open=SchemaChange.objects.filter(ended_at=None).count(),
        due=Act.objects.filter(reason=f"schema version {version.number}").count() if version else 0,
    )


def filled() -> None:
    """Content with a past."""
    from tests.deployed.models import Reading

    call_command("add_customer", "acme", name="Acme", start="2026-01-01", stdout=StringIO())
    acme = Customer.objects.get()
    with audit.acting("ada", reason="set up", source="test"):
        for name in ("first", "second", "scrapped"):
            Machine.objects.create(customer=acme, name=name, weight="1.50", colour="red")  # type: ignore[misc]
        second = Machine.objects.get(name="second")
        second.colour = "blue"  # type: ignore[attr-defined]
        second.save()
        Reading.objects.create(machine=second, value=5)
    told()


def touched() -> None:
    """One more change, which no set has."""
    with audit.acting("ada", reason="a change", source="test"):
        second = Machine.objects.get(name="second")
        second.colour = "green"  # type: ignore[attr-defined]
        second.save()
    told()


def tampered(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
    told()


def kept() -> None:
    """Everything shipped, a set of everybody, and everything proved: what is wrong, and when this was."""
    shipped = said("hotbackup", "--once")[1]
    backed_up, wrong = said("backup", "--json")
    verified, unverified = said("verify_audit", "--json")
    changes = json.loads(verified)["changes"]
    told(
        wrong=[shipped, wrong, unverified],
        proofs=[(one["customer"], one["proof"], one["proof_text"]) for one in json.loads(backed_up)],
        unread=changes["unread"],
        dropped=changes["dropped"],
        troubles=changes["troubles"],
        at=clock.database_now().isoformat(),
        sets=[str(pk) for pk in BackupSet.objects.filter(stream__name="acme").order_by("started_at").values_list("pk", flat=True)],
        history=[
            (one.history_type, one.history_actor, one.history_change_reason, one.name) for one in Machine.history.order_by("history_id")
        ],
    )


def restored(to: str, *arguments: str) -> None:
    """Into a folder: the rows by model, and notes."""
    _, wrong = said("restore", "acme", *arguments, "--to", to)
    folder = Path(to) / "rows"
    rows = {one.stem: [json.loads(line) for line in one.read_text().splitlines()] for one in folder.iterdir()} if not wrong else {}
    told(wrong=wrong, rows=rows, notes=json.loads((Path(to) / "restore.json").read_text()).get("notes", []) if not wrong else [])


def previewed(set_id: str, only: str = "") -> None:
    """What a restore into the live tables would do, and what stands in its way."""
    from backups.choosing import Only

    acme = Customer.objects.get(code="acme")
    plan = requests.preview(vaults.from_settings(), acme.pk, Which(set_id), Only(only) if only else None)
    told(obstacles=plan.obstacles, notes=plan.notes, counts=plan.counts)


def restored_live(set_id: str, only: str) -> None:
    """Asked for by olga and approved by rita, whose rights are old."""
    from backups.choosing import Only

    settings.L2L_SAMPLE = True
    now = clock.now()
    people = {}
    for name, role in (("olga", Role.BACKUP_OPERATOR), ("rita", Role.RECEIPT_APPROVER)):
        with audit.acting("setup", reason="a test", source="test"):
            people[name] = User.objects.create_user(name, password="pw")
            grant_role(people[name], role, reason="a test", now=now, since=now - timedelta(days=400))
    vault, acme = vaults.from_settings(), Customer.objects.get(code="acme")
    with audit.acting("olga"):
        asked = requests.ask(vault, acme, Which(set_id), by=people["olga"], why="as it was", now=now, only=Only(only))
    with audit.acting("rita"):
        requests.approve(vault, asked, by=people["rita"], password="pw", now=now)
    row = carry_out(vault, asked.pk)
    columns = [field.attname for field in Machine._meta.concrete_fields]
    told(state=row and row.state, trouble=row and row.trouble, machines=list(Machine.objects.order_by("pk").values(*columns)))
