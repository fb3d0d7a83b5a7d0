"""Neither report gives back what was purged: of such a change the trail has number and digest alone (P8, P9)."""

from __future__ import annotations

from typing import Any

import pytest

from audit.models import JournalRow
from backups.vault import Vault
from l2l.reports import trail_csv, trail_pdf
from l2l.reports.periods import Days
from l2l.reports.statement import statement_of
from l2l.reports.trail import NoTrail, trail_of
from tests.backups.purge.conftest import MARK, OLD_ITEMS, Purged

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def test_what_was_purged_is_in_no_report(aged: Any, vault: Vault, purged: Purged) -> None:
    now, days = vault.clock(), Days(aged.zone)
    before = trail_of(aged, days, by=None, now=now)
    assert MARK in b"".join(trail_csv.pieces(before)).decode()
    digests = dict(JournalRow.objects.filter(stream=aged.pk).values_list("number", "digest"))
    purged(aged)
    after = trail_of(aged, days, by=None, now=vault.clock())
    changes = list(after.changes())
    gone = [one for one in changes if one.what == "purged"]
    assert len(changes) == before.count() and len(gone) > 10
    assert {one.number: one.digest for one in changes} == digests
    assert MARK not in repr(changes) and MARK not in b"".join(trail_csv.pieces(after)).decode()
    assert trail_pdf.printed(after, sample=True).startswith(b"%PDF")
    with pytest.raises(NoTrail, match="purged"):
        trail_of(aged, days, by=None, now=now, model="datarecord", item=f"{MARK}-0")
    said = statement_of(aged, days, now=vault.clock()).document(sample=True, software="test")
    rows = next(one["rows"] for one in said["sections"] if one["section"] == "purges")
    assert sum(row[1] for row in rows) == OLD_ITEMS and {row[3] for row in rows} == {"20 years since the last change"}
    assert MARK not in repr(said)
