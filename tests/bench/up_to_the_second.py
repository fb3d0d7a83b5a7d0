"""The hot shipper under load: 500 changes a second offered by 4 writers for a minute, to two folders, beside 10,000 customers at rest.

Figures: seconds from a change's writing until it is durable at both locations; what a commit takes, against the same save of a model that
has simple-history alone, taken before and after in the same run; and what a tick costs when nothing happens. Nothing may be lost or
doubled.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
import uuid
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

from django.db import close_old_connections, connection, models
from django.utils import timezone
from simple_history.models import HistoricalRecords

import audit
from audit.models import JournalRow, Stream
from backups import vault as vaults
from backups.customerkeys import key_at
from backups.hot import outbox, sections, segments
from backups.models import SegmentCopy
from backups.sealing import unseal
from subscriptions.models import Customer, DataRecord
from subscriptions.onboarding import add_customer
from tests.bench.measuring import show
from tests.home import Home

WRITERS, A_SECOND, ROWS_EACH = 4, 125, 200
SECONDS, PLAIN_SECONDS = 60, 20
# Ten thousand customers' first keys are made before it begins.
PATIENCE = 1200.0


class PlainRecord(models.Model):
    """The same columns as a data record, with simple-history as it comes."""

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=100)
    reference = models.CharField(max_length=200)
    data = models.TextField(default="")
    history = HistoricalRecords()

    class Meta:
        app_label = "l2l_subscriptions"  # whose migrations have nothing of it: the table is made here


WRITE = """
import os, sys
import django
django.setup()
from tests.bench.up_to_the_second import write
write(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
"""


def measure(customers: int, folder: Path) -> None:
    _seed(customers)
    home = Home(folder, {name: os.environ[name] for name in ("DATABASE_URL",) if name in os.environ})
    plain = _write(home, "plain", PLAIN_SECONDS)
    with (folder / "shipper.log").open("wb") as said:
        shipper = subprocess.Popen(home._command(("hotbackup",)), env=home.environment, stderr=said)
    try:
        _until_shipped()
        _idle_cost(shipper.pid)
        tracked = _write(home, "tracked", SECONDS)
        began = time.monotonic()
        _until_shipped()
        show("seconds until the last was durable at both", time.monotonic() - began, "s")
        show("shipper: peak of memory", _peak_of(shipper.pid) / 1024, "MiB")
    finally:
        shipper.send_signal(signal.SIGTERM)
        shipper.wait()
    plain_after = _write(home, "plain", PLAIN_SECONDS)
    _report_delays(tracked["began"])
    before, after = statistics.median(plain["took"]), statistics.median(plain_after["took"])
    median = statistics.median(tracked["took"])
    show("median of a save with simple-history alone, before and after", 1000 * (before + after) / 2, "ms")
    show("median of a save here, shipped meanwhile", 1000 * median, "ms")
    show("the one / the other", 2 * median / (before + after))
    show("changes a second", len(tracked["took"]) / SECONDS)
    _check(len(tracked["took"]))


def _seed(customers: int) -> None:
    with connection.schema_editor() as editor:
        editor.create_model(PlainRecord)
        editor.create_model(PlainRecord.history.model)
    with audit.acting("bench", reason="bench", source="bench"):
        busy = [add_customer(f"busy-{one}", f"Busy {one}", start=date(2026, 1, 1)) for one in range(WRITERS)]
        made = [Customer(code=f"idle-{one}", name=f"Idle {one}") for one in range(customers - WRITERS)]
        Stream.objects.bulk_create(Stream(id=one.pk, name=one.code) for one in made)
        Customer.objects.tracked_create(made)
        for customer in [*busy, *made]:
            rows = ROWS_EACH if customer in busy else 1
            DataRecord.objects.tracked_create(_row(DataRecord, customer, one) for one in range(rows))
    for customer in busy:
        PlainRecord.objects.bulk_create(_row(PlainRecord, customer, one, data="{}") for one in range(ROWS_EACH))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _row(model: Any, customer: Customer, number: int, **more: Any) -> Any:
    return model(customer=customer, kind="part", reference=f"P-{number}", **more)


def write(how: str, number: int, seconds: float) -> None:
    """One writer: `A_SECOND` saves offered each second, each a transaction of its own; prints what each took."""
    model: Any = PlainRecord if how == "plain" else DataRecord
    rows = list(model.objects.filter(customer__code=f"busy-{number}").order_by("pk"))
    took = []
    with audit.acting("bench", reason="a change", source="bench"):
        began = time.monotonic()
        for change in range(int(seconds * A_SECOND)):
            time.sleep(max(0.0, began + change / A_SECOND - time.monotonic()))
            row = rows[change % len(rows)]
            value = {"Name": f"Part {change}", "Note": "as ordered " * 8, "change": f"{number}-{change}"}
            row.data = json.dumps(value) if how == "plain" else value
            started = time.monotonic()
            row.save()
            took.append(time.monotonic() - started)
            if time.monotonic() - began > 2 * seconds:
                break
    print(json.dumps(took))


def _write(home: Home, how: str, seconds: float) -> dict[str, Any]:
    began = timezone.now()
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITE, how, str(one), str(seconds)], env=home.environment, stdout=subprocess.PIPE)
        for one in range(WRITERS)
    ]
    took = [duration for one in writers for duration in json.loads(one.communicate()[0])]
    return {"took": took, "began": began}


def _until_shipped() -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        close_old_connections()
        if not outbox.anything() and not SegmentCopy.objects.filter(durable_at=None).exists():
            return
        time.sleep(0.2)
    raise SystemExit("not all was shipped in time")


def _idle_cost(pid: int) -> None:
    """Processor time of the shipper while nothing happens."""
    before, began = _processor(pid), time.monotonic()
    time.sleep(10)
    show("shipper at rest: processor time", 100 * (_processor(pid) - before) / (time.monotonic() - began), "%")


def _processor(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_of(pid: int) -> int:
    return next(int(line.split()[1]) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))


def _report_delays(began: Any) -> None:
    """Each change's seconds until the last of its two copies was read back, from the rows themselves."""
    durable: dict[int, Any] = {}
    for segment, at in SegmentCopy.objects.values_list("segment", "durable_at"):
        durable[segment] = max(at, durable.get(segment, at))
    rows = JournalRow.objects.filter(written_at__gt=began).values_list("segment", "written_at").iterator()
    delays = sorted((durable[segment] - at).total_seconds() for segment, at in rows)
    show("changes", len(delays))
    for name, part in (("p50", 0.5), ("p99", 0.99), ("longest", 1.0)):
        show(f"from written to durable at both: {name}", 1000 * delays[min(int(part * len(delays)), len(delays) - 1)], "ms")


def _check(written: int) -> None:
    """Each number once in the journal, without a gap, and once at each location, with the same digest."""
    vault = vaults.from_settings()
    streams = {str(pk) for pk in Customer.objects.filter(code__startswith="busy-").values_list("pk", flat=True)}
    expected = {stream: list(range(1, JournalRow.objects.filter(stream=uuid.UUID(stream)).count() + 1)) for stream in streams}
    total = sum(map(len, expected.values())) - WRITERS * ROWS_EACH
    for place in vault.places:
        found: dict[str, list[int]] = {stream: [] for stream in streams}
        for entry in place.store.list("hot/"):
            index, sealed = segments.read(place.store.get(entry.name), vault.fingerprint)
            for stream in streams & sealed.keys():
                key = key_at(vault.keys, [place], uuid.UUID(stream), index.of(stream).key, [])
                section = sections.read(unseal(sealed[stream], key.identity, limit=sections.MAX_SECTION_BYTES), stream=stream)
                found[stream] += [change.number for change in section.changes]
        doubled = [number for numbers in found.values() for number, count in Counter(numbers).items() if count > 1]
        if doubled or found != expected:
            raise SystemExit(f"{place.name}: {len(doubled)} numbers are doubled, or some are missing")
    if total != written:
        raise SystemExit(f"{written} changes were committed, {total} were journaled")
    show("committed, journaled, and once at each location", total)
