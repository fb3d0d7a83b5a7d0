"""The order in which a schema is changed, and what a kill in between leaves (`audit/schema/__init__.py` says what is never done).

`begin` before the first migration, `end` behind the last; the row of `SchemaChange` stands from the one to the other. What it holds was
looked at with the columns of before, for nobody can do so later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from django.apps.registry import Apps
from django.db import connections, router, transaction

import audit
from audit import registry
from audit.errors import AuditError
from audit.journal_proof import Misfit
from audit.models import ChainHead, JournalRow, SchemaChange, SchemaVersion
from audit.registry import Protected
from audit.schema import former, versions
from audit.schema.describing import described, digest_of
from audit.schema.differences import different
from audit.schema.former import Plan
from audit.schema.losses import losses
from audit.schema.tracking import ACTOR, SOURCE, Tell, track
from audit.schema.versions import Changed
from audit.signing import Signer

# Of more changes that do not fit none could be told from what the migrations lose.
MOST_UNPROVED = 10_000


class Unfinished(AuditError):
    """An earlier deployment was cut short."""


class NotProved(AuditError):
    """Too much of history does not fit to tell what the migrations would lose."""


def is_installed(plan: Plan) -> bool:
    """Whether there is a database with history in it already."""
    return ("l2l_audit", SchemaChange._meta.model_name) in plan.before.models


def models_before(plan: Plan) -> list[Protected]:
    """The protected models with the columns that the database has now."""
    known = plan.before.apps.get_model("l2l_audit", SchemaVersion.__name__).objects.order_by("-number").first()
    return former.models_then(plan.before.apps, known.document["models"] if known else former.known_today())


def begin(plan: Plan, now: datetime, chain: Callable[[], Iterable[Misfit]], *, without_sets: str = "", tell: Tell = lambda _: None) -> None:
    """Writes down what differs from history before the migrations run. Does nothing when that was done and a part of them has run since.
    `chain` recomputes every chain of changes and gives what does not fit. Raises `ModelRenamed`, `NotProved`, `Unfinished`."""
    kept = _kept(plan.before.apps)
    open_one = kept.objects.filter(ended_at=None).first()
    if open_one is not None and set(open_one.before["migrations"]) - set(plan.names):  # some of them ran
        _refuse_others(open_one.before["migrations"], plan)
        return
    before = _looked_at(plan, chain, tell) | {"without_sets": without_sets}
    with transaction.atomic():
        kept.objects.filter(ended_at=None).delete()
        kept.objects.create(begun_at=now, before=before)


def end(signer: Signer, now: datetime, software: str, *, tell: Tell = lambda _: None) -> SchemaVersion | None:
    """What the migrations changed becomes tracked changes, and the version is recorded. None when nothing was begun and what there is was
    recorded before. Safe to repeat."""
    change = SchemaChange.objects.filter(ended_at=None).first()
    with audit.acting(ACTOR, reason="a new version of the software", source=SOURCE):
        if change is None:
            return None if versions.is_recorded() else versions.record(signer, now, software, Changed(watched=versions.newest() is None))
        before = change.before
        tracked, left = track(before["keys"], lambda label: before["why"].get(label, before["migrations"][-1]), tell)
        with transaction.atomic():
            done: dict[str, Any] = {
                "tracked": tracked,
                "left": left,
                "migrations": before["migrations"],
                "without_sets": before["without_sets"],
            }
            done["began"] = change.begun_at.isoformat()
            said = {name: before[name] for name in ("renamed", "lost", "heads", "unproved")}
            recorded = None
            if tracked or said["lost"] or not versions.is_recorded():
                recorded = versions.record(signer, now, software, Changed(**done, **said))
            SchemaChange.objects.filter(pk=change.pk).update(ended_at=now)
    return recorded


def _refuse_others(begun: list[str], plan: Plan) -> None:
    """What differs now is the doing of the ones that ran, and must not be said of others."""
    if set(plan.names) - set(begun):
        raise Unfinished(
            f"An earlier deployment was cut short: {', '.join(begun)}. Install that version of the software and run 'manage.py init', so "
            "that what its migrations changed comes into history; then install this one."
        )


def _looked_at(plan: Plan, chain: Callable[[], Iterable[Misfit]], tell: Tell) -> dict[str, Any]:
    then, now = models_before(plan), described(registry.protected())
    columns = described(then)
    renamed = former.renamed_columns(plan, columns)
    lost = losses(columns, now, renamed)
    found: dict[str, Any] = {
        "migrations": plan.names,
        "why": {label: plan.why(label) for label in now},
        "digest": digest_of(columns),
        "renamed": renamed,
        "lost": lost,
        "heads": {},
        "unproved": {},
        "keys": {one.label: keys for one in then if (keys := _keys(one, tell))},
    }
    if lost:
        tell("recomputing every chain: " + ", ".join(f"{label} ({', '.join(names)})" for label, names in lost.items()) + " cannot be later")
        with registry.as_it_was(then):
            found["unproved"] = _unproved(chain())
        heads = ChainHead.objects.filter(number__gt=0).values_list("stream_id", "number", "digest")
        found["heads"] = {str(stream): [number, digest] for stream, number, digest in heads}
    return found


def _keys(protected: Protected, tell: Tell) -> list[str]:
    tell(f"{protected.label}: rows against history")
    alias = router.db_for_write(JournalRow)
    with transaction.atomic(using=alias):
        return [str(one.key) for one in different(protected, connections[alias])]


def _unproved(misfits: Iterable[Misfit]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for at, one in enumerate(misfits):
        if at == MOST_UNPROVED:
            raise NotProved(
                f"More than {MOST_UNPROVED:,} changes do not fit history ('manage.py verify_audit' names them), and the migrations "
                "would make it impossible to look again. Put those rows back from the newest set that was proved, "
                "then run 'manage.py init' again."
            )
        if one.stream is not None and one.number is not None:
            found.setdefault(str(one.stream), []).append(one.number)
    return found


def _kept(apps: Apps) -> Any:
    """The model of `SchemaChange` with the columns that the database has."""
    return apps.get_model("l2l_audit", SchemaChange.__name__)
