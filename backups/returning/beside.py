"""What lies beside a package's payload: how to read and verify it, a program that does, and the signed head."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from audit.signing import Signer

HEAD, README, PROGRAM = "signed-head.json", "README.txt", "verify_return.py"
SOURCE = "L2L"
SAMPLE = "SAMPLE: made in a sample installation, of no real customer. "

TEXT = """\
{sample}Your data, returned: package {number} of {name} ({code}), made {made_at}.

It holds all that was kept for you: every record, upload and link, every version that each of them ever had, and who changed what, when and
why. It was made from the last backup set, {set}, which holds the state of {snapshot_at}.

VERIFY IT
  This folder is a BagIt bag (RFC 8493). With the tools of your choice, in this folder:
    sha256sum -c manifest-sha256.txt          every file of the data is what it was
    sha256sum -c tagmanifest-sha256.txt       so is every file beside it
    bagit.py --validate .                     the same, and nothing is missing or added (pip install bagit)
    python3 verify_return.py                  the same, the signature, and what to write into the receipt; needs nothing but Python 3.8
  The fingerprint of the key that signs is in your agreement, or ask for it by another way than the one by which this package came:
    python3 verify_return.py --trust FINGERPRINT
  The receipt names the SHA-256 of the file as you got it: sha256sum FILE.

WHAT IS WHERE
  data/rows/MODEL.csv, .ndjson       the state at the end, one row a line
  data/records/KIND.csv              the records of one kind, a column for each of their values
  data/history/MODEL.ndjson          every version: history_date, history_type (+ made, ~ changed, - deleted), history_actor,
                                     history_change_reason, and all values as they were
  data/journal/...ndjson             the number and digest of each change: by them history cannot be altered unseen
  data/import/                       records/, uploads/, links.csv as 'import_content' takes them: uploads lie here under their names
  data/import/names.csv              the true names of what no file system would take (path, name), if there are any
  data/files/MODEL/...               files of earlier versions, and of other tables
  data/files.csv                     which stored file is which upload, where it lies, its SHA-256; absent: lost before it came to us
  data/schema.json, counts.json      the columns and what they mean; how many of each
  CSV is RFC 4180 in UTF-8. Values are as they were stored: a spreadsheet may take one that begins with = for a formula.
"""


@dataclass(frozen=True, slots=True)
class About:
    """Which package it is."""

    customer: str
    code: str
    name: str
    request: int
    number: int
    set_id: str
    snapshot_at: str
    journal: Mapping[str, Any]
    made_at: datetime
    software: str
    sample: bool

    @property
    def folder(self) -> str:
        return f"{self.code}-return-{self.number}"

    @property
    def info(self) -> list[tuple[str, str]]:
        """The lines of `bag-info.txt`."""
        name = " ".join(self.name.split())
        return [
            ("Source-Organization", SOURCE),
            (
                "External-Description",
                f"{SAMPLE if self.sample else ''}All data of {name} ({self.code}), returned at its end",
            ),
            ("External-Identifier", self.folder),
            ("Internal-Sender-Identifier", self.set_id),
            ("Bagging-Date", self.made_at.date().isoformat()),
            ("Bag-Software-Agent", f"L2L back office {self.software}".strip()),
        ]


def tags(about: About, counts: Mapping[str, int], signer: Signer, manifest_sha256: str) -> dict[str, bytes]:
    """The files by their names; the head is signed over the digest of the manifest, and so over every file of the payload."""
    head = {
        "format": 1,
        "kind": "return",
        "customer": {"id": about.customer, "code": about.code},
        "request": about.request,
        "number": about.number,
        "set": about.set_id,
        "snapshot_at": about.snapshot_at,
        "journal": dict(about.journal),
        "manifest_sha256": manifest_sha256,
        "counts": dict(counts),
        "made_at": about.made_at.isoformat(),
        "software": about.software,
        "sample": about.sample,
    }
    text = TEXT.format(
        sample=SAMPLE if about.sample else "",
        number=about.number,
        name=" ".join(about.name.split()),
        code=about.code,
        made_at=about.made_at.isoformat(timespec="seconds"),
        set=about.set_id,
        snapshot_at=about.snapshot_at,
    )
    return {
        README: text.encode(),
        PROGRAM: Path(__file__).with_name(PROGRAM).read_bytes(),
        HEAD: (json.dumps(signer.sign(head), indent=2, ensure_ascii=False, sort_keys=True) + "\n").encode(),
    }
