"""Figures for Prometheus: each scrape is read anew, by a number of questions that does not grow with the customers.

The names, their labels and units are an interface (docs/operations.md, "Metrics"): they stay. Labels are names of controls, locations,
clusters and states, never of customers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Count, Max, OuterRef, Q, Subquery
from django.utils import timezone
from django.utils.timezone import localdate
from django_q.models import OrmQ
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from audit import controls
from audit.events import Event as Kind
from audit.findings import open_findings
from audit.models import Alarm, Anchor, ControlState, Event, Telling
from audit.promises import Standing
from backups import nights, queueing
from backups.hot import figures
from backups.models import BackupSet, Copy, Heartbeat, Location, Run, VerificationPass
from backups.slots import night_of
from l2l.alarms import telling
from subscriptions.ending.states import State
from subscriptions.models import DeletionRequest

# By the values of the labels, each a tuple of text.
Values = Mapping[Any, float]


def exposition(now: datetime) -> bytes:
    """Everything in Prometheus' text format, at the moment `now`."""
    registry = CollectorRegistry()
    registry.register(_Now(now))
    return generate_latest(registry)


class _Now(Collector):
    def __init__(self, now: datetime) -> None:
        self.now = now

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing, so that registering asks no database."""
        return ()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield _gauge("build_info", "The version of the software that answers.", ("version",), {(settings.SOFTWARE_VERSION,): 1})
        yield from _controls()
        yield from _hot(self.now)
        yield from _nights(self.now)
        yield from _locations(self.now)
        yield from _people(self.now)
        yield from _processes()
        yield from _evidence()


def _gauge(name: str, says: str, labels: tuple[str, ...] = (), values: Values | None = None) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"l2l_{name}", says, labels=labels)
    for key, value in (values or {}).items():
        family.add_metric(key, value)
    return family


def _controls() -> Iterator[GaugeMetricFamily]:
    known = {one.name: one.promise for one in controls.all_controls()}
    rows = [(row, (row.control, known[row.control])) for row in ControlState.objects.order_by("control") if row.control in known]
    names = ("control", "promise")
    states = {key: Standing(row.state).rank for row, key in rows}
    yield _gauge("control_state", "How a control stands: 0 kept, 1 at risk, 2 broken.", names, states)
    values = {key: row.value for row, key in rows if row.value is not None}
    yield _gauge("control_value", "What it came to, in the control's own unit.", names, values)
    measured = {key: row.measured_at.timestamp() for row, key in rows}
    yield _gauge("control_measured_timestamp_seconds", "When it was last measured.", names, measured)


def _hot(now: datetime) -> Iterator[GaugeMetricFamily]:
    found = figures.now(now)
    lags = {(one.name,): one.lag for one in found.places}
    ages = {key: lag.age(now).total_seconds() for key, lag in lags.items()}
    yield _gauge("loss_window_seconds", "Age of the oldest change or file that is not durable at the location.", ("location",), ages)
    waiting: Values = {key: lag.changes + lag.files for key, lag in lags.items()}
    yield _gauge(
        "loss_window_changes", "Changes and files that are not durable at the location, counted up to a bound.", ("location",), waiting
    )
    yield _gauge("shipper_leads", "1 while a hot shipper leads.", (), {(): bool(found.shipping.holder)})
    yield _gauge("shipping_stopped", "1 while nothing is shipped until a person decides.", (), {(): bool(found.shipping.stopped)})


def _nights(now: datetime) -> Iterator[GaugeMetricFamily]:
    """Of the newest night that is over or in its morning."""
    night = night_of(now - timedelta(hours=12), ZoneInfo(settings.L2L_ZONE))
    counts: dict[tuple[str, ...], float] = {(column,): 0 for column in ("filled", "late", *nights.COLUMNS.values())}
    runs = Run.objects.filter(kind=Run.Kind.BACKUP, night=night).order_by()
    for state, late, count in runs.values_list("state", "late").annotate(Count("pk")):
        counts[(nights.column_of(state, late),)] += count
    yield _gauge("last_night_runs", "Nightly backups of the last night by what became of them.", ("state",), counts)
    sets = BackupSet.objects.filter(state=BackupSet.State.MADE).count()
    yield _gauge("sets_stored", "Backup sets that stand.", (), {(): sets})


def _locations(now: datetime) -> Iterator[GaugeMetricFamily]:
    newest = VerificationPass.objects.filter(location=OuterRef("pk")).order_by("-night").values("pk")[:1]
    places = list(Location.objects.filter(in_force=True).annotate(newest=Subquery(newest)))
    passes = VerificationPass.objects.in_bulk([place.newest for place in places if place.newest])
    keys, label = {place.pk: (place.name,) for place in places}, ("location",)
    reachable = {(place.name,): not place.trouble for place in places}
    yield _gauge("location_reachable", "1 when it could be used at the last try.", label, reachable)
    yield _gauge("copies_owed", "Copies that it lacks.", label, _by_location(keys, Copy.objects.filter(state=Copy.State.OWED)))
    due = Q(pk__in=())
    for place in places:
        due |= Q(location=place, checked_at__lt=now - timedelta(days=place.recheck_days))
    checked = _by_location(keys, Copy.objects.filter(due, state=Copy.State.PRESENT))
    yield _gauge("objects_due", "Stored objects whose last check is older than the location's period.", label, checked)
    held = {(place.name,): passes[place.newest] for place in places if place.newest}
    objects: Values = {key: one.stored_objects for key, one in held.items()}
    yield _gauge("stored_objects", "Objects there, as of the newest reading.", label, objects)
    size: Values = {key: one.stored_bytes for key, one in held.items()}
    yield _gauge("stored_bytes", "Bytes there, as of the newest reading.", label, size)


def _by_location(keys: Mapping[int, tuple[str, ...]], rows: Any) -> Values:
    counted = dict(rows.order_by().values_list("location").annotate(Count("pk")))
    return {key: counted.get(pk, 0) for pk, key in keys.items()}


def _people(now: datetime) -> Iterator[GaugeMetricFamily]:
    today = localdate(now, ZoneInfo(settings.L2L_ZONE))
    found = open_findings().aggregate(open=Count("pk"), overdue=Count("pk", filter=Q(due_on__lt=today)))
    yield _gauge("findings_open", "Findings that nobody closed.", (), {(): found["open"]})
    yield _gauge("findings_overdue", "Those past their day.", (), {(): found["overdue"]})
    alarms = dict(Alarm.objects.filter(ended_at=None).order_by().values_list("state").annotate(Count("pk")))
    standing: Values = {(state.value,): alarms.get(state.value, 0) for state in Standing if state is not Standing.KEPT}
    yield _gauge("alarms_standing", "Alarms that are not over.", ("state",), standing)
    untold: Values = {(way.name,): telling.untold(way, now) for way in telling.ways_set()}
    yield _gauge("alarms_untold", "Alarms that this way has still to tell of.", ("way",), untold)
    failing: Values = {(one.way,): one.attempts for one in Telling.objects.order_by("way")}
    yield _gauge("telling_failures", "How often in a row this way could not tell.", ("way",), failing)
    ends = dict(DeletionRequest.objects.order_by().values_list("state").annotate(Count("pk")))
    states: Values = {(state.value,): ends.get(state.value, 0) for state in State}
    yield _gauge("ends_of_customers", "Ends of customers by how far they are.", ("state",), states)


def _processes() -> Iterator[GaugeMetricFamily]:
    seen = Heartbeat.objects.order_by().values_list("name").annotate(Max("at"))
    ages = {(name,): max((timezone.now() - at).total_seconds(), 0.0) for name, at in seen}
    yield _gauge("heartbeat_age_seconds", "Since the last sign of life of any such process.", ("process",), ages)
    waiting = dict(OrmQ.objects.order_by().values_list("key").annotate(Count("pk")))
    queued: Values = {(name,): waiting.get(name, 0) for name in (queueing.WORKER, queueing.DESTROYER)}
    yield _gauge("queue_messages", "Messages in the queue, those under way included.", ("cluster",), queued)


def _evidence() -> Iterator[GaugeMetricFamily]:
    made = Anchor.objects.order_by("-day").values_list("at", flat=True).first()
    digest, sent = (
        Event.objects.filter(event=kind.value).order_by("-number").values_list("at", flat=True).first()
        for kind in (Kind.DIGEST_SENT, Kind.ANCHORED)
    )
    for name, says, at in (
        ("anchor_made_timestamp_seconds", "When the newest signed head over all chains was made.", made),
        ("anchor_sent_timestamp_seconds", "When one was last sent to somebody outside.", sent),
        ("digest_sent_timestamp_seconds", "When the digest was last sent.", digest),
    ):
        yield _gauge(name, says, (), {(): at.timestamp()} if at else {})
