"""Deploying: migrations, with sets before and behind them, and what they did to protected rows in history (docs/operations.md).

In this order: sets of before; what differs from history already is written down; the migrations; what differs now besides becomes tracked
changes; the version is recorded and signed; sets of after are due. Killed anywhere, the next `init` goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from django.conf import settings
from django.core.management import call_command
from django.db import connections

import audit
from audit import clock, findings, journal_proof, registry
from audit.journal_proof import Misfit
from audit.models import SchemaVersion
from audit.schema import changing, former, versions
from audit.schema.describing import described
from audit.schema.former import Plan
from audit.schema.tracking import ACTOR, SOURCE
from backups import keyfiles, schema_sets
from backups import vault as vaults
from backups.hot import timelines
from backups.purge.recorded import recorded_numbers
from backups.snapshot import snapshot
from subscriptions.ending import standing

OWN = {"l2l_audit", "l2l_subscriptions", "l2l_backups"}

Tell = Callable[[str], None]


def migrate(*, without_sets: str, tell: Tell) -> None:
    """Runs the migrations that wait. Raises `SetsOwed`, `ModelRenamed`, `NotProved`; then none ran."""
    plan = former.waiting(connections["default"])
    if plan.migrations and changing.is_installed(plan) and _concerns_content(plan):
        with audit.acting(ACTOR, reason=f"before {', '.join(plan.names)}", source=SOURCE):
            if not without_sets:
                _make_sets(plan, tell)
            changing.begin(plan, clock.now(), lambda: _misfits(tell), without_sets=without_sets, tell=tell)
    call_command("migrate", verbosity=0, interactive=False)


def settle(tell: Tell) -> Iterator[str]:
    """What the migrations did becomes history, their version is recorded, sets are due; yields what a person reads. Safe to repeat."""
    recorded = changing.end(keyfiles.signer(settings.L2L_KEYS), clock.now(), settings.SOFTWARE_VERSION, tell=tell)
    if recorded is not None:
        yield from _told(recorded)
    version = recorded or versions.newest()
    if version is None or version.number == 1:
        return
    with audit.acting(ACTOR, reason=f"schema version {version.number}", source=SOURCE):
        if asked := schema_sets.ask_behind(version, clock.now()):
            yield f"{asked} sets of schema version {version.number} are due at once: the worker makes them, or 'manage.py backup'."


def _told(version: SchemaVersion) -> Iterator[str]:
    document = version.document
    if not document["watched"]:
        with audit.acting(ACTOR, reason=f"schema version {version.number}", source=SOURCE):
            findings.open_finding(
                findings.Kind.SCHEMA_UNRECORDED, subject=version, customer=None, text=versions.UNRECORDED, now=clock.now()
            )
        yield versions.UNRECORDED
    for label, (altered, added, removed) in document["tracked"].items():
        yield f"{label}: {altered:,} rows changed, {added:,} added, {removed:,} removed by migrations are in history now"
    for label, count in document["left"].items():
        yield f"{label}: {count:,} rows differed from history before the migrations and do so still; the nightly proof names them"
    for label, names in document["lost"].items():
        yield f"{label}: older changes cannot be made anew any more ({', '.join(names)}); their heads are signed, sets of before hold them"
    if version.number > 1:
        yield f"Schema version {version.number} is recorded."


def _concerns_content(plan: Plan) -> bool:
    """Whether protected rows may be touched: migrations of their apps, and those that may write to any table."""
    known = {*described(changing.models_before(plan)), *described(registry.protected())}
    apps = {label.partition(".")[0] for label in known}
    return any(one.app_label in apps or any(isinstance(step, former.DATA) for step in one.operations) for one in plan.migrations)


def _make_sets(plan: Plan, tell: Tell) -> None:
    owed = schema_sets.uncovered(plan.before.apps)
    if plan.apps & OWN:
        schema_sets.refuse_uncovered(owed)
    elif owed:
        schema_sets.make_sets(vaults.from_settings(), owed, changing.models_before(plan), tell)


def _misfits(tell: Tell) -> Iterator[Misfit]:
    """Every chain recomputed with the columns of before."""
    fingerprint = keyfiles.signer(settings.L2L_KEYS).fingerprint
    with snapshot() as moment:
        walk = journal_proof.Recomputation(
            moment.connection,
            timelines.forks(),
            lambda changes: tell(f"{changes:,} changes recomputed"),
            recorded_numbers(moment),
            versions.lineage(fingerprint, moment.connection),
            standing.ended(),
        )
        yield from walk.of_all()
