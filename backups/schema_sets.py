"""Sets before and behind a change of the schema: the last ones with the columns of before, and the first ones with those of after (P1, P8).

A set of before holds what the migrations take away, and every second up to them. So none runs while a customer's newest changes are in no
good set, unless a person says so and why.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.apps.registry import Apps
from django.db.models import Exists, OuterRef, Q, Subquery

from audit import registry
from audit.models import Stream
from audit.registry import Protected
from backups import run_acts
from backups.errors import BackupError
from backups.models import BackupSet
from backups.nightly import back_up
from backups.vault import Vault

# Between the clock of a set and the database's, by which a change without a number is told to be in it.
MARGIN = timedelta(minutes=1)
NAMED = 5


class SetsOwed(BackupError):
    """Customers whose newest changes are in no good set; nothing was migrated."""


@dataclass(frozen=True, slots=True)
class Uncovered:
    """A stream whose newest change is in no good set."""

    id: uuid.UUID
    name: str


def uncovered(apps: Apps) -> list[Uncovered]:
    """By the tables as they are (`apps` are the models before the migrations). A good set is protected and proved."""
    sets, journal = apps.get_model("l2l_backups", "BackupSet"), apps.get_model("l2l_audit", "JournalRow")
    streams: Any = apps.get_model("l2l_audit", "Stream").objects
    good = sets.objects.filter(stream=OuterRef("pk"), state="made", protected_at__isnull=False, proof="proved").order_by("-started_at")
    known = streams.annotate(number=Subquery(good.values("journal_number")[:1]), at=Subquery(good.values("snapshot_at")[:1]))
    changes = journal.objects.filter(stream=OuterRef("pk"))
    behind = changes.filter(Q(number__gt=OuterRef("number")) | Q(number=None, written_at__gte=OuterRef("at")))
    found = [
        Uncovered(pk, name)
        for pk, name in known.filter(Q(at=None) & Exists(changes) | Q(number__isnull=False) & Exists(behind)).values_list("pk", "name")
    ]
    # A set of a stream without any numbers yet.
    for pk, name, at in known.filter(number=None, at__isnull=False).values_list("pk", "name", "at"):
        if journal.objects.filter(Q(number__isnull=False) | Q(written_at__gte=at - MARGIN), stream=pk).exists():
            found.append(Uncovered(pk, name))
    return sorted(found, key=lambda one: one.name)


def make_sets(vault: Vault, streams: Sequence[Uncovered], models: Sequence[Protected], tell: Callable[[str], None]) -> None:
    """A set of each stream, with the columns of these `models`, which the database has still. Raises `SetsOwed` when one is not good: whole
    at every required location and proved. Stands inside `audit.acting(...)`."""
    troubles: dict[str, str] = {}
    with registry.as_it_was(models):
        for one in streams:
            tell(f"a set of {one.name} before the migrations")
            try:
                outcome = back_up(vault, Stream.objects.get(pk=one.id))
            except Exception as problem:  # noqa: BLE001  (each customer's trouble is told, and stops the migrations, not the other sets)
                troubles[one.name] = f"{type(problem).__name__}: {problem}"
                continue
            if outcome.backup_set.protected_at is None:
                troubles[one.name] = "; ".join(f"{name}: {why}" for name, why in outcome.troubles.items()) or "not at every location"
            elif outcome.backup_set.proof != BackupSet.Proof.PROVED:
                troubles[one.name] = f"its rows are not what history says: {outcome.backup_set.proof_text.splitlines()[0]}"
    if troubles:
        raise SetsOwed(
            f"Nothing was migrated: {len(troubles)} sets before the migrations are not good ("
            + "; ".join(f"{name}: {why}" for name, why in list(troubles.items())[:NAMED])
            + "). Mend that and run 'manage.py init' again. Only if it cannot be mended: 'manage.py init --without-sets --reason \"...\"'; "
            "what the migrations take away is then in older sets alone."
        )


def refuse_uncovered(streams: Sequence[Uncovered]) -> None:
    """`SetsOwed` where this version of the software cannot make them, for its own tables are older than it is."""
    if streams:
        raise SetsOwed(
            f"Nothing was migrated: the newest changes of {len(streams)} customers are in no good set ("
            f"{', '.join(one.name for one in streams[:NAMED])}{' …' if len(streams) > NAMED else ''}), and the tables of the back office "
            "itself change, so that only the version that is installed can make them: put it back, stop whatever writes, run "
            "'manage.py backup', then install this one and run 'manage.py init' again. Or 'manage.py init --without-sets --reason \"...\"'."
        )


def ask_behind(version: int, now: datetime) -> int:
    """A set of every stream is due, for the first time with the new columns; returns how many. Frozen customers' final sets are theirs.
    Stands inside `audit.acting(...)`."""
    asked = 0
    for stream in Stream.objects.filter(frozen_at=None).values_list("pk", flat=True):
        run_acts.ask(stream, now, reason=f"schema version {version}")
        asked += 1
    return asked
