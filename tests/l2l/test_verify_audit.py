"""`manage.py verify_audit`: 0 for a whole trail; else what does not fit is named, and the status is not 0."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from audit import clock
from audit.events import Event, record
from audit.evidence import sign_head
from backups import keyfiles
from tests.audit.test_evidence import raw


@pytest.fixture
def signed(acting: Any, db: None, settings: Any, tmp_path: Path) -> str:
    """Three events under a signed head; the fingerprint to trust."""
    settings.L2L_KEYS = tmp_path / "keys"
    keyfiles.make_key_files(settings.L2L_KEYS, "2026-01-01")
    for _ in range(3):
        record(Event.SIGNED_IN)
    signer = keyfiles.signer(settings.L2L_KEYS)
    sign_head(signer, clock.now())
    return signer.fingerprint


def verified(*arguments: str) -> tuple[str, str]:
    out = StringIO()
    try:
        call_command("verify_audit", *arguments, stdout=out)
    except CommandError as problem:
        return out.getvalue(), str(problem)
    return out.getvalue(), ""


def test_a_whole_trail(signed: str) -> None:
    out, problem = verified("--json")
    document = json.loads(out)
    assert problem == "" and document["whole"] and document["problems"] == []
    assert (document["events"], document["signed_up_to"], document["fingerprint"]) == (3, 3, signed)
    assert "vouch for the first 3 events" in verified()[0]


def test_an_edited_event_is_named_and_the_status_is_not_0(signed: str) -> None:
    raw("UPDATE l2l_audit_event SET actor = 'bob' WHERE number = 2")
    out, problem = verified("--json")
    assert json.loads(out)["problems"] == [{"number": 2, "what": "its content does not fit its digest: it was edited"}]
    assert "not what was recorded" in problem
    assert "event 2: its content" in verified()[0]


def test_another_fingerprint_trusts_nothing(signed: str) -> None:
    out, problem = verified("--json", "--fingerprint", "ab" * 32)
    assert problem and json.loads(out)["signed_up_to"] == 0


def test_without_keys_it_says_what_to_do(db: None, settings: Any, tmp_path: Path) -> None:
    settings.L2L_KEYS = tmp_path
    assert "manage.py init" in verified()[1]
