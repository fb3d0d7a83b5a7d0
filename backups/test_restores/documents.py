"""The signed document of a test restore: what was tested, what was expected and found, how long it took (P7, P13). No content.

`{"format":1,"kind":"test-restore","stream":…,"customer":…,"set":…,"night":…,"tier":…,"oldest":…,"location":…,"seed":…,"asked_by":…,
"software":…,"policy":…,"begun_at":…,"ended_at":…,"scratch":"sqlite"|"postgresql","result":…,"set_test":{…},"second_test":{…}|null,
"elsewhere":[…]}`. A trial says `at` (null for the set's own state), `trouble` (empty when it came to its judgement), times in
milliseconds, bytes, and the judgement.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from audit import canonical
from audit.signing import BadSignature, Signer, verify
from backups.models import TestRestore
from backups.test_restores.judging import Judgement

FORMAT = 1


@dataclass(slots=True)
class Trial:
    """One restore from one location into a scratch database, judged; or why it came to no judgement (`trouble`, an error's words).

    `damaged` says that what the location has is not whole. `at` is the second, None for the set's own state; `found` tells the set and the
    state that were taken."""

    at: datetime | None = None
    found: dict[str, Any] = field(default_factory=dict)
    list_ms: int = 0
    restore_ms: int = 0
    judge_ms: int = 0
    read_bytes: int = 0
    content_bytes: int = 0
    judgement: Judgement | None = None
    trouble: str = ""
    damaged: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.trouble and self.judgement is not None and self.judgement.passed

    def words(self) -> list[str]:
        """What is wrong, a line each."""
        return [self.trouble] if self.trouble else (self.judgement.words() if self.judgement else [])

    def document(self) -> dict[str, Any]:
        return {
            "at": self.at.isoformat() if self.at else None,
            "found": self.found,
            "passed": self.passed,
            "trouble": self.trouble,
            "list_ms": self.list_ms,
            "restore_ms": self.restore_ms,
            "judge_ms": self.judge_ms,
            "read_bytes": self.read_bytes,
            "content_bytes": self.content_bytes,
            "judgement": self.judgement.document() if self.judgement else None,
            "notes": self.notes,
        }


def signed(signer: Signer, test: TestRestore, *, scratch: str, trial: Trial, second: Trial | None, elsewhere: list[str]) -> dict[str, Any]:
    """The document of a test whose other fields are set."""
    return signer.sign(
        {
            "format": FORMAT,
            "kind": "test-restore",
            **_of_row(test),
            "scratch": scratch,
            "set_test": trial.document(),
            "second_test": second.document() if second else None,
            "elsewhere": elsewhere,
        }
    )


def _of_row(test: TestRestore) -> dict[str, Any]:
    return {
        "stream": str(test.stream),
        "customer": test.called,
        "set": str(test.set_id),
        "night": test.night.isoformat() if test.night else None,
        "tier": str(test.tier),
        "oldest": test.oldest,
        "location": test.location,
        "second": test.second.isoformat() if test.second else None,
        "seed": test.seed,
        "asked_by": test.asked_by,
        "software": test.software,
        "policy": test.policy,
        "begun_at": test.begun_at.isoformat(),
        "ended_at": test.ended_at.isoformat(),
        "result": str(test.result),
    }


def trouble_of(test: TestRestore, trusted: str) -> str:
    """Why the document does not prove its row; empty when the trusted key signed it and both say the same."""
    try:
        document = verify(test.document, trusted)
    except BadSignature as problem:
        return str(problem)
    unlike = [name for name, value in _of_row(test).items() if document.get(name) != value]
    return f"the row says otherwise than its signed document: {', '.join(unlike)}" if unlike else ""


def sha256_of(document: dict[str, Any]) -> str:
    return hashlib.sha256(canonical.dump_bytes(document)).hexdigest()
