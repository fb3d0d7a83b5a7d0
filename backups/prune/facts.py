"""What retention decides from, read for many streams together."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from django.db.models import Count, Max, Min, Q

from backups.models import BackupSet, Run, Slot
from backups.policy import Policy
from backups.retention import Choice, Stored, Term
from backups.slots import Tier, period_called
from subscriptions import holds
from subscriptions.models import Customer, Subscription
from subscriptions.terms import SubscriptionTerms, longest_years

_COLUMNS = (
    "pk",
    "stream",
    "night",
    "snapshot_at",
    "started_at",
    "protected_at",
    "damaged_at",
    "proof",
    "goes_at",
    "kept_why",
    "kept_policy",
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a set's row says of when and why it goes."""

    goes_at: datetime | None
    why: str
    policy: int | None


@dataclass(slots=True)
class Facts:
    """One stream. `first` and `last` are the nights from and until which sets are owed to it (`last` None: still); None before any."""

    stream: uuid.UUID
    term: Term
    held: bool
    first: date | None = None
    last: date | None = None
    sets: list[Stored] = field(default_factory=list)
    recorded: dict[str, Recorded] = field(default_factory=dict)
    choices: list[Choice] = field(default_factory=list)
    decided_to: dict[Tier, date] = field(default_factory=dict)

    @property
    def damaged_choices(self) -> list[Choice]:
        """Periods whose set is still there and good no longer."""
        bad = {one.id for one in self.sets if not one.good}
        return [choice for choice in self.choices if choice.set_id in bad]


def read(streams: Sequence[uuid.UUID], policy: Policy) -> list[Facts]:
    """The facts of these streams, in their order; four queries and one for the sets, however many they are."""
    terms, held, nights = _terms(streams, policy), holds.held(streams), _nights(streams)
    found = {stream: Facts(stream, terms[stream], stream in held, *nights.get(stream, (None, None))) for stream in streams}
    _add_sets(found)
    _add_choices(found)
    return list(found.values())


def _terms(streams: Iterable[uuid.UUID], policy: Policy) -> Mapping[uuid.UUID, Term]:
    agreed: dict[uuid.UUID, list[SubscriptionTerms]] = defaultdict(list)
    for subscription in Subscription.objects.filter(customer__in=list(streams)):
        agreed[subscription.customer_id].append(subscription.terms)
    return {stream: Term(*longest_years(agreed.get(stream, ()), policy.longest_years)) for stream in streams}


def _nights(streams: Sequence[uuid.UUID]) -> dict[uuid.UUID, tuple[date, date | None]]:
    """From its first owed night (or its first set, where somebody asked for one before) to the last day of its last subscription."""
    owed = Run.objects.filter(stream__in=streams, kind=Run.Kind.BACKUP).order_by().values_list("stream").annotate(Min("night"))
    first: dict[uuid.UUID, date] = dict(owed)
    made = BackupSet.objects.filter(stream__in=streams).order_by().values_list("stream").annotate(Min("night"))
    for stream, night in made:
        first.setdefault(stream, night)
    ended = (
        Customer.objects.filter(pk__in=streams)
        .order_by()
        .annotate(
            last=Max("subscriptions__end"), endless=Count("subscriptions", filter=Q(subscriptions__end=None)), agreed=Count("subscriptions")
        )
    )
    last = {pk: end for pk, end, endless, agreed in ended.values_list("pk", "last", "endless", "agreed") if agreed and not endless}
    return {stream: (night, last.get(stream)) for stream, night in first.items()}


def _add_sets(found: dict[uuid.UUID, Facts]) -> None:
    made = BackupSet.objects.filter(stream__in=list(found), state=BackupSet.State.MADE).order_by("stream", "started_at")
    proved = BackupSet.Proof.PROVED.value
    for pk, stream, night, snapshot_at, started_at, protected_at, damaged_at, proof, goes_at, why, policy in made.values_list(*_COLUMNS):
        ident, facts = str(pk), found[stream]
        good = protected_at is not None and damaged_at is None
        facts.sets.append(Stored(ident, night, snapshot_at or started_at, good, proof == proved))
        facts.recorded[ident] = Recorded(goes_at, why, policy)


def _add_choices(found: dict[uuid.UUID, Facts]) -> None:
    """Those whose set is still there; and how far each tier is decided, for that is never done anew."""
    slots = Slot.objects.filter(stream__in=list(found)).order_by("stream", "first")
    standing = slots.filter(backup_set__state=BackupSet.State.MADE)
    for stream, key, backup_set, nights_off in standing.values_list("stream", "key", "backup_set", "nights_off"):
        found[stream].choices.append(Choice(period_called(key), str(backup_set), nights_off))
    for tier in (Tier.WEEK, Tier.MONTH):
        decided = slots.order_by().filter(key__startswith=f"{tier}:").values_list("stream").annotate(Max("last"))
        for stream, last in decided:
            found[stream].decided_to[tier] = last
