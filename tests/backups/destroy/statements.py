"""The facts of a destruction that never was, for what is made of facts alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from backups.destroy.stating import CERTIFICATE, GONE, CopyLine, Facts, Where

NOW = datetime(2026, 3, 10, 2, 0, tzinfo=UTC)
SHA = "ab" * 32


def copies(count: int, result: str = GONE) -> tuple[CopyLine, ...]:
    before, after = NOW - timedelta(days=4), NOW - timedelta(days=1)
    name = "customers/3f0e/blobs/ab/"
    return tuple(CopyLine(f"{name}{number:064x}", "every", 1000, f"{number:064x}", before, after, NOW, result) for number in range(count))


def facts(name: str = "Acme Bicycles", count: int = 3, **changes: Any) -> Facts:
    """Of a certificate of which every line is verified."""
    line = {"what": "listed again", "where": "primary", "began_at": NOW, "ended_at": NOW, "result": True, "said": "nothing"}
    at = {"at": NOW.isoformat(), "asserted": ["the file was written anew"], "engine": "sqlite", "remains": []}
    found = Facts(
        kind=CERTIFICATE,
        number=2,
        issued_at=NOW,
        sample=False,
        software="L2L back office 1",
        customer={"id": "3f0e", "code": "acme", "name": name, "zone": "Europe/Berlin"},
        agreements=[{"number": "A-1", "first_day": "2020-01-01", "last_day": "2026-01-31", "destruction_days": 30, "document_sha256": SHA}],
        request={
            "id": 7,
            "basis": "end of the agreement",
            "last_day": "2026-01-31",
            "requested_at": NOW,
            "requested_by": "ada",
            "frozen_at": NOW,
        },
        clock={"began_at": NOW - timedelta(days=9), "began_with": "receipt", "days": 30, "due_at": NOW + timedelta(days=21), "zone": "UTC"},
        returned={"number": 1, "package_sha256": SHA, "manifest_sha256": SHA, "bytes": 5_000_000, "made_at": NOW, "final_set": "x"},
        receipt={"id": 1, "kind": "recorded by staff", "verified_by": "Ann", "verified_at": NOW, "package_sha256": SHA},
        waiver=None,
        holds=[{"id": 1, "placed_at": NOW - timedelta(days=90), "released_at": NOW - timedelta(days=60), "checked_at": NOW}],
        approval={"approved_by": "Rita", "approved_at": NOW, "plan_sha256": SHA, "cooled_off_at": NOW, "begun_at": NOW},
        places=[Where("primary", "file:///srv/l2l", False, copies(count)), Where("offsite", "s3://bucket/l2l", True, copies(count))],
        live={"rows": {"a": 5}, "history": {"a": 9}, "changes": 9, "uploads": 2, "upload_bytes": 4096, "destroyed_at": NOW},
        keys=["keys/3f0e/1.age"],
        exports=[],
        steps=[{"step": "keys", "location": "primary", "began_at": NOW, "done_at": NOW, "objects": 1, "bytes": 400}],
        proof={"holds": True, "lines": [line]},
        database=at,
        remains=[{"where": "the vendor's own backups of the database", "what": "rows", "until": "2026-03-24 UTC"}],
        evidence={"events": 99, "digest": SHA, "at": NOW},
        signatories=[
            {"role": "approved the destruction", "person": "Rita", "system": "", "at": NOW},
            {"role": "carried it out and verified it", "person": "", "system": "L2L back office 1", "at": NOW},
        ],
    )
    return replace(found, **changes)
