"""Pages of the admin with 10,000 customers, 1,000,000 sets and 5,000,000 history rows, on PostgreSQL: the front page, every list and the
pages of one customer, for an auditor, an operator and an account manager. For each the median of seven answers, and how many statements
it makes with 100 customers and with all: the numbers must be equal. Then what each control's measurement costs.

Of two account managers one looks after two customers in a hundred, the other after the oldest ones alone.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

import audit
from audit import clock, controls
from audit.grants import grant_role
from audit.models import Event
from audit.roles import Role
from backups.models import BackupSet, Run
from l2l.admin.site import PAGES
from subscriptions.models import Customer, DataRecord
from tests.bench import estate
from tests.bench.measuring import timed

FEW, MANAGED, OLDEST, HOURS = 100, 100, 60, 9600
TIMES = 7
LIMIT = 0.3
PEOPLE = {"otto": Role.AUDITOR, "olga": Role.BACKUP_OPERATOR, "ada": Role.ACCOUNT_MANAGER, "abel": Role.ACCOUNT_MANAGER}


@dataclass
class Page:
    """One address as one person sees it. `seconds` by the clock; `work` is processor time, ours and the database's, which is what the clock
    shows on a machine that does nothing else. `slowest` is the slowest statement with its seconds."""

    person: str
    name: str
    address: str
    statements: list[int] = field(default_factory=list)
    seconds: float = 0.0
    work: float = 0.0
    slowest: tuple[float, str] = (0.0, "")


def measure(customers: int, folder: Path) -> int:
    """0 when every page is quick enough and makes as many statements with many customers as with few, else 1."""
    if not (folder / "estate.json").exists():
        seed(customers, folder)
    print(f"Customers, sets, rows of history: {', '.join(f'{count:,}' for count in _sizes())}", flush=True)
    figures: dict[str, float] = {}
    with timed("(counting statements)", figures):
        with few_customers():
            pages = count_statements(_people(), [])
        pages = count_statements(_people(), pages)
    good = time_pages(_people(), pages)
    time_controls()
    return 0 if good else 1


def seed(customers: int, folder: Path) -> None:
    """Two databases of one server: with few customers, and with all. `estate.json` says that it was done to its end."""
    figures: dict[str, float] = {}
    people = _people()
    managers = {f"n % {MANAGED} IN (7, 66)": people["ada"].pk, f"n <= {OLDEST}": people["abel"].pk}
    with estate.in_haste():
        with timed(f"(making {FEW} customers)", figures):
            estate.seed(1, FEW, managers)
            estate.seed_service(HOURS)
            estate.analyze()
            _keep_few()
        with timed(f"(making {customers:,} customers)", figures):
            estate.seed(FEW + 1, customers, managers)
            estate.analyze()
    (folder / "estate.json").write_text(json.dumps({"customers": customers, "made_at": clock.now().isoformat()}))


FEW_DATABASE = "few_customers"


def _keep_few() -> None:
    name = connection.settings_dict["NAME"]
    connection.close()
    with connection._nodb_cursor() as cursor:
        cursor.execute(f'CREATE DATABASE {FEW_DATABASE} TEMPLATE "{name}"')


@contextmanager
def few_customers() -> Iterator[None]:
    name = connection.settings_dict["NAME"]
    _turn_to(FEW_DATABASE)
    yield
    _turn_to(name)


def _turn_to(database: str) -> None:
    connection.close()
    connection.settings_dict["NAME"] = database
    ContentType.objects.clear_cache()
    cache.clear()


def _sizes() -> list[int]:
    return [model._base_manager.count() for model in (Customer, BackupSet, DataRecord.history.model)]


def time_controls() -> None:
    """What each control's measurement costs, which is made every minute."""
    server, found = _server_process(), []
    for control in controls.all_controls():
        began = time.process_time() + _processor_time(server)
        figure = control.measure(clock.now()).figure
        found.append((time.process_time() + _processor_time(server) - began, control.name, figure))
    for work, name, figure in sorted(found, reverse=True):
        print(f"{work * 1000:8.0f} ms of work  control {name}: {figure}", flush=True)
    print(f"{sum(work for work, _, _ in found):8.2f} s of work for all controls", flush=True)


def _people() -> dict[str, User]:
    with audit.acting("bench", reason="bench", source="bench"):
        for name, role in PEOPLE.items():
            if not User.objects.filter(username=name).exists():
                grant_role(User.objects.create_user(name, is_staff=True), role, reason="bench", now=clock.now())
    return {name: User.objects.get(username=name) for name in PEOPLE}


def signed_in(user: User) -> Client:
    client = Client(HTTP_HOST="localhost")
    client.force_login(user)
    return client


def addresses(user: User) -> Iterator[tuple[str, str]]:
    """The front page, every list of the navigation that this person may open, and the pages of one customer, object and set."""
    for _, pages in PAGES:
        for title, _, name, right in pages:
            if not right or user.has_perm(right):
                yield title, reverse(f"admin:{name}")
    yield from _further(user)


def _further(user: User) -> Iterator[tuple[str, str]]:
    customer = Customer.objects.visible_to(user).filter(code__gte="c000007").order_by("code")[0]
    record = DataRecord.objects.filter(customer=customer).order_by("pk")[3]
    newest = BackupSet.objects.filter(stream=customer.pk).order_by("-started_at")[0]
    of_it = f"?customer={customer.pk}"
    for page in ("overview", "timeline", "past_term", "find", "change", "history"):
        yield f"one customer: {page}", reverse(f"admin:l2l_subscriptions_customer_{page}", args=[customer.pk])
    yield "one customer: kept", reverse("admin:l2l_backups_backupset_kept", args=[customer.pk])
    yield "one record", reverse("admin:l2l_subscriptions_datarecord_change", args=[record.pk])
    yield "history of a record", reverse("admin:l2l_subscriptions_datarecord_history", args=[record.pk])
    yield "one set", reverse("admin:l2l_backups_backupset_change", args=[newest.pk])
    yield "records of one customer", reverse("admin:l2l_subscriptions_datarecord_changelist") + of_it
    yield "sets of one customer", reverse("admin:l2l_backups_backupset_changelist") + of_it
    yield "sets, tenth page", reverse("admin:l2l_backups_backupset_changelist") + "?p=10"
    yield "sets, by customer", reverse("admin:l2l_backups_backupset_changelist") + "?o=0"
    yield "sets, by night", reverse("admin:l2l_backups_backupset_changelist") + "?o=1"
    night = Run.objects.order_by("-night").values_list("night", flat=True)[0]
    yield "nights: one night", reverse("admin:l2l_backups_run_changelist") + f"?night={night}"
    yield "nights: missed", reverse("admin:l2l_backups_run_changelist") + "?state__exact=missed"
    yield "one run", reverse("admin:l2l_backups_run_change", args=[Run.objects.filter(stream=customer.pk).order_by("-night")[0].pk])
    yield "search for a customer", reverse("admin:search") + "?s=c000050"
    yield "customers, searched", reverse("admin:l2l_subscriptions_customer_changelist") + "?q=c00005"
    if user.has_perm("l2l_audit.view_event"):
        yield "events of one kind", reverse("admin:l2l_audit_event_changelist") + "?event=prune:done"
        yield "one event", reverse("admin:l2l_audit_event_change", args=[Event.objects.order_by("-number")[5].pk])


def count_statements(people: dict[str, User], before: list[Page]) -> list[Page]:
    """Each page once; in the order of `before`, whose counts stay beside the new ones."""
    known = {(page.person, page.name): page for page in before}
    found = []
    for person, user in people.items():
        client = signed_in(user)
        for name, address in addresses(user):
            page = known.get((person, name)) or Page(person, name, address)
            page.address = address
            client.get(address)  # what a first answer alone asks for
            with CaptureQueriesContext(connection) as captured:
                answer = client.get(address)
            if answer.status_code != 200:
                print(f"(not measured: {person}: {name} answers {answer.status_code})", flush=True)
                continue
            page.statements.append(len(captured))
            page.slowest = max((float(one["time"]), str(one["sql"])) for one in captured.captured_queries)
            found.append(page)
    return found


def time_pages(people: dict[str, User], pages: list[Page]) -> bool:
    """Prints what was measured, the slowest first; whether all is as it must be."""
    for person, user in people.items():
        client = signed_in(user)
        for page in (one for one in pages if one.person == person):
            found = [_answer(client, page.address) for _ in range(TIMES)]
            page.seconds, page.work = (statistics.median(column) for column in zip(*found, strict=True))
    for page in sorted(pages, key=lambda one: -one.work):
        print(_line(page), flush=True)
    slow, grown = [page for page in pages if page.seconds > LIMIT], [page for page in pages if len(set(page.statements)) > 1]
    print(f"{sum(page.work > LIMIT for page in pages)} of {len(pages)} pages are more than {LIMIT * 1000:.0f} ms of work", flush=True)
    print(f"{len(slow)} of {len(pages)} pages take longer than {LIMIT * 1000:.0f} ms", flush=True)
    print(f"{len(grown)} make another number of statements with more customers", flush=True)
    for page in grown:
        print(_line(page), flush=True)
    return not slow and not grown


def _answer(client: Client, address: str) -> tuple[float, float]:
    """Seconds by the clock, and of the processor."""
    server = _server_process()
    began, worked = time.perf_counter(), time.process_time() + _processor_time(server)
    answer: Any = client.get(address)
    answer.content  # noqa: B018  (a streamed answer is read)
    return time.perf_counter() - began, time.process_time() + _processor_time(server) - worked


def _server_process() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def _processor_time(process: int) -> float:
    """Of a process of this machine, in seconds, by the kernel's count."""
    after_name = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def _line(page: Page) -> str:
    statements = " -> ".join(map(str, page.statements))
    slow = f"  {page.slowest[0] * 1000:.0f} ms: {page.slowest[1][:300]}" if page.work > LIMIT else ""
    return (
        f"{page.seconds * 1000:8.0f} ms  {page.work * 1000:8.0f} ms of work  {statements:>10} statements  {page.person}: {page.name}{slow}"
    )
