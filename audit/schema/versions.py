"""Recorded versions of the schema: signed when a deployment has changed the protected models, and read back (P8, P13)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder

from audit import events, registry
from audit.events import Event
from audit.models import SchemaVersion
from audit.schema.describing import Described, described, digest_of
from audit.schema.lineage import Lineage
from audit.signing import BadSignature, Signer, verify

FORMAT = "l2l-schema-version-1"
UNRECORDED = (
    "The tables are of no recorded version of the schema: somebody ran 'migrate' by itself. 'manage.py init' records what there is; rows "
    "that a migration changed without history stay named by the proofs until somebody saves them with a reason."
)


@dataclass(slots=True)
class Changed:
    """What the migrations did. `renamed`, `lost`, `heads` and `unproved` are what `Lineage` reads; `tracked` counts the rows that became
    tracked changes, as [changed, added, removed] by model, `left` those that differed from history before and do so still. `began` is
    when the first of them began (ISO 8601). `watched` is false when the migrations ran without `init`: nobody knows what
    they changed."""

    migrations: list[str] = field(default_factory=list)
    renamed: dict[str, dict[str, str]] = field(default_factory=dict)
    lost: dict[str, list[str]] = field(default_factory=dict)
    heads: dict[str, list[Any]] = field(default_factory=dict)
    unproved: dict[str, list[int]] = field(default_factory=dict)
    tracked: dict[str, list[int]] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)
    without_sets: str = ""
    began: str = ""
    watched: bool = True


_read: dict[Any, Lineage] = {}


def newest() -> SchemaVersion | None:
    return SchemaVersion.objects.order_by("-number").first()


def is_recorded() -> bool:
    """Whether the newest recorded version is what the code's models are."""
    version = newest()
    return version is not None and version.digest == digest_of(described(registry.protected()))


def record(signer: Signer, now: datetime, software: str, changed: Changed) -> SchemaVersion:
    """The next version, signed, as a row and an event. Stands inside `audit.acting(...)`."""
    changed.began = changed.began or now.astimezone(UTC).isoformat()
    last, models = newest(), described(registry.protected())
    number, digest = (last.number + 1 if last else 1), digest_of(models)
    document = {
        "format": FORMAT,
        "number": number,
        "before": last.digest if last else None,
        "at": now.astimezone(UTC).isoformat(),
        "software": software,
        "applied": _applied(),
        "models": models,
        "digest": digest,
        **{name: getattr(changed, name) for name in Changed.__slots__},
    }
    with transaction.atomic():
        row: SchemaVersion = SchemaVersion.objects.create(  # type: ignore[misc]
            number=number,
            began_at=datetime.fromisoformat(changed.began),
            at=now,
            software=software,
            digest=digest,
            document=signer.sign(document),
        )
        facts = {
            "version": number,
            "digest": digest,
            "migrations": len(changed.migrations),
            "rows": sum(map(sum, changed.tracked.values())),
            "left": sum(changed.left.values()),
            "lost": sum(map(len, changed.lost.values())),
            "without_sets": int(bool(changed.without_sets)),
            "watched": int(changed.watched),
        }
        events.record(Event.SCHEMA_CHANGED, subject=row, facts=facts)
    return row


def lineage(fingerprint: str, connection: BaseDatabaseWrapper | None = None) -> Lineage:
    """Of the versions that the key of that fingerprint signed; the others count for nothing (`problems` names them). Each is read and
    checked once a process: every set of a night asks, and the rows never change."""
    asked = SchemaVersion.objects.order_by("number").values_list("number", "digest", "at")
    compiler = asked.query.get_compiler(connection=connection or connections["default"])
    there = (fingerprint, tuple(compiler.results_iter(tuple_expected=True)))
    known = _read.get(there)
    if known is None:
        known = Lineage([one for _, one in _documents(fingerprint, connection) if isinstance(one, Mapping)])
        _read.clear()
        _read[there] = known
    return known


def problems(fingerprint: str) -> list[str]:
    """What is wrong with the recorded versions."""
    return [f"schema version {number}: {one}" for number, one in _documents(fingerprint, None) if isinstance(one, str)]


def models_of(version: SchemaVersion | None) -> Described:
    return dict(version.document["models"]) if version else {}


def _documents(fingerprint: str, connection: BaseDatabaseWrapper | None) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    asked = SchemaVersion.objects.order_by("number").values_list("number", "digest", "document")
    compiler = asked.query.get_compiler(connection=connection or connections["default"])
    for number, digest, document in compiler.results_iter(tuple_expected=True):
        try:
            body = verify(document, fingerprint)
        except BadSignature as problem:
            yield number, str(problem)
            continue
        fits = (body.get("format"), body.get("number"), body.get("digest")) == (FORMAT, number, digest)
        yield number, body if fits and digest_of(body["models"]) == digest else "its number or digest is not what was signed"


def _applied() -> list[str]:
    return sorted(f"{app}.{name}" for app, name in MigrationRecorder(connections["default"]).applied_migrations())
