"""How far a recovery is, and who must wait for it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

from django.contrib.auth import get_user_model
from django.db import connection, models, transaction

from audit.models import Event, JournalRow, Stream
from audit.registry import SYSTEM_STREAM
from backups.errors import BackupError
from backups.models import BackupSet, RecoveredStream, Recovery, Segment
from subscriptions.models import Customer

# What a customer's page shows of its stream.
RECOVERING = "the service is being recovered"
NOT_BACK = "not recovered whole: 'manage.py recover' says why, and brings it back"
ENDED = "destroyed: a location holds its marker"

_TELLING: Sequence[type[models.Model]] = (Customer, JournalRow, Event, BackupSet, Segment, get_user_model())


class RecoveryUnderWay(BackupError):
    """This database, or this customer in it, is not back yet: a backup of it would be the newest, and lack what is still to come."""


class NotEmpty(BackupError):
    """The database holds something already."""


def refuse_under_way(stream: uuid.UUID) -> None:
    """For whatever makes a set of a stream."""
    state = Recovery.objects.filter(pk=1, ended_at=None).first()
    if state is None:
        return
    if state.released_at is None:
        raise RecoveryUnderWay("This database is being recovered. Run 'manage.py recover' again until it has ended.")
    if RecoveredStream.objects.filter(pk=stream, state=RecoveredStream.State.NOT_BACK).exists():
        raise RecoveryUnderWay("This customer is not recovered yet: 'manage.py recover' says why, and brings it back.")


def ended() -> set[uuid.UUID]:
    """The customers that were found destroyed when this database was recovered: nothing is owed to them."""
    return set(RecoveredStream.objects.filter(state=RecoveredStream.State.ENDED).values_list("pk", flat=True))


def under_way() -> Recovery | None:
    """The recovery that is to be gone on with; None on a database without one. Asked before the migrations, too."""
    if Recovery._meta.db_table not in connection.introspection.table_names():
        return None
    return Recovery.objects.filter(pk=1, ended_at=None).first()


def refuse_full() -> None:
    """`NotEmpty` when the database holds a customer, a change, an event, a set, a segment or a user. Asked before the migrations, too."""
    tables = set(connection.introspection.table_names())
    for model in _TELLING:
        if model._meta.db_table in tables and models.QuerySet(model).exists():
            raise NotEmpty(
                f"The database is not empty ({model._meta.verbose_name_plural} are there): a recovery begins on an empty one. Name "
                "another in DATABASE_URL (or L2L_HOME); to bring one customer back into this one, use 'manage.py restore_live'."
            )


def begin(location: str, now: datetime) -> Recovery:
    """The recovery's row, with the attempt counted; from now on nobody writes here but us."""
    with transaction.atomic():
        found, _ = Recovery.objects.get_or_create(pk=1, defaults={"location": location, "started_at": now})
        found.attempts += 1
        found.save(update_fields=["attempts"])
        if found.system_at is None:
            Stream.objects.filter(pk=SYSTEM_STREAM).update(frozen_at=now, frozen_reason=RECOVERING)
    return found
