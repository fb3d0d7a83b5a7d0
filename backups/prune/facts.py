"""What retention decides from, read for many streams together."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from django.db.models import BooleanField, Count, ExpressionWrapper, Max, Min, Q
from django.db.models.functions import Coalesce

from backups.catalogue import batches
from backups.models import BackupSet, RetentionLook, Run, Slot
from backups.policy import Policy
from backups.retention import Choice, Stored, Term
from backups.slots import DAY, Tier, night_of, period_called
from subscriptions import holds
from subscriptions.models import Customer, Subscription
from subscriptions.terms import SubscriptionTerms, longest_years

# Behind it lies every period that is not decided yet, of a stream that is looked at when it should be.
RECENT = 45 * DAY
_COLUMNS = ("pk", "stream", "night", "at", "good", "proof", "goes_at", "kept_why", "kept_policy")


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

    partial: bool = False

    @property
    def damaged_choices(self) -> list[Choice]:
        """Periods whose set is still there and good no longer."""
        bad = {one.id for one in self.sets if not one.good}
        return [choice for choice in self.choices if choice.set_id in bad]

    @property
    def tells_the_newest(self) -> bool:
        """Whether the newest good and the newest proved set are certainly among those that were read."""
        return not self.partial or any(one.good and one.proved for one in self.sets)


def read(streams: Sequence[uuid.UUID], policy: Policy) -> list[Facts]:
    """The facts of these streams, in their order; a constant number of queries, however many they are."""
    return _read(streams, policy, Q())


def read_due(streams: Sequence[uuid.UUID], policy: Policy, now: datetime) -> list[Facts]:
    """The same with the sets of the last weeks and those whose date came alone: `partial`."""
    since = night_of(now, policy.zone) - RECENT
    return _read(streams, policy, Q(goes_at__lt=now) | Q(goes_at=None) | Q(night__gte=since), partial=True)


def _read(streams: Sequence[uuid.UUID], policy: Policy, sets: Q, *, partial: bool = False) -> list[Facts]:
    terms, held, last = _terms(streams, policy), holds.held(streams), _last_days(streams)
    found = {stream: Facts(stream, terms[stream], stream in held, None, last.get(stream), partial=partial) for stream in streams}
    _add_sets(found, sets)
    _add_choices(found)
    _add_decided(found)
    _add_first_nights({stream: facts for stream, facts in found.items() if len(facts.decided_to) < 2})
    return list(found.values())


def _terms(streams: Iterable[uuid.UUID], policy: Policy) -> Mapping[uuid.UUID, Term]:
    agreed: dict[uuid.UUID, list[SubscriptionTerms]] = defaultdict(list)
    for subscription in Subscription.objects.filter(customer__in=list(streams)):
        agreed[subscription.customer_id].append(subscription.terms)
    return {stream: Term(*longest_years(agreed.get(stream, ()), policy.longest_years)) for stream in streams}


def _last_days(streams: Sequence[uuid.UUID]) -> dict[uuid.UUID, date]:
    """The last day of the last subscription of those that have ended, or will."""
    ended = (
        Customer.objects.filter(pk__in=streams)
        .order_by()
        .annotate(
            last=Max("subscriptions__end"), endless=Count("subscriptions", filter=Q(subscriptions__end=None)), agreed=Count("subscriptions")
        )
    )
    return {pk: end for pk, end, endless, agreed in ended.values_list("pk", "last", "endless", "agreed") if agreed and not endless}


def _add_sets(found: dict[uuid.UUID, Facts], which: Q) -> None:
    made = BackupSet.objects.filter(which, stream__in=list(found), state=BackupSet.State.MADE).order_by("stream", "started_at")
    good = ExpressionWrapper(Q(protected_at__isnull=False, damaged_at=None), output_field=BooleanField())
    made = made.annotate(good=good, at=Coalesce("snapshot_at", "started_at"))
    proved = BackupSet.Proof.PROVED.value
    for pk, stream, night, at, is_good, proof, goes_at, why, policy in made.values_list(*_COLUMNS):
        ident, facts = str(pk), found[stream]
        facts.sets.append(Stored(ident, night, at, is_good, proof == proved))
        facts.recorded[ident] = Recorded(goes_at, why, policy)


def _add_choices(found: dict[uuid.UUID, Facts]) -> None:
    """What the sets were chosen for."""
    read_here = {ident: facts for facts in found.values() for ident in facts.recorded}
    for batch in batches([uuid.UUID(ident) for ident in read_here]):
        slots = Slot.objects.filter(backup_set__in=batch).order_by("first")
        for key, pk, nights_off in slots.values_list("key", "backup_set", "nights_off"):
            read_here[str(pk)].choices.append(Choice(period_called(key), str(pk), nights_off))


def _add_decided(found: dict[uuid.UUID, Facts]) -> None:
    """How far each tier is decided, for that is never done anew."""
    for stream, weeks, months in RetentionLook.objects.filter(pk__in=list(found)).values_list("pk", "weeks_to", "months_to"):
        decided = {Tier.WEEK: weeks, Tier.MONTH: months}
        found[stream].decided_to = {tier: last for tier, last in decided.items() if last is not None}
    unknown = [stream for stream, facts in found.items() if len(facts.decided_to) < 2]
    for tier in (Tier.WEEK, Tier.MONTH):
        slots = Slot.objects.filter(stream__in=unknown, key__startswith=f"{tier}:").order_by()
        for stream, last in slots.values_list("stream").annotate(Max("last")):
            found[stream].decided_to[tier] = last


def _add_first_nights(found: dict[uuid.UUID, Facts]) -> None:
    """From its first owed night, or its first set, where somebody asked for one before."""
    owed = Run.objects.filter(stream__in=list(found), kind=Run.Kind.BACKUP).order_by().values_list("stream").annotate(Min("night"))
    made = BackupSet.objects.filter(stream__in=list(found)).order_by().values_list("stream").annotate(Min("night"))
    for stream, night in [*made, *owed]:
        found[stream].first = night
