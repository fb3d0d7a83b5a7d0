"""Signed heads, and the check that finds whatever raw SQL did to the trail and names it (P13)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection

from audit import canonical, chain
from audit.events import Event as Kind
from audit.events import record
from audit.evidence import Verdict, sign_head, verify_chain
from audit.models import Event, SignedHead
from audit.signing import Signer

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SIGNER = Signer(b"k" * 32)


@pytest.fixture
def signed(acting: Any, db: None) -> None:
    """Five events, a head over the first three and one over all, and two events after it."""
    for count in (3, 2, 2):
        for _ in range(count):
            record(Kind.SIGNED_IN, facts={"address": "10.0.0.1"})
        if Event.objects.count() < 6:
            sign_head(SIGNER, NOW)


def raw(*statements: str) -> None:
    """As somebody with the database's password: PostgreSQL's guard taken off."""
    with connection.cursor() as cursor:
        tables = ("l2l_audit_event", "l2l_audit_signedhead") if connection.vendor == "postgresql" else ()
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        for statement in statements:
            cursor.execute(statement)


def found(verdict: Verdict | None = None) -> dict[int, str]:
    verdict = verdict or verify_chain(SIGNER.fingerprint)
    return {problem.number: problem.what for problem in verdict.problems}


def chain_anew(first: int, change: Callable[[Event], None]) -> None:
    """What somebody who knows the format would do: alter one event and compute the digests from there on."""
    before = chain.Head(*Event.objects.values_list("number", "digest").get(number=first - 1))
    for row in Event.objects.filter(number__gte=first).order_by("number"):
        if row.number == first:
            change(row)
        leaf = row.leaf_now()
        before = chain.following(before, leaf)
        for table in ("l2l_audit_event", "l2l_audit_historicalevent"):
            values = f"actor = '{row.actor}', leaf = '{leaf}', digest = '{before.digest}'"
            raw(f"UPDATE {table} SET {values} WHERE number = {row.number}")


def test_a_whole_trail(signed: None) -> None:
    verdict = verify_chain(SIGNER.fingerprint)
    assert (verdict.problems, verdict.head.number, verdict.signed, verdict.heads) == ([], 7, 5, 2)


def test_an_empty_trail_is_signed_too(acting: Any, db: None) -> None:
    sign_head(SIGNER, NOW)
    assert verify_chain(SIGNER.fingerprint).problems == []


def test_a_trail_without_any_head_is_not_whole(acting: Any, db: None) -> None:
    assert "no head is signed" in found()[0]


def test_an_edited_event_is_named(signed: None) -> None:
    raw("UPDATE l2l_audit_event SET actor = 'bob' WHERE number = 2")
    assert found() == {2: "its content does not fit its digest: it was edited"}


def test_edited_facts_are_named(signed: None) -> None:
    raw("""UPDATE l2l_audit_event SET facts = '{"address":"10.9.9.9"}' WHERE number = 7""")
    assert "edited" in found()[7]


def test_facts_that_are_no_json_are_named_not_a_crash(signed: None) -> None:
    raw("UPDATE l2l_audit_event SET salt = 'nonsense' WHERE number = 2")
    assert "cannot be read" in found()[2]


def test_a_removed_event_is_named(signed: None) -> None:
    raw("DELETE FROM l2l_audit_event WHERE number = 4")
    assert found() == {4: "removed: only its history row is left", 5: "number 4 is missing before it"}


def test_an_end_that_was_cut_off_is_named(signed: None) -> None:
    raw("DELETE FROM l2l_audit_event WHERE number > 3", "DELETE FROM l2l_audit_historicalevent WHERE number > 3")
    assert found() == {4: "missing: a head is signed up to 5, the trail ends at 3"}


def test_an_end_that_was_cut_off_with_its_heads_is_known_by_history(signed: None) -> None:
    raw("DELETE FROM l2l_audit_event WHERE number > 3", "DELETE FROM l2l_audit_signedhead WHERE number > 3")
    assert set(found()) == {4, 5, 6, 7}


def test_an_inserted_event_is_named(signed: None) -> None:
    columns = "event, at, actor, actor_id, source, subject, customer, facts, salt, leaf, digest"
    raw(f"INSERT INTO l2l_audit_event (number, {columns}) SELECT 8, {columns} FROM l2l_audit_event WHERE number = 7")
    assert set(found()) == {8}


def test_a_chain_computed_anew_is_given_away_by_the_next_head(signed: None) -> None:
    chain_anew(2, lambda row: setattr(row, "actor", "bob"))
    problems = verify_chain(SIGNER.fingerprint).problems
    assert [problem.number for problem in problems] == [3, 5]
    assert all("the signed head has another digest" in problem.what for problem in problems)


def test_a_head_that_nobody_signed_is_named(signed: None) -> None:
    raw("UPDATE l2l_audit_signedhead SET digest = '" + "0" * 64 + "' WHERE number = 3")
    assert "not what was signed" in " ".join(str(problem) for problem in verify_chain(SIGNER.fingerprint).problems)


def test_a_head_signed_by_another_key_is_named(signed: None) -> None:
    other = Signer(b"o" * 32)
    head = SignedHead.objects.get(number=5)
    forged = canonical.dumps(other.sign({"format": "l2l-evidence-head-1", "number": 5, "digest": head.digest, "at": "now"}))
    raw(f"UPDATE l2l_audit_signedhead SET document = '{forged}' WHERE number = 5")
    verdict = verify_chain(SIGNER.fingerprint)
    assert "only" in found(verdict)[5] and "is trusted" in found(verdict)[5]
    assert verdict.signed == 3
    assert verify_chain(other.fingerprint).problems
