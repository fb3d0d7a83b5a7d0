"""A writer that never rests: small and long transactions, crossing writes to the same rows, deletions, uploads, until a file says stop."""

from __future__ import annotations

import random
import time
from pathlib import Path

from django.core.files.base import ContentFile
from django.db import IntegrityError, OperationalError, transaction

import audit
from subscriptions.models import Customer, DataRecord, Link, UploadedContent

SHARED = 30


def main(seed: str, stop: str, pause: str) -> None:
    """Prints how many transactions were committed; rests up to `pause` seconds between them."""
    chosen, done = random.Random(seed), 0
    customers = list(Customer.objects.order_by("code"))
    with audit.acting(f"writer-{seed}", reason="a test", source="test"):
        while not Path(stop).exists():
            try:
                with transaction.atomic():
                    _write(chosen, chosen.choice(customers), f"{seed}-{done}")
                done += 1
            except (OperationalError, IntegrityError, DataRecord.DoesNotExist):
                continue  # a deadlock of crossing writes, a row that the other has made or deleted: rolled back whole
            time.sleep(chosen.random() * float(pause))
    print(done)


def _write(chosen: random.Random, customer: Customer, name: str) -> None:
    kind = chosen.random()
    if kind < 0.55:
        _change_shared(chosen, customer, name)
    elif kind < 0.8:
        DataRecord.objects.create(customer=customer, kind="own", reference=name, data={"Name": name})
        Link.objects.create(customer=customer, reference=name, title=name, url="https://example.org/")
    elif kind < 0.9:
        own = DataRecord.objects.filter(customer=customer, kind="own").order_by("pk")[:3]
        for row in own:
            row.delete()
    elif kind < 0.95:
        content = ContentFile(name.encode() * chosen.randrange(1, 2000), name="x")
        UploadedContent.objects.create(customer=customer, name=name, file=content)
    else:
        many = chosen.randrange(100, 1500)
        DataRecord.objects.tracked_create(DataRecord(customer=customer, kind="bulk", reference=f"{name}-{n}", data={}) for n in range(many))


def _change_shared(chosen: random.Random, customer: Customer, name: str) -> None:
    for number in chosen.sample(range(SHARED), 3):
        row = DataRecord.objects.select_for_update().filter(customer=customer, kind="shared", reference=str(number)).first()
        if row is None:
            DataRecord.objects.get_or_create(customer=customer, kind="shared", reference=str(number), defaults={"data": {"by": name}})
        else:
            row.data = {"by": name}
            row.save()
        if chosen.random() < 0.2:
            time.sleep(chosen.random() * 0.02)
