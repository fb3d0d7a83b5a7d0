"""Many small customers in one night through the queue itself: `manage.py work` as it comes, 20 records, a link and an upload each.

For one of them something stands in the way at every location: its run must be reported and tried again, and hold up nobody. Then a second
night in which nothing changed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

from django.conf import settings
from django.core.files.base import ContentFile
from django.db import close_old_connections
from django.db.models import Max, Min

import audit
from audit import clock
from audit.models import Stream
from backups import runs
from backups.models import Run
from subscriptions.models import DataRecord, Link, UploadedContent
from subscriptions.onboarding import add_customer
from tests.bench.measuring import show, timed
from tests.home import Home

RECORDS = 20
PATIENCE = 1200.0
WAITING = (Run.State.OWED, Run.State.RUNNING, Run.State.COMPLETE)


def measure(customers: int, folder: Path) -> None:
    figures: dict[str, float] = {}
    with timed(f"adding {customers:,} customers of {RECORDS} records, a link and an upload", figures):
        for number in range(customers):
            _add(number)
    show("processors", os.cpu_count() or 1)
    show("workers", settings.L2L_WORKERS)
    home = Home(folder, {name: os.environ[name] for name in ("DATABASE_URL",) if name in os.environ})
    unlucky = Stream.objects.get(name="customer-7")
    _make_the_night_due()
    with _in_the_way(folder, unlucky) as obstacles:
        _night(home, "first night", customers + 1, unlucky)
    show("things that stood in the way, removed", len(obstacles))
    _owe_another_night()
    _night(home, "second night, nothing changed", customers + 1, None)


def _add(number: int) -> None:
    with audit.acting("bench", reason="bench", source="bench"):
        customer = add_customer(f"customer-{number}", f"Customer {number}", start=date(2026, 1, 1))
        DataRecord.objects.tracked_create(
            DataRecord(customer=customer, kind="part", reference=str(one), data={"Name": f"Part {one}", "Note": "x" * 80})
            for one in range(RECORDS)
        )
        Link.objects.create(customer=customer, reference="a", title="Manual", url="https://example.org/manual")
        UploadedContent.objects.create(customer=customer, name="note.txt", file=ContentFile(f"note {number}\n".encode() * 50, name="x"))


@contextmanager
def _in_the_way(folder: Path, stream: Stream) -> Iterator[list[Path]]:
    """A file where the customer's folder belongs, at every location."""
    obstacles = [place / "customers" / str(stream.pk) for place in (folder / "locations").iterdir()]
    for one in obstacles:
        one.parent.mkdir(exist_ok=True)
        one.write_text("in the way")
    yield obstacles
    for one in obstacles:
        one.unlink()


def _night(home: Home, what: str, owed: int, unlucky: Stream | None) -> None:
    """Until nothing of the night is owed any more, but what the unlucky customer is owed, which must have been tried twice."""
    began = clock.now()
    supervisor = subprocess.Popen(home._command(("work", "--only", "worker")), env=home.environment)
    memory: list[int] = []
    try:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            time.sleep(2)
            close_old_connections()
            others = Run.objects.exclude(stream=unlucky) if unlucky else Run.objects.all()
            done = others.filter(state=Run.State.DONE, started_at__gte=began).count()
            memory.append(_resident(home.processes()))
            tried = Run.objects.get(stream=unlucky).attempts if unlucky and Run.objects.filter(stream=unlucky).exists() else 2
            if done >= owed - bool(unlucky) and tried > 1:
                break
    finally:
        supervisor.send_signal(signal.SIGTERM)
        supervisor.wait()
    _report(what, began, unlucky, memory)


def _report(what: str, began: object, unlucky: Stream | None, memory: list[int]) -> None:
    done = Run.objects.filter(state=Run.State.DONE, started_at__gte=began)
    times = done.aggregate(first=Min("started_at"), last=Max("ended_at"))
    seconds = (times["last"] - times["first"]).total_seconds()
    show(f"{what}: runs done", done.count())
    show(f"{what}: customers a second", done.count() / seconds)
    settled = memory[len(memory) // 4 :]
    show(f"{what}: memory of all the queue's processes after a quarter", settled[0] / 1024, "MiB")
    show(f"{what}: the same at the end", settled[-1] / 1024, "MiB")
    if unlucky is not None:
        run = Run.objects.get(stream=unlucky)
        show(f"{what}: attempts of the one with something in its way", run.attempts)
        print(f"  it is {run.state}: {run.trouble}", flush=True)


def _resident(processes: list[int]) -> int:
    """KiB that belong to these processes alone, shared pages counted by their share."""
    total = 0
    for pid in processes:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def _make_the_night_due() -> None:
    """At some hours of the day the night that has begun is not due yet."""
    now = clock.now()
    with audit.acting("bench", reason="bench", source="bench"):
        runs.owe_nights(now)
    Run.objects.update(due_at=now, next_try_at=now)


def _owe_another_night() -> None:
    """The night after, due now: what the worker itself would write down a day later."""
    now = clock.now()
    for run in list(Run.objects.all()):
        Run.objects.filter(pk=run.pk).update(due_at=run.due_at - timedelta(days=1), ends_at=run.ends_at - timedelta(days=1))
        Run.objects.filter(pk=run.pk).update(night=run.night - timedelta(days=1))
    with audit.acting("bench", reason="bench", source="bench"):
        runs.owe_nights(now)
