"""The day's head over all chains: its root runs on, only what moved is listed, and nothing in it can be altered unseen (P8, P13)."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, date, datetime, timedelta
from email.message import EmailMessage
from typing import Any

import pytest
from django.db import connection

import audit
from audit.anchors import anchoring
from audit.anchors.anchoring import FIRST, root_of
from audit.anchors.files import anchors_in
from audit.events import Event as Kind
from audit.events import record
from audit.models import Anchor, AnchoredHead, ChainHead, Stream
from audit.signing import Signer

NOW = datetime(2026, 3, 2, 6, tzinfo=UTC)
DAY = date(2026, 3, 2)
SIGNER, OTHER = Signer(b"k" * 32), Signer(b"o" * 32)


def head(name: str, number: int) -> Stream:
    """A stream whose chain stands at that number."""
    stream, _ = Stream.objects.get_or_create(name=name, defaults={"id": uuid.uuid5(uuid.NAMESPACE_DNS, name)})
    digest = f"{number:02x}" * 32
    ChainHead.objects.update_or_create(stream=stream, defaults={"number": number, "digest": digest, "at": NOW})
    return stream


def anchor(days: int = 0) -> Anchor:
    return anchoring.make(SIGNER, day=DAY + timedelta(days=days), timeline=1, now=NOW + timedelta(days=days))


def problems() -> list[str]:
    found: list[str] = []
    list(anchoring.walk(SIGNER.fingerprint, found))
    return found


def raw(statement: str, *values: Any) -> None:
    """As somebody with the database's password: PostgreSQL's guard taken off."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ALTER TABLE l2l_audit_anchor DISABLE TRIGGER USER")
        cursor.execute(statement, values)


@pytest.fixture
def three(db: None, acting: Any) -> list[Anchor]:
    """Two chains on Monday, one of them further on Tuesday, nothing on Wednesday."""
    head("acme", 3)
    head("beta", 5)
    record(Kind.SIGNED_IN)
    monday = anchor()
    head("acme", 4)
    return [monday, anchor(1), anchor(2)]


def test_each_day_lists_what_moved_and_its_root_covers_all_days_before(three: list[Anchor]) -> None:
    monday, tuesday, wednesday = three
    acme, beta = (Stream.objects.get(name=name).pk for name in ("acme", "beta"))
    assert sorted(monday.heads.splitlines()) == sorted([f"{acme} 3 {'03' * 32}", f"{beta} 5 {'05' * 32}"])
    assert tuesday.heads == f"{acme} 4 {'04' * 32}\n" and wednesday.heads == ""
    assert monday.root == root_of(FIRST, monday.heads) and tuesday.root == root_of(monday.root, tuesday.heads)
    assert wednesday.root == root_of(tuesday.root, "") and wednesday.document["before"] == {"day": "2026-03-03", "root": tuesday.root}
    assert monday.document["evidence"]["number"] == 1
    assert problems() == []


def test_one_anchor_a_day(db: None, acting: Any) -> None:
    assert anchor() == anchor() and Anchor.objects.count() == 1


def test_the_statements_do_not_grow_with_the_streams(db: None, django_assert_max_num_queries: Any) -> None:
    streams = [Stream(id=uuid.uuid4(), name=f"c{number}") for number in range(600)]
    Stream.objects.bulk_create(streams)
    ChainHead.objects.bulk_create(ChainHead(stream=stream, number=7, digest="ab" * 32, at=NOW) for stream in streams)
    with django_assert_max_num_queries(25):
        assert anchor().document["chains"] == 600
    assert AnchoredHead.objects.filter(number=7).count() == 600


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        (
            "UPDATE l2l_audit_anchor SET heads = replace(heads, '0404', '0606') WHERE day = '2026-03-03'",
            "2026-03-03: its root does not follow",
        ),
        ("UPDATE l2l_audit_anchor SET heads = 'nonsense' WHERE day = '2026-03-03'", "2026-03-03: its lines or its root are none"),
        ("UPDATE l2l_audit_anchor SET root = replace(root, 'a', 'b') WHERE day = '2026-03-03'", "2026-03-03: its day or its root"),
        ("DELETE FROM l2l_audit_anchor WHERE day = '2026-03-03'", "2026-03-04: it does not follow the anchor before it"),
        ("UPDATE l2l_audit_anchor SET day = '2026-03-07' WHERE day = '2026-03-04'", "2026-03-07: its day or its root"),
    ],
)
def test_what_raw_sql_did_to_an_anchor_is_named(three: list[Anchor], statement: str, told: str) -> None:
    raw(statement.format(Anchor._meta.db_table))
    assert told in problems()[0]


def test_an_anchor_that_another_key_signed_does_not_count(db: None, acting: Any) -> None:
    anchoring.make(OTHER, day=DAY, timeline=1, now=NOW)
    assert "is trusted" in problems()[0]


def forged(three: list[Anchor]) -> None:
    """What somebody with the database and the signing key does: another digest in Monday's lines, every root and signature made anew."""
    before = FIRST
    for one in three:
        lines = one.heads.replace("05" * 32, "09" * 32)
        root = root_of(before, lines)
        body = {name: value for name, value in one.document.items() if name not in ("signature", "signed_by")}
        document = SIGNER.sign({**body, "root": root, "before": {**body["before"], "root": before}})
        raw(
            "UPDATE l2l_audit_anchor SET heads = %s, root = %s, document = %s WHERE day = %s",
            lines,
            root,
            json.dumps(document),
            str(one.day),
        )
        before = root


def test_a_forger_with_the_signing_key_is_found_by_any_later_anchor_that_is_outside(three: list[Anchor]) -> None:
    outside = three[2].document  # made two days after the change
    assert list(anchoring.unlike(outside, SIGNER.fingerprint)) == []
    forged(three)
    assert problems() == []  # all that the database holds fits
    assert "was sent out with root" in next(anchoring.unlike(outside, SIGNER.fingerprint))


def test_an_event_that_is_not_what_was_sent_out_is_named(three: list[Anchor]) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ALTER TABLE l2l_audit_event DISABLE TRIGGER USER")
        cursor.execute("UPDATE l2l_audit_event SET digest = %s WHERE number = 1", ["ef" * 32])
    assert "event 1 was sent out on 2026-03-02" in next(anchoring.unlike(three[0].document, SIGNER.fingerprint))
    assert "saw event 1 with another digest" in problems()[0]


def test_an_anchor_from_outside_that_is_none_of_ours_says_so(three: list[Anchor]) -> None:
    document = three[0].document
    assert "does not count" in next(anchoring.unlike({**document, "root": "00" * 32}, SIGNER.fingerprint))
    assert "only" in next(anchoring.unlike(document, OTHER.fingerprint))
    assert "lacks its day" in next(anchoring.unlike(SIGNER.sign({"format": anchoring.FORMAT}), SIGNER.fingerprint))
    with audit.acting("ada"):
        later = SIGNER.sign({**{k: v for k, v in document.items() if k not in ("signature", "signed_by")}, "day": "2027-01-01"})
    assert "none of that day" in next(anchoring.unlike(later, SIGNER.fingerprint))


def test_anchors_are_found_in_a_mail_however_it_was_kept(three: list[Anchor]) -> None:
    documents = [one.document for one in three]
    mail = EmailMessage()
    mail["Subject"], mail["From"] = "digest", "l2l@example.org"
    mail.set_content("Dear auditor,\n\n{not JSON}\n" + json.dumps(documents[2], indent=1))
    mail.add_attachment(json.dumps(documents).encode(), maintype="application", subtype="json", filename="anchors.json")
    assert anchors_in(mail.as_bytes()) == documents
    assert anchors_in(json.dumps(documents).encode()) == documents
    assert anchors_in(b"said he: " + json.dumps({"inside": documents[1]}, indent=4).encode()) == [documents[1]]
    assert anchors_in("nothing {here} \xff".encode("latin-1")) == []
