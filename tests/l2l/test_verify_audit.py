"""`manage.py verify_audit`: 0 for a whole trail; else what does not fit is named, and the status is not 0."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from audit import canonical, clock, journal_proof, registry
from audit.anchors import anchoring
from audit.events import Event, record
from audit.evidence import sign_head
from audit.models import ChainHead, JournalRow, RowShape, Stream
from backups import keyfiles, locations
from backups import vault as vaults
from backups.hot import shipper, timelines
from backups.nightly import back_up
from backups.placing import put_and_read_back, sha256_of
from backups.vault import Vault
from subscriptions.models import DataRecord
from subscriptions.onboarding import add_customer
from tests.audit.anchors.test_anchoring import raw as rewritten
from tests.audit.test_evidence import raw
from tests.backups.test_proof import JOURNAL, PAST, begin_timeline, recompute
from tests.backups.test_proof import raw as tampered


@pytest.fixture
def installed(settings: Any, tmp_path: Path) -> None:
    """Keys, and two folders as locations."""
    settings.L2L_KEYS, settings.L2L_SPOOL = tmp_path / "keys", tmp_path / "spool"
    settings.L2L_LOCATIONS = f"primary=file://{tmp_path}/primary offsite=file://{tmp_path}/offsite"
    keyfiles.make_key_files(settings.L2L_KEYS, "2026-01-01")


def prepare(tmp_path: Path) -> Vault:
    for name in ("primary", "offsite"):
        (tmp_path / name).mkdir()
    vault = vaults.from_settings()
    for place in vault.places:
        locations.prepare(place.store, vault.signer, "read me", made="2026-01-01", sample=True)
    return vault


@pytest.fixture
def signed(acting: Any, db: None, settings: Any, installed: None, tmp_path: Path) -> str:
    """Three events under a signed head; the fingerprint to trust."""
    prepare(tmp_path)
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


# Changes


@pytest.fixture
def kept(transactional_db: None, acting: Any, installed: None, tmp_path: Path) -> Vault:
    """Two customers with changes that are numbered and shipped, a set of the first, then more changes, shipped too; a signed head."""
    vault = prepare(tmp_path)
    for code in ("acme", "beta"):
        customer = add_customer(code, code, start=date(2026, 1, 1))
        for number in range(6):
            DataRecord.objects.create(customer=customer, kind="part", reference=f"{code}-{number}", data={"n": number})
    shipper.ship_once(vault)
    acme = Stream.objects.get(name="acme")
    back_up(vault, acme)
    for row in DataRecord.objects.filter(customer=acme.pk, reference__in=("acme-1", "acme-2")):
        row.data = {"Name": "changed"}
        row.save()
    sign_head(vault.signer, clock.now())
    shipper.ship_once(vault)
    return vault


def changes_of(*arguments: str) -> tuple[dict[str, Any], str]:
    out, problem = verified("--json", *arguments)
    return json.loads(out)["changes"], problem


def test_history_journal_sets_and_segments_agree(kept: Vault) -> None:
    found, problem = changes_of()
    assert problem == "" and found["problems"] == [] and found["troubles"] == []
    assert found["recomputed"] == JournalRow.objects.count() and JournalRow.objects.filter(number=None).count() == 0
    assert (found["sets"], found["segments"] >= 4, found["signed_heads"] >= 7) == (1, True, True)
    alone, _ = changes_of("--customer", "acme")
    assert alone["recomputed"] == 8
    assert "vouch for 8 of the changes" in verified("--customer", "acme")[0]
    assert changes_of("--customer", "system")[0]["recomputed"] == found["recomputed"] - 14


def history(reference: str) -> Any:
    return registry.of(DataRecord).history_model.objects.filter(reference=reference).order_by("-history_id").first()


@pytest.mark.parametrize(
    ("statement", "reference", "number", "told"),
    [
        ("UPDATE {past} SET data = '{{}}' WHERE history_id = {image}", "acme-2", 8, "its history row is not what was numbered"),
        ("UPDATE {past} SET history_actor = 'bob' WHERE history_id = {image}", "acme-0", 1, "its history row is not what was numbered"),
        ("UPDATE {past} SET id = 4711 WHERE history_id = {image}", "beta-3", 4, "its history row is not what was numbered"),
        ("DELETE FROM {past} WHERE history_id = {image}", "acme-1", 7, "its history row is gone"),
        (
            "DELETE FROM {journal} WHERE history_id = {image} AND model = '{label}'",
            "acme-3",
            None,
            "no change of the journal tells of this",
        ),
        (
            "UPDATE {journal} SET transaction = stream_id WHERE history_id = {image} AND model = '{label}'",
            "acme-3",
            None,
            "with another customer or transaction",
        ),
    ],
)
def test_a_history_row_that_sql_touched_is_named(statement: str, reference: str, number: int | None, told: str, kept: Vault) -> None:
    image = history(reference)
    statement = statement.replace("transaction =", '"transaction" =')
    tampered(statement.format(past=PAST, journal=JOURNAL, image=image.history_id, label="l2l_subscriptions.datarecord"))
    found, problem = changes_of()
    assert "wrote to the database behind our back" in problem
    [named] = [one for one in found["problems"] if told in one["what"]]
    assert (named["customer"], named["number"], named["history_id"]) == (reference[:4], number, image.history_id)
    assert named["model"] == "l2l_subscriptions.datarecord"
    if "is gone" not in told:
        assert named["key"] == str(image.id if "4711" not in statement else 4711)
    assert told in verified()[0]
    other = "beta" if reference.startswith("acme") else "acme"
    assert changes_of("--customer", other)[1] == ""


def test_an_inserted_history_row_is_named_whosever_it_claims_to_be(kept: Vault) -> None:
    columns = [field.column for field in registry.of(DataRecord).history_model._meta.concrete_fields if field.column != "history_id"]
    image = history("acme-1")
    names = ", ".join(columns)
    tampered(f"INSERT INTO {PAST} (history_id, {names}) SELECT 900001, {names} FROM {PAST} WHERE history_id = {image.history_id}")
    found, _ = changes_of("--customer", "acme")
    [named] = found["problems"]
    assert (named["history_id"], named["key"]) == (900001, str(image.id)) and "inserted behind our back" in named["what"]
    nobody = "'00000000000040008000000000000007'"
    tampered(f"UPDATE {PAST} SET history_stream = {nobody} WHERE history_id = 900001")
    assert changes_of()[0]["problems"][0]["customer"].startswith("unknown customer 00000000-0000-4000")


def test_a_change_that_waits_and_whose_history_row_is_gone_is_named(kept: Vault) -> None:
    row = DataRecord.objects.get(reference="beta-0")
    row.data = {"n": "x"}
    row.save()
    assert changes_of()[1] == ""
    image = history("beta-0").history_id
    tampered(f"DELETE FROM {PAST} WHERE history_id = {image}")
    [named] = changes_of()[0]["problems"]
    assert (named["history_id"], named["number"]) == (image, None) and "gone before it had a number" in named["what"]


@pytest.mark.parametrize(("code", "number", "heads"), [("acme", 2, "set"), ("acme", 8, "segment"), ("beta", 1, "segment")])
def test_a_chain_computed_anew_is_caught_by_what_was_signed(code: str, number: int, heads: str, kept: Vault) -> None:
    recompute(Stream.objects.get(name=code), number)
    found, problem = changes_of("--customer", code)
    assert problem
    assert all("is signed with another digest" in one["what"] for one in found["problems"])
    assert any(one["what"].startswith(heads) and one["number"] >= number for one in found["problems"])


def test_the_newest_changes_removed_with_their_head_are_caught_by_what_was_signed(kept: Vault) -> None:
    acme = Stream.objects.get(name="acme")
    before = JournalRow.objects.get(stream=acme, number=7)
    last = JournalRow.objects.get(stream=acme, number=8)
    tampered(
        f"DELETE FROM {JOURNAL} WHERE id = {last.pk}",
        f"DELETE FROM {PAST} WHERE history_id = {last.history_id}",
        f"UPDATE l2l_audit_chainhead SET number = 7, digest = '{before.digest}' WHERE number = 8",
    )
    found, _ = changes_of("--customer", "acme")
    assert {(one["number"], one["what"].partition("and ")[2]) for one in found["problems"]} == {
        (8, "the journal has no such change: removed behind our back")
    }


def test_content_that_is_gone_whole_is_named_unless_a_purge_lists_it(kept: Vault) -> None:
    image = history("acme-4")
    gone = f"history_id = {image.history_id}"
    tampered(f"DELETE FROM {PAST} WHERE {gone}", f"UPDATE {JOURNAL} SET salt = NULL WHERE {gone} AND model LIKE '%datarecord'")
    [named] = changes_of()[0]["problems"]
    assert named["number"] == 5 and "no purge lists it" in named["what"]


def test_what_an_abandoned_timeline_signed_is_given_up(kept: Vault, tmp_path: Path) -> None:
    acme = Stream.objects.get(name="acme")
    last = JournalRow.objects.get(stream=acme, number=8)
    before = JournalRow.objects.get(stream=acme, number=7)
    columns = "id = (SELECT id FROM l2l_subscriptions_datarecord WHERE reference = 'acme-2')"
    tampered(  # the database goes back by one change
        f"DELETE FROM {JOURNAL} WHERE id = {last.pk}",
        f"DELETE FROM {PAST} WHERE history_id = {last.history_id}",
        f"UPDATE l2l_audit_chainhead SET number = 7, digest = '{before.digest}' WHERE number = 8",
        f"UPDATE l2l_subscriptions_datarecord SET data = '{{}}' WHERE {columns}",
    )
    timeline = begin_timeline(acme, 8)
    assert changes_of("--customer", "acme")[1]  # nobody signed that it was given up
    timelines._write(kept, kept.places, timeline)
    assert changes_of("--customer", "acme")[1] == ""
    row = DataRecord.objects.get(reference="acme-2")
    row.data = {"Name": "of the new line"}
    row.save()
    shipper.ship_once(kept)
    back_up(kept, acme)
    found, problem = changes_of("--customer", "acme")
    assert (problem, found["recomputed"]) == ("", 8)
    recompute(acme, 9)
    assert "signed with another digest" in changes_of("--customer", "acme")[0]["problems"][0]["what"]


def test_a_column_that_came_or_went_since_alters_no_digest(kept: Vault) -> None:
    shape = RowShape.objects.get(model="l2l_subscriptions.datarecord")
    columns = json.loads(shape.columns)
    for kept_columns in (columns[:-1], [*columns, {"name": "zone", "kind": "text", "null": True}]):
        text = canonical.dumps(kept_columns)
        RowShape.objects.filter(pk=shape.pk).update(columns=text, sha256=hashlib.sha256(text.encode()).hexdigest())
        found, problem = changes_of("--customer", "beta")
        if len(kept_columns) < len(columns):  # as if the column had come after the changes were numbered: other leaves
            assert len(found["problems"]) == 6
        else:
            assert (problem, found["unread"], found["recomputed"]) == ("", {"l2l_subscriptions.datarecord": 6}, 6)


def test_a_location_that_cannot_be_read_is_no_proof(kept: Vault, tmp_path: Path) -> None:
    (tmp_path / "offsite").rename(tmp_path / "away")
    found, problem = changes_of()
    assert "offsite cannot be used" in problem and "is as it was recorded" in problem and found["problems"] == []
    (tmp_path / "away").rename(tmp_path / "offsite")
    segment = next((tmp_path / "offsite" / "hot").rglob("*.tar"))
    segment.write_bytes(segment.read_bytes()[:-2000])
    assert "does not count" in changes_of()[1]


@given(st.data())
@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.slow
def test_whatever_one_statement_changes_in_history_or_journal_is_found(kept: Vault, data: st.DataObject) -> None:
    row = data.draw(st.sampled_from(list(JournalRow.objects.order_by("id"))))
    protected = registry.by_label(row.model)
    assert protected is not None
    table = protected.history_model._meta.db_table
    text = data.draw(st.sampled_from(["''", "'x'", "'0'"]))
    statements = [
        f"UPDATE {table} SET history_change_reason = {text} WHERE history_id = {row.history_id}",
        f"UPDATE {table} SET history_source = {text} WHERE history_id = {row.history_id}",
        f"UPDATE {JOURNAL} SET number = number + 1000 WHERE id = {row.pk}",
        f"UPDATE {JOURNAL} SET leaf = {text} WHERE id = {row.pk}",
        f"UPDATE {JOURNAL} SET digest = {text} WHERE id = {row.pk}",
        f"UPDATE {JOURNAL} SET salt = {text} WHERE id = {row.pk}",
        f"UPDATE {JOURNAL} SET salt = NULL WHERE id = {row.pk}",
        f"UPDATE {JOURNAL} SET number = NULL WHERE id = {row.pk}",
        f"DELETE FROM {JOURNAL} WHERE id = {row.pk}",
        f"DELETE FROM {table} WHERE history_id = {row.history_id}",
    ]
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(data.draw(st.sampled_from(statements)))
        walk = journal_proof.Recomputation(connection, {})
        assert [*walk.of_all(), *journal_proof.unpaired(connection)]
        transaction.set_rollback(True)
    assert not [*journal_proof.Recomputation(connection, {}).of_all(), *journal_proof.unpaired(connection)]


# Anchors


def anchored(vault: Vault, day: int) -> anchoring.Anchor:
    return anchoring.make(vault.signer, day=date(2026, 3, day), timeline=timelines.current(), now=clock.now())


def test_a_chain_computed_anew_is_caught_by_an_anchor_where_no_location_says_more(kept: Vault) -> None:
    anchored(kept, 2)
    beta = Stream.objects.get(name="beta")
    found, problem = changes_of()
    assert (problem, found["anchored"]) == ("", Stream.objects.count()) and "3 lines of anchors" in verified()[0]
    for place in kept.places:  # as if nothing were signed there
        for entry in [one for one in place.store.list("hot/") if one.name.endswith(".tar")]:
            place.store.remove(entry.name)
    recompute(beta, 1)
    told = {(one["customer"], one["what"].partition(" is signed")[0]) for one in changes_of()[0]["problems"]}
    assert ("beta", "the anchor of 2026-03-02") in told


def test_an_anchor_that_was_mailed_finds_what_a_forger_with_the_key_wrote(kept: Vault, tmp_path: Path) -> None:
    sent = anchored(kept, 2)
    file = tmp_path / "mail.txt"
    file.write_text("Monday's anchor:\n\n" + json.dumps(sent.document, indent=1))
    found, problem = changes_of("--anchor", str(file))
    assert (problem, found["given_anchors"]) == ("", 1) and "1 anchors from outside" in verified("--anchor", str(file))[0]
    rewritten("UPDATE l2l_audit_anchor SET day = '2026-03-01'")
    found, problem = changes_of("--anchor", str(file))
    assert problem and any("has none of that day" in one["what"] for one in found["problems"])


def test_a_file_without_an_anchor_is_refused(signed: str, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("nothing")
    assert "holds no anchor" in verified("--anchor", str(tmp_path / "empty.txt"))[1]


def test_a_line_of_an_abandoned_timeline_is_given_up(kept: Vault) -> None:
    anchored(kept, 2)
    acme = Stream.objects.get(name="acme")
    last, before = JournalRow.objects.get(stream=acme, number=8), JournalRow.objects.get(stream=acme, number=7)
    columns = "id = (SELECT id FROM l2l_subscriptions_datarecord WHERE reference = 'acme-2')"
    tampered(
        f"DELETE FROM {JOURNAL} WHERE id = {last.pk}",
        f"DELETE FROM {PAST} WHERE history_id = {last.history_id}",
        f"UPDATE l2l_audit_chainhead SET number = 7, digest = '{before.digest}' WHERE number = 8",
        f"UPDATE l2l_subscriptions_datarecord SET data = '{{}}' WHERE {columns}",
    )
    timeline = begin_timeline(acme, 8)
    assert any("the anchor of 2026-03-02" in one["what"] for one in changes_of("--customer", "acme")[0]["problems"])
    timelines._write(kept, kept.places, timeline)
    assert changes_of("--customer", "acme")[1] == ""


def test_lines_of_a_destroyed_customer_are_excused_by_its_signed_marker_alone(kept: Vault) -> None:
    anchored(kept, 2)
    beta = Stream.objects.get(name="beta")
    JournalRow.objects.filter(stream=beta).delete()
    ChainHead.objects.filter(stream=beta).delete()
    tampered(f"DELETE FROM {PAST} WHERE reference LIKE 'beta-%'", "DELETE FROM l2l_subscriptions_datarecord WHERE reference LIKE 'beta-%'")
    assert any(one["what"].startswith("the anchor of 2026-03-02 is signed") for one in changes_of()[0]["problems"])
    data = json.dumps(kept.signer.sign({"kind": "ended", "stream": str(beta.pk)})).encode()
    for place in kept.places:
        put_and_read_back(place.store, f"ended/{beta.pk}.json", data, sha256_of(data))
    assert changes_of()[0]["problems"] == []
