"""Wrong settings are reported by id, with a hint, before anything runs (`manage.py check`): errors `l2l.E0xx`, warnings `l2l.W0xx`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.validators import validate_email
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.dispatch import receiver

from audit import clock
from backups import keyfiles, locations
from backups.errors import BackupError
from backups.keys import drilling
from backups.models import EscrowDrill
from backups.stores.contract import StoreRefused
from backups.stores.urls import open_store
from l2l.alarms import webhook

MAIL_TLS = ("starttls", "tls", "none")
# Seconds between the last moment at which a task may end and the one at which the queue gives it to another worker.
RETRY_MARGIN = 60
QUEUE_RULES: dict[str, tuple[Any, str]] = {
    "orm": ("default", "only a queue in the same database joins our transactions"),
    "ack_failures": (True, "else a failed task is repeated for ever; runs have their own attempts"),
    "max_attempts": (1, "else a task is repeated behind the back of its run"),
    "catch_up": (False, "else schedules fire once for every slot that a stop left out"),
    "time_zone": ("UTC", "else schedules move or fire twice when clocks change"),
    "sync": (None, "tasks would run in the web server"),
}
WANTED_PRAGMAS = {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1, "foreign_keys": 1}


@checks.register()
def check_settings(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    rules = (_zone, _locations, _offsite, _database, _sample_in_production, _set_clock, _queue, _mail, _alarms, _metrics)
    return [message for rule in rules for message in rule()]


@checks.register(deploy=True)
def check_deployment(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """What only matters where real customers' data is kept."""
    return [*_keys(), *_key_files(), *_kit_left_behind(), *_https(), *_reminders(), *_told()]


def _zone() -> Iterator[checks.CheckMessage]:
    try:
        ZoneInfo(settings.L2L_ZONE)
    except (ZoneInfoNotFoundError, ValueError):
        yield checks.Error(
            f"L2L_ZONE names no time zone: {settings.L2L_ZONE!r}",
            hint="Use a name such as Europe/Berlin, America/New_York or UTC.",
            id="l2l.E001",
        )


def _locations() -> Iterator[checks.CheckMessage]:
    try:
        named = locations.named_locations(settings.L2L_LOCATIONS, settings.L2L_OFFSITE)
    except BackupError as problem:
        yield checks.Error(
            str(problem), hint="For example: primary=file:///srv/l2l offsite=s3://bucket/l2l?region=eu-central-1", id="l2l.E002"
        )
        return
    for one in named:
        try:
            open_store(one.url, credentials=locations.credentials_of(one.name))
        except (StoreRefused, OSError) as problem:
            yield checks.Error(
                f"Location {one.name}: {problem}",
                hint=f"See L2L_LOCATIONS and L2L_LOCATION_{one.name.upper()}_* in .env.example.",
                id="l2l.E003",
            )
    if len(named) < 2:
        yield checks.Warning("There is only one location", hint="Name at least two in L2L_LOCATIONS: P3 promises several.", id="l2l.W001")


def _offsite() -> Iterator[checks.CheckMessage]:
    names = {word.partition("=")[0] for word in settings.L2L_LOCATIONS.split()}
    if not names & set(settings.L2L_OFFSITE):
        yield checks.Warning(
            "No location is offsite", hint="Name the offsite ones in L2L_OFFSITE, separated by commas: P3 promises one.", id="l2l.W002"
        )
    for name in sorted(set(settings.L2L_OFFSITE) - names):
        yield checks.Error(
            f"L2L_OFFSITE names {name!r}, which is no location", hint="Use a name that stands in L2L_LOCATIONS.", id="l2l.E004"
        )


def _database() -> Iterator[checks.CheckMessage]:
    engine = settings.DATABASES["default"]["ENGINE"].rpartition(".")[2]
    if engine not in ("sqlite3", "postgresql"):
        yield checks.Error(
            f"The database engine {engine} is not supported", hint="Use SQLite (the default) or a postgres:// DATABASE_URL.", id="l2l.E005"
        )


def _sample_in_production() -> Iterator[checks.CheckMessage]:
    if settings.L2L_SAMPLE and settings.HTTPS:
        yield checks.Error(
            f"{settings.L2L_HOME} is a sample home, and L2L_HTTPS says that this is production",
            hint="Set L2L_HOME to a new folder and run 'manage.py init' there.",
            id="l2l.E006",
        )


def _set_clock() -> Iterator[checks.CheckMessage]:
    try:
        clock.set_to()
    except clock.ClockRefused as problem:
        yield checks.Error(str(problem), hint="Only 'init --sample' makes a home whose clock may be set.", id="l2l.E008")


def _mail() -> Iterator[checks.CheckMessage]:
    if settings.L2L_MAIL_TLS not in MAIL_TLS:
        yield checks.Error(f"L2L_MAIL_TLS is {settings.L2L_MAIL_TLS!r}", hint=f"Use {', '.join(MAIL_TLS)}.", id="l2l.E012")
    if settings.EMAIL_HOST and not settings.DEFAULT_FROM_EMAIL:
        yield checks.Error("L2L_MAIL_HOST is set, and no sender", hint="Set L2L_MAIL_FROM to an address that you read.", id="l2l.E013")
    yield from _secret_file("L2L_MAIL_PASSWORD_FILE")


def _secret_file(setting: str) -> Iterator[checks.CheckMessage]:
    path = Path(os.environ.get(setting, ""))
    if path.name and path.stat().st_mode & 0o077:
        yield checks.Error(f"{path} can be read by others", hint=f"Make it yours alone: chmod 600 {path}", id="l2l.E014")


def _alarms() -> Iterator[checks.CheckMessage]:
    """Who is told, and how."""
    for setting in ("L2L_ALARMS_TO", "L2L_DIGEST_TO", "L2L_AUDITOR_ADDRESS"):
        value = getattr(settings, setting)
        yield from _addresses(setting, [value] if isinstance(value, str) and value else value)
    if settings.L2L_ALARMS_WEBHOOK and (wrong := webhook.problem_with(settings.L2L_ALARMS_WEBHOOK)):
        yield checks.Error(f"L2L_ALARMS_WEBHOOK: {wrong}", hint="Name an https:// address, or http:// on this machine.", id="l2l.E016")
    yield from _short("L2L_ALARMS_WEBHOOK_SECRET")
    yield from _secret_file("L2L_ALARMS_WEBHOOK_SECRET_FILE")


def _addresses(setting: str, addresses: Iterable[str]) -> Iterator[checks.CheckMessage]:
    for address in addresses:
        try:
            validate_email(address)
        except ValidationError:
            yield checks.Error(
                f"{setting} holds {address!r}, which is no address",
                hint="Write them as ops@example.org, separated by commas.",
                id="l2l.E015",
            )


def _metrics() -> Iterator[checks.CheckMessage]:
    yield from _short("L2L_METRICS_TOKEN")
    yield from _secret_file("L2L_METRICS_TOKEN_FILE")


def _short(setting: str) -> Iterator[checks.CheckMessage]:
    if 0 < len(getattr(settings, setting)) < webhook.LEAST_SECRET:
        yield checks.Error(
            f"{setting} is shorter than {webhook.LEAST_SECRET} characters", hint="Make one: openssl rand -hex 32.", id="l2l.E017"
        )


def _reminders() -> Iterator[checks.CheckMessage]:
    if not settings.EMAIL_HOST or not settings.L2L_ADDRESS:
        yield checks.Warning(
            "Customers are not reminded of the receipt of their data by mail, or without a link",
            hint="Set L2L_MAIL_HOST, L2L_MAIL_FROM and L2L_ADDRESS (.env.example); else remind by hand when the page says so.",
            id="l2l.W009",
        )


def _told() -> Iterator[checks.CheckMessage]:
    if not (settings.EMAIL_HOST and settings.L2L_ALARMS_TO) and not settings.L2L_ALARMS_WEBHOOK:
        yield checks.Warning(
            "Alarms reach nobody: they stand in the worker's output alone",
            hint="Set L2L_MAIL_HOST, L2L_MAIL_FROM and L2L_ALARMS_TO, or L2L_ALARMS_WEBHOOK (.env.example).",
            id="l2l.W010",
        )
    if settings.L2L_ALARMS_WEBHOOK and not settings.L2L_ALARMS_WEBHOOK_SECRET:
        yield checks.Warning(
            "The webhook's messages are not signed: anybody could send its receiver such a message",
            hint="Set L2L_ALARMS_WEBHOOK_SECRET, or L2L_ALARMS_WEBHOOK_SECRET_FILE.",
            id="l2l.W011",
        )
    if not (settings.EMAIL_HOST and settings.L2L_AUDITOR_ADDRESS):
        yield checks.Warning(
            "The heads over all chains leave the house to nobody: who holds the database and the signing key could rewrite both",
            hint="Set L2L_AUDITOR_ADDRESS to somebody outside, and L2L_MAIL_HOST (docs/operations.md, 'Anchors').",
            id="l2l.W012",
        )


def _queue() -> Iterator[checks.CheckMessage]:
    """The queue's settings, cluster by cluster, against the traps of django-q (docs/operations.md, "Processes")."""
    base = {name: value for name, value in settings.Q_CLUSTER.items() if name != "ALT_CLUSTERS"}
    alternatives = settings.Q_CLUSTER.get("ALT_CLUSTERS", {})
    if base.get("cluster_name") != "worker" or set(alternatives) != {"destroyer"}:
        yield checks.Error("Q_CLUSTER must have the clusters 'worker' and, in ALT_CLUSTERS, 'destroyer'", id="l2l.E101")
    for name, options in {str(base.get("cluster_name")): base, **{name: base | other for name, other in alternatives.items()}}.items():
        yield from _cluster(name, options)
    if settings.L2L_STALL_SECONDS < settings.L2L_LEASE_SECONDS:
        yield checks.Error(
            f"L2L_STALL_SECONDS ({settings.L2L_STALL_SECONDS}) is below L2L_LEASE_SECONDS ({settings.L2L_LEASE_SECONDS})",
            hint="A long backup may give no sign but its lease, renewed after a third of its time: a busy cluster would be killed.",
            id="l2l.E106",
        )


def _cluster(name: str, options: dict[str, Any]) -> Iterator[checks.CheckMessage]:
    timeout, retry, workers, limit = (options.get(key) for key in ("timeout", "retry", "workers", "queue_limit"))
    if not all(isinstance(one, int) and one > 0 for one in (timeout, retry, workers, limit)):
        yield checks.Error(f"Q_CLUSTER {name}: timeout, retry, workers and queue_limit must be whole numbers above 0", id="l2l.E102")
        return
    least = timeout * (limit / workers + 1) + RETRY_MARGIN  # type: ignore[operator]
    if retry < least:
        yield checks.Error(
            f"Q_CLUSTER {name}: retry is {retry} s; tasks that wait behind others would be run twice",
            hint=f"Set it to {least:.0f} or more.",
            id="l2l.E103",
        )
    if limit != workers or options.get("bulk") != 1:
        yield checks.Error(
            f"Q_CLUSTER {name}: a cluster takes more tasks than it has workers", hint="queue_limit = workers, bulk = 1.", id="l2l.E104"
        )
    for key, (right, why) in QUEUE_RULES.items():
        if options.get(key) != right:
            yield checks.Error(f"Q_CLUSTER {name}: {key} is {options.get(key)!r}; {why}", hint=f"Set it to {right!r}.", id="l2l.E105")


def _keys() -> Iterator[checks.CheckMessage]:
    try:
        keyfiles.key_ring(settings.L2L_KEYS)
        keyfiles.signer(settings.L2L_KEYS)
    except BackupError as problem:
        yield checks.Error(str(problem), hint="See docs/operations.md, 'Keys'.", id="l2l.E007")


def _key_files() -> Iterator[checks.CheckMessage]:
    folder = Path(settings.L2L_KEYS)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_file() and path.stat().st_mode & 0o077:
            yield checks.Error(f"{path} can be read by others", hint=f"chmod 600 {path}", id="l2l.E009")
    for path in keyfiles.retired_masters(folder):
        yield checks.Warning(
            f"A retired master key still lies on this machine ({path})",
            hint="'manage.py keys list' says what still needs it; 'manage.py keys destroy-retired' destroys it when nothing does.",
            id="l2l.W005",
        )


@checks.register(checks.Tags.database)
def check_escrow_drill(app_configs: Any, databases: Any = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Whether somebody proved within the quarter that the escrow key opens the backups (`manage.py check --database default`)."""
    if "default" not in (databases or ()) or EscrowDrill._meta.db_table not in connections["default"].introspection.table_names():
        return []
    if not drilling.overdue(clock.now()):
        return []
    hint = "Bring the escrow key: 'manage.py keys drill-escrow --identity-file FILE'."
    return [checks.Warning(f"The escrow drill is overdue since {drilling.due_at():%Y-%m-%d}", hint=hint, id="l2l.W006")]


def _kit_left_behind() -> Iterator[checks.CheckMessage]:
    for kit in sorted(Path(settings.L2L_KEYS).glob("recovery-kit*.txt")):
        yield checks.Warning(
            f"The recovery kit still lies on this machine ({kit})", hint="Store it elsewhere, then delete it here.", id="l2l.W003"
        )


def _https() -> Iterator[checks.CheckMessage]:
    if not settings.HTTPS:
        yield checks.Warning(
            "L2L_HTTPS is off", hint="Serve through TLS and set L2L_HTTPS=1 (and L2L_BEHIND_PROXY=1 behind a proxy).", id="l2l.W004"
        )


@receiver(connection_created)
def assert_sqlite_options(sender: Any, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """The options on which 'nothing is lost' and 'destroyed is gone' rest are asked back from each new connection."""
    if connection.vendor != "sqlite":
        return
    with connection.cursor() as cursor:
        found = {name: cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in WANTED_PRAGMAS}
    wrong = {name: value for name, value in found.items() if value != WANTED_PRAGMAS[name]}
    if wrong:
        raise ImproperlyConfigured(
            f"SQLite did not take the options it needs: {wrong} instead of {WANTED_PRAGMAS}. Is the file on a network disk?"
        )
