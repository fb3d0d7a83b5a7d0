"""A large customer as it was at a moment, against its newest set as it is: both into a folder, every byte checked.

The set is restored as it stands; the moment is made from its whole history, newest image by newest image, and the segments behind it.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import audit
from audit.models import JournalRow, Stream
from backups import vault as vaults
from backups.choosing import At
from backups.hot import shipper
from backups.nightly import back_up
from backups.restore import restore
from subscriptions.models import DataRecord
from subscriptions.onboarding import add_customer
from tests.bench.measuring import peak_mib, show, timed
from tests.bench.seeding import seed

SET, MOMENT, EARLIER = "restore of the newest set", "restore at now: the set and what came after", "restore at a moment before the set"


def measure(records: int, folder: Path) -> None:
    figures: dict[str, float] = {}
    vault = vaults.from_settings()
    with audit.acting("bench", reason="bench", source="bench"):
        customer = add_customer("bench", "Bench", start=date(2026, 1, 1))
        seed(customer, records)
        with timed(f"numbering and shipping {records:,} changes", figures):
            shipper.ship_once(vault, patience=3600)
        back_up(vault, Stream.objects.get(pk=customer.pk))
        for record in DataRecord.objects.filter(customer=customer)[:100]:
            record.data = {"changed": True}
            record.save()
        shipper.ship_once(vault)
        with timed(SET, figures):
            restore(vault, customer, folder / "set")
        show("peak memory with the set", peak_mib(), "MiB")
        with timed(MOMENT, figures):
            restore(vault, customer, folder / "now", at=At(None))
        middle = JournalRow.objects.get(stream=customer.pk, number=records // 2).written_at
        with timed(EARLIER, figures):
            restore(vault, customer, folder / "earlier", at=At(middle))
        show("peak memory with the moments", peak_mib(), "MiB")
        show(f"{MOMENT} / {SET}", figures[MOMENT] / figures[SET])
