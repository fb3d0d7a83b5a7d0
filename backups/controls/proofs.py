"""P8: whether the rows are what history says, as the proof in each night's set found."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Exists, OuterRef, QuerySet

from audit.controls import Control, Flaw, Measured, counted, judged
from audit.promises import Standing
from backups import nights, policies
from backups.controls.nights import NO_CUSTOMERS
from backups.models import BackupSet, Run
from subscriptions.models import Customer


def measure_proofs(now: datetime) -> Measured:
    """The newest proof of each customer; how many of the newest night that is over were made."""
    broken = broken_proofs().count()
    if not broken and not Customer.objects.exists():
        return judged(NO_CUSTOMERS, value=0)
    versions = policies.versions()
    night = nights.current_night(versions, now).label - nights.DAY if versions else None
    made = Run.objects.filter(kind=Run.Kind.BACKUP, night=night, backup_set__proof=BackupSet.Proof.PROVED).count() if night else 0
    figure = f"{counted(broken, 'customer')} with rows unlike their history; {counted(made, 'proof')} in the last night"
    if not broken:
        return judged(figure, value=0)
    text = f"Of {counted(broken, 'customer')} the newest proof found rows that are not what history says."
    todo = "The sets' pages name the rows: find out who changed them behind history's back, and put them right by a tracked change."
    return judged(figure, [Flaw(Standing.BROKEN, text, todo)], broken)


def broken_proofs() -> QuerySet[BackupSet]:
    """The sets whose proof is broken, and after which no set of the stream was proved."""
    newer = BackupSet.objects.filter(stream=OuterRef("stream"), started_at__gt=OuterRef("started_at"), state=BackupSet.State.MADE)
    made = BackupSet.objects.filter(state=BackupSet.State.MADE, proof=BackupSet.Proof.BROKEN)
    return made.filter(~Exists(newer.exclude(proof="")))


CONTROLS = (
    Control(
        name="proofs",
        promise="P8",
        title="Rows are what history says",
        threshold=(
            "Broken: the newest proof of a customer found a row unlike its history, or a chain that does not fit; the whole chain is "
            "recomputed every 28th night."
        ),
        unit="customers",
        measure=measure_proofs,
        evidence="admin:l2l_backups_backupset_changelist",
        query="proof__exact=broken",
        populations=("sets",),
    ),
)
