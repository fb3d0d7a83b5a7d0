"""Real processes that back up, prune, verify, test, ship and restore one customer at the same time, killed at random: every set that is
listed restores, and so does the newest second (P2, P4, P6, P7, design section 5)."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.both_databases import postgresql
from tests.home import Home

pytestmark = pytest.mark.slow

ROUNDS = 7
# One night is kept, and no week: what is older goes, but for the newest and the best one of its week and month.
POLICY = """
import audit
from audit import clock
from backups import policies
from backups.policy import Policy
with audit.acting("test", reason="a test", source="test"):
    policies._add(1, Policy(1, clock.now(), nightly_days=1, weekly_weeks=0), zone="UTC", made_by="test", reason="a test")
"""
# A day passes for the sets that stand; then something changes, and much stays as it was.
AGE_AND_CHANGE = """
import audit, random
from datetime import timedelta
from django.core.files.base import ContentFile
from django.db.models import F
from backups.models import BackupSet
from subscriptions.models import Customer, DataRecord, UploadedContent
BackupSet.objects.filter(state="made").update(snapshot_at=F("snapshot_at") - timedelta(days=1), goes_at=F("goes_at") - timedelta(days=1))
acme = Customer.objects.get(code="acme")
with audit.acting("test", reason="a test", source="test"):
    n = DataRecord.objects.count()
    DataRecord.objects.tracked_create(
        DataRecord(customer=acme, kind="part", reference=str(n + k), data={"Note": random.randbytes(60).hex()}) for k in range(300)
    )
    UploadedContent.objects.create(customer=acme, name=f"f{n}", file=ContentFile(random.randbytes(200_000), name="f"))
"""
# Each set that stands, restored from each location alone.
CHECK = """
import json, shutil, tempfile
from pathlib import Path
import audit
from backups import vault as vaults
from backups.models import BackupSet, Blob
from backups.restore import restore
from subscriptions.models import Customer
acme, vault = Customer.objects.get(code="acme"), vaults.from_settings()
sets = list(BackupSet.objects.filter(stream=acme.pk, state="made", protected_at__isnull=False))
with audit.acting("test", reason="a test", source="test"):
    for one in sets:
        for name in ("primary", "offsite"):
            folder = Path(tempfile.mkdtemp()) / "out"
            report = restore(vault.only(name), acme, folder, set_id=str(one.pk))
            assert report.good and sum(v for k, v in report.counts.items() if k.startswith("rows/")) == one.rows, one.pk
            shutil.rmtree(folder.parent)
counted = {state: BackupSet.objects.filter(stream=acme.pk, state=state).count() for state in BackupSet.State.values}
names = set(Blob.objects.filter(stream=acme.pk).exclude(kind="key").values_list("name", flat=True))
condemned = Blob.objects.filter(state="condemned").count()
print(json.dumps({"restored": len(sets), "states": counted, "condemned": condemned, "names": sorted(names)}))
"""
OLDEST = (
    "[str(pk) for pk in __import__('backups.models').models.BackupSet.objects.filter(stream__name='acme', state='made')"
    ".order_by('started_at').values_list('pk', flat=True)][:1]"
)


@pytest.fixture(params=["sqlite", "postgresql"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    with nullcontext("") if request.param == "sqlite" else postgresql() as url:
        one = Home(tmp_path / "home", {"L2L_LEASE_SECONDS": "5"} | ({"DATABASE_URL": url} if url else {}))
        one.folder.mkdir()
        one.migrate()
        one.manage("shell", "-v", "0", "-c", POLICY)
        one.init()
        one.manage("add_customer", "acme", "--name", "Acme", "--start", "2026-01-01")
        yield one


def shell(home: Home, code: str) -> str:
    return home.manage("shell", "-v", "0", "-c", code)


def test_all_at_once_under_kills(home: Home, tmp_path: Path) -> None:
    chosen = random.Random(int(os.environ.get("KILLS_SEED") or 5))
    shell(home, AGE_AND_CHANGE)
    home.manage("backup", "acme")
    for number in range(ROUNDS):
        shell(home, AGE_AND_CHANGE)
        oldest = home.ask(OLDEST)
        commands = (
            ("backup", "acme"),
            ("prune", "--apply"),
            ("hotbackup", "--once"),
            ("verify", "acme", "--mend"),
            ("test_restore", "acme"),
        )
        at_once = [home.start(*command) for command in commands]
        if oldest:
            at_once.append(home.start("restore", "acme", "--set", oldest[0], "--to", str(tmp_path / f"out{number}")))
        for process in chosen.sample(at_once, chosen.randint(1, len(at_once))):
            time.sleep(chosen.random() * 1.2)
            process.kill()
        for process in at_once:
            _ended(process)
    shell(home, AGE_AND_CHANGE)
    home.manage("backup", "acme")
    time.sleep(6)  # leases of processes that were killed in the middle
    home.manage("prune", "--apply")
    home.manage("hotbackup", "--once")
    home.manage("verify", "--all", "--mend")
    home.manage("test_restore", "acme")
    rows = home.json("restore", "acme", "--at", "now", "--to", str(tmp_path / "now"))["rows"]
    assert rows["rows/l2l_subscriptions.datarecord"] == 300 * (ROUNDS + 2)
    found = json.loads(shell(home, CHECK))
    assert found["restored"] >= 1 and found["states"]["removed"] >= 2, found["states"]
    assert found["states"]["leaving"] == 0 and found["condemned"] == 0, found["states"]
    for name in ("primary", "offsite"):
        root = home.location(name)
        folder = root / found["names"][0].partition("/blobs/")[0]
        assert {path.relative_to(root).as_posix() for path in folder.rglob("*") if path.is_file()} == set(found["names"]), name


def _ended(process: subprocess.Popen[str]) -> None:
    """However it ended: busy, killed, told that its set is on its way out. A trace is a fault."""
    _, err = process.communicate(timeout=600)
    assert "Traceback" not in err, err
