"""A large customer within the memory of a small machine, and a worker that is killed at any moment of a return (P10)."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.home import PROJECT, Home
from tests.subscriptions.test_bag import accepted

pytestmark = pytest.mark.slow

LIMIT_MIB = 250
SEED = """
import sys
from datetime import date
from pathlib import Path

import django

django.setup()

from django.core.files.base import ContentFile, File
from django.db import models

import audit
from audit import clock
from subscriptions.ending import returns
from subscriptions.models import DeletionRequest, Subscription, UploadedContent
from subscriptions.onboarding import add_customer
from tests.bench.seeding import seed

with audit.acting("test", reason="test", source="test"):
    acme = add_customer("acme", "Acme", start=date(2020, 1, 1))
    seed(acme, int(sys.argv[2]))
    with Path(sys.argv[1]).open("rb") as content:
        UploadedContent.objects.create(customer=acme, name="large.bin", file=File(content, name="large.bin"))
    for number in range(int(sys.argv[3])):
        UploadedContent.objects.create(customer=acme, name=f"many/{number}.txt", file=ContentFile(b"%d" % number, name="x"))
    models.QuerySet(Subscription).filter(customer=acme).update(end=date(2024, 1, 1))
    request = DeletionRequest(customer=acme, why="it is over", ends_on=date(2024, 1, 1), requested_at=clock.now())
    request.save()
    returns.begin(request, now=clock.now())
"""
MAKE = (
    "from backups import tasks; from backups.models import ReturnWork; tasks.look_at_returns(); "
    "ReturnWork.objects.update(next_try_at=None); print(tasks.make_return(ReturnWork.objects.get().pk), ReturnWork.objects.get().trouble)"
)
PACKAGE = "__import__('subscriptions.models', fromlist=['x']).DataReturn.objects.values('path', 'package_sha256', 'counts').get()"


def home_with(tmp_path: Path, *, upload_mib: int, records: int, files: int) -> Home:
    """An installation with a customer that is returning, everything shipped."""
    one = Home(tmp_path / "home")
    one.init()
    upload = tmp_path / "large.bin"
    with upload.open("wb") as file:
        for _ in range(upload_mib):
            file.write(os.urandom(1024 * 1024))
    arguments = [str(upload), str(records), str(files)]
    subprocess.run([sys.executable, "-c", SEED, *arguments], cwd=PROJECT, env=one.environment, check=True)
    upload.unlink()
    one.manage("hotbackup", "--once")
    return one


def unpacked(package: dict[str, Any], folder: Path) -> Path:
    assert hashlib.sha256(Path(package["path"]).read_bytes()).hexdigest() == package["package_sha256"]
    with zipfile.ZipFile(package["path"]) as archive:
        archive.extractall(folder)
    (bag,) = folder.iterdir()
    return bag


def test_a_large_customer_is_returned_within_the_memory_of_a_small_machine(tmp_path: Path) -> None:
    home = home_with(tmp_path, upload_mib=300, records=100_000, files=1000)
    peak = home.peak_bytes("shell", "-v", "0", "-c", MAKE) / 1024**2
    package = home.ask(PACKAGE)
    print(f"Peak memory: {peak:.0f} MiB")
    assert package["counts"]["rows/l2l_subscriptions.datarecord"] == 100_000
    assert peak < LIMIT_MIB
    bag = unpacked(package, tmp_path / "out")
    assert (bag / "data/import/uploads/large.bin").stat().st_size == 300 * 1024**2
    assert len(list((bag / "data/import/uploads/many").iterdir())) == 1000


def test_a_worker_killed_at_any_moment_leaves_a_return_that_goes_on(tmp_path: Path) -> None:
    home = home_with(tmp_path, upload_mib=60, records=20_000, files=50)
    chosen, state, kills = random.Random(11), "returning", 0
    exports = home.folder / "exports"
    while state == "returning" and kills < 12:
        process = home.start("shell", "-v", "0", "-c", MAKE)
        time.sleep(1.0 + chosen.random() * 9.0)
        process.kill()
        process.communicate()
        kills += 1
        state = home.ask("__import__('subscriptions.models', fromlist=['x']).DeletionRequest.objects.get().state")
        if state == "returning":
            named = list(exports.glob("return-*-*/*")) if exports.exists() else []
            count = home.ask("__import__('subscriptions.models', fromlist=['x']).DataReturn.objects.count()")
            assert count == 0, named
    if state == "returning":
        assert "done" in home.manage("shell", "-v", "0", "-c", MAKE)
    package = home.ask(PACKAGE)
    accepted(unpacked(package, tmp_path / "out"))
    home.manage("shell", "-v", "0", "-c", "from backups import tasks; tasks.look_at_returns()")
    assert [path.name for path in exports.iterdir()] == [Path(package["path"]).parent.name]
    assert json.dumps(package["counts"])
