"""History against journal, as `verify_audit` recomputes it: against reading the same history rows and digesting each, which anybody would
do first. Then the first set of these changes, whose proof recomputes all of them, and the second, whose proof has nothing to recompute.
Last all that is stored, read again as `verify --all` does it: against reading the same objects of one location and digesting them.
"""

from __future__ import annotations

import hashlib
import json
from datetime import date
from pathlib import Path

from django.db import connection

import audit
from audit import journal_proof
from audit.models import Stream
from backups import vault as vaults
from backups.hot import shipper
from backups.nightly import back_up
from backups.snapshot import snapshot
from backups.vault import Vault
from backups.verification.carrying_out import Wanted, carry_out
from subscriptions.onboarding import add_customer
from tests.bench.measuring import peak_mib, show, timed
from tests.bench.seeding import HISTORY, seed

RAW, VERIFIED = "raw read of history, a digest for each row", "history against journal, every change"


def measure(records: int, folder: Path) -> None:
    figures: dict[str, float] = {}
    vault = vaults.from_settings()
    with audit.acting("bench", reason="bench", source="bench"):
        customer = add_customer("bench", "Bench", start=date(2026, 1, 1))
        seed(customer, records)
        with timed(f"numbering and shipping {records:,} changes", figures):
            shipper.ship_once(vault, patience=1200.0)
        with timed(RAW, figures):
            _raw_read()
        before = peak_mib()
        with timed(VERIFIED, figures):
            found = _verified()
        show("changes that do not fit", found)
        show("changes a second", records / figures[VERIFIED])
        show(f"{VERIFIED} / {RAW}", figures[VERIFIED] / figures[RAW])
        show("memory that it took", peak_mib() - before, "MiB")
        stream = Stream.objects.get(pk=customer.pk)
        for which in ("first set, all changes recomputed", "second set, none"):
            with timed(which, figures):
                back_up(vault, stream)
        _measure_reading_again(vault, figures)


def _measure_reading_again(vault: Vault, figures: dict[str, float]) -> None:
    with timed("raw read of one location, digested", figures):
        for entry in vault.places[0].store.list(""):
            hashlib.sha256(vault.places[0].store.get(entry.name)).digest()
    for again in ("verify --all, both locations, the first time", "verify --all, again"):
        with timed(again, figures):
            turns = carry_out(vault, Wanted(everything=True))
        show("objects a second", sum(turn.objects for turn in turns) / figures[again])
    show("wrong", sum(turn.found for turn in turns))


def _raw_read() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {HISTORY}")
        while rows := cursor.fetchmany(2000):
            for row in rows:
                hashlib.sha256(json.dumps(row, default=str).encode()).hexdigest()


def _verified() -> int:
    with snapshot() as moment:
        walk = journal_proof.Recomputation(moment.connection, {})
        return len([*walk.of_all(), *journal_proof.unpaired(moment.connection)])
